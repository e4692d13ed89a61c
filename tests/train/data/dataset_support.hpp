#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/shard/dataset.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "io/shard/state.hpp"

namespace wsp::train::test {

/// A small dataset of `count` made cases, each changed by `change(record, c)` first.
inline void write_changed_dataset(const std::filesystem::path& dataset, int count,
                                  const std::function<void(CaseRecord&, int)>& change) {
  const DatasetLayout layout = wsp::test::small_layout(Codec::lz4);
  const std::filesystem::path root = next_state(dataset);
  std::filesystem::create_directories(root / "shards");
  std::vector<std::vector<CaseRecord>> shards(static_cast<std::size_t>(layout.shards));
  for (int c = 0; c < count; ++c) {
    CaseRecord record = wsp::test::made_case(c, layout);
    change(record, c);
    shards[static_cast<std::size_t>(shard_of(record.name, layout.shards))].push_back(
        std::move(record));
  }
  std::vector<CasePlaces> places;
  for (int shard = 0; shard < layout.shards; ++shard)
    for (CasePlaces& place :
         write_shard(root, shard, std::move(shards[static_cast<std::size_t>(shard)]), layout))
      places.push_back(std::move(place));
  write_index(root, std::move(places), layout);
  publish_state(dataset, nlohmann::json::object(), layout);
}

}  // namespace wsp::train::test
