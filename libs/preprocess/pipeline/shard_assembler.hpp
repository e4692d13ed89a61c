#pragma once
#include <cstddef>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "preprocess/pipeline/case_work.hpp"
#include "preprocess/pipeline/output.hpp"

namespace wsp {

/// Cases that were made, or that a dry run takes.
struct MadeCases {
  std::set<std::string> names, subjects;
  std::size_t slices = 0;
  std::map<std::string, std::size_t> flags;  ///< flag -> cases
  void count(const std::string& name, const std::string& subject, const std::vector<Code>& flags_of,
             std::size_t slices_of);
};

/// Takes finished cases in the order of their shards and writes each shard, with its cases' JSON
/// and previews, into the next state of a dataset, beside the work on the shards that follow.
class ShardAssembler {
 public:
  ShardAssembler(OutputDirectory& output, DatasetLayout layout);
  /// A case of the first shard that is not written.
  void add(CaseProduct product) { products_.push_back(std::move(product)); }
  /// Cases come by shard: once one of `shard` is there, the earlier ones are complete.
  void write_before(int shard);
  /// Wait until all that was handed over is written. Throws what writing threw.
  void wait();
  /// After an interrupt: what was finished of a shard, with what stood there and was not looked at
  /// yet: the next run takes both over.
  void keep_finished();
  /// After the last shard: without files of cases that an interrupted run made and this one does
  /// not; all on the disk; the index.
  void finish();
  /// Read them after wait().
  [[nodiscard]] const MadeCases& made() const { return made_; }
  /// Label -> class -> {"cases", "slices"}.
  [[nodiscard]] const nlohmann::json& classes() const { return classes_; }

 private:
  void write_products(int shard, std::vector<CaseProduct> products,
                      std::vector<CaseRecord> records);
  void remove_stale() const;

  OutputDirectory& output_;
  DatasetLayout layout_;
  bool claimed_ = false;               ///< output_.claim() was called
  int next_shard_ = 0;                 ///< the first that is not written
  std::vector<CaseProduct> products_;  ///< of that shard
  std::vector<CasePlaces> places_;
  MadeCases made_;
  nlohmann::json classes_ = nlohmann::json::object();
  std::future<void> writer_;  ///< of the shard before next_shard_; last: it uses all of the above
};

}  // namespace wsp
