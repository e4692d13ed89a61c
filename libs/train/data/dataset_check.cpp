#include "train/data/dataset_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "io/core/error.hpp"

namespace wsp::train {

namespace fs = std::filesystem;

void check_dataset(const DatasetReader& reader, const fs::path& dataset, bool verify) {
  if (verify) {
    const auto findings = verify_dataset(dataset);
    if (findings.empty()) return;
    std::string text =
        fmt::format("the dataset fails its verification, {} findings:", findings.size());
    for (std::size_t i = 0; i < std::min<std::size_t>(findings.size(), 5); ++i)
      text += fmt::format("\n  {} {}: {}", to_string(findings[i].code), findings[i].where,
                          findings[i].detail);
    throw Error(ErrorCode::corrupt,
                text + "\n  run wsp-ingest again to make the damaged cases anew");
  }
  // Every chunk is checked when it is read; that the files are there and long enough is seen at
  // once.
  std::vector<std::uint64_t> needed(static_cast<std::size_t>(reader.layout().shards));
  for (const IndexRow& row : reader.slices())
    needed[static_cast<std::size_t>(row.shard)] =
        std::max(needed[static_cast<std::size_t>(row.shard)],
                 row.place.image_offset + row.place.image_length);
  for (std::size_t shard = 0; shard < needed.size(); ++shard) {
    if (needed[shard] == 0) continue;
    const std::string name = shard_file_name(static_cast<int>(shard));
    std::error_code absent;
    const auto size = fs::file_size(reader.state() / "shards" / name, absent);
    if (absent || size < needed[shard])
      throw Error(ErrorCode::corrupt, name + (absent ? " is missing" : " is cut short") +
                                          "; run wsp-ingest verify, then the ingest again");
  }
}

}  // namespace wsp::train
