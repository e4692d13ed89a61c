#include "preprocess/pipeline/shard_assembler.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "io/core/atomic_file.hpp"
#include "io/core/json_text.hpp"
#include "preprocess/pipeline/earlier_run.hpp"

namespace wsp {

namespace fs = std::filesystem;

void MadeCases::count(const std::string& name, const std::string& subject,
                      const std::vector<Code>& flags_of, std::size_t slices_of) {
  for (const Code flag : flags_of) ++flags[std::string(to_string(flag))];
  slices += slices_of;
  subjects.insert(subject);
  names.insert(name);
}

ShardAssembler::ShardAssembler(OutputDirectory& output, DatasetLayout layout)
    : output_(output), layout_(std::move(layout)) {}

void ShardAssembler::write_before(int shard) {
  for (; next_shard_ < shard; ++next_shard_) {
    wait();
    writer_ = std::async(std::launch::async, [this, s = next_shard_,
                                              products = std::exchange(products_, {})]() mutable {
      write_products(s, std::move(products), {});
    });
  }
}

void ShardAssembler::wait() {
  if (writer_.valid()) writer_.get();
}

void ShardAssembler::keep_finished() {
  wait();
  if (products_.empty()) return;
  EarlierCases standing = load_earlier_cases(output_.standing().states, next_shard_);
  for (const CaseProduct& product : products_) standing.erase(product.record.name);
  std::vector<CaseRecord> untouched;
  // Of another manifest's columns are cases that are made again anyway.
  for (auto& [name, record] : standing)
    if (record.labels.size() == layout_.label_names.size() &&
        record.continuous.size() == layout_.continuous_names.size())
      untouched.push_back(std::move(record));
  write_products(next_shard_, std::exchange(products_, {}), std::move(untouched));
  sync_filesystem(output_.root());
}

void ShardAssembler::write_products(int shard, std::vector<CaseProduct> products,
                                    std::vector<CaseRecord> records) {
  for (CaseProduct& product : products) {
    made_.count(product.record.name, product.record.subject, product.record.flags,
                product.record.slices.size());
    for (std::size_t l = 0; l < product.record.labels.size(); ++l) {
      auto& count = classes_[layout_.label_names.at(l)][std::to_string(product.record.labels[l])];
      if (count.is_null()) count = nlohmann::json::object();
      count["cases"] = count.value("cases", 0) + 1;
      count["slices"] = count.value("slices", std::size_t{0}) + product.record.slices.size();
    }
    records.push_back(std::move(product.record));
  }
  if (!std::exchange(claimed_, true)) output_.claim();
  auto places = write_shard(output_.next(), shard, std::move(records), layout_);
  for (const CaseProduct& product : products) {
    const std::string name = product.provenance["name"];
    // A rerun takes over only what is whole: one sync for all is early enough, in finish().
    write_file_unsynced(output_.next() / "cases" / (name + ".json"),
                        json_text(product.provenance, 1) + "\n");
    write_file_unsynced(output_.next() / "previews" / (name + ".png"),
                        std::span<const std::uint8_t>(product.preview));
  }
  std::move(places.begin(), places.end(), std::back_inserter(places_));
}

void ShardAssembler::remove_stale() const {
  for (const char* part : {"cases", "previews"})
    for (const auto& entry : fs::directory_iterator(output_.next() / part))
      if (!made_.names.contains(entry.path().stem().string())) fs::remove(entry.path());
}

void ShardAssembler::finish() {
  remove_stale();
  sync_filesystem(output_.root());
  write_index(output_.next(), std::move(places_), layout_);
}

}  // namespace wsp
