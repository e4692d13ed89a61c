#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/manifest/ratings.hpp"
#include "preprocess/pipeline/case_flow.hpp"
#include "preprocess/pipeline/ledger_account.hpp"
#include "preprocess/pipeline/plan_report.hpp"
#include "preprocess/pipeline/seg_folder.hpp"
#include "preprocess/pipeline/shard_assembler.hpp"

namespace wsp {

/// One ingest, or a dry run of one: prepare, judge what stands, process, finish. ingest.cpp tells
/// the story, ingest_checks.cpp what is refused before a case is read, ingest_flow.cpp how cases
/// are read.
class IngestJob {
 public:
  /// Loads what the options name and judges the output directory. Throws what ingest() does.
  IngestJob(const IngestOptions& options, bool dry);
  IngestSummary run();
  Forecast dry_run(bool quick);

 private:
  void prepare(bool will_read);
  // Cases are rated by the names that a dataset gives them.
  void take_ratings();
  void leave_out_rated();
  // Leave to the other parts what is theirs. All was scanned and planned, as in each of them.
  void take_part();
  // A disk or network that fails is no word on a patient: what it hides would be lost without one.
  void stop_where_the_system_failed() const;
  // Before anything more is said: the program may start again, with LibTorch.
  void prepare_model();
  void keep_what_stands();
  // By number: a series UID must not stand in a log.
  void warn_of_idle_pins();
  // A wrong path must not turn a dataset into an empty one.
  void keep_what_nothing_replaces() const;
  // A part of the export that is not mounted, say, must not take its cases away.
  void keep_what_would_go();
  void drop_too_large();
  // Of the series that are read alone, and where the largest fits into --memory beside them.
  void keep_images();
  void reject(const CasePlan& plan, Rejection rejection);
  [[nodiscard]] DatasetLayout layout() const;
  [[nodiscard]] std::uint64_t cost(const CasePlan& plan) const;
  [[nodiscard]] std::uint64_t largest_cost() const;
  // A shard's compressed slices are held until it is written.
  void warn_of_large_shards() const;
  // Read a case; what may be the disk's fault is asked again, and counts only if it stays.
  Outcome<CaseInHand> read_surely(const CaseInputs& inputs, const CasePlan& plan);
  void process();
  // Its mask is the model's and is asked for as a SEG that is not there: it is made again.
  [[nodiscard]] bool lacks_seg(const CasePlan& plan, const CaseProduct& taken) const;
  [[nodiscard]] bool waits_for_device() const;
  // As many as there are threads, one being written, and some to keep a device busy.
  [[nodiscard]] std::size_t cases_at_once() const;
  // What reading a case said of its files.
  void dispose(const std::vector<std::pair<std::size_t, Code>>& files, const std::string& name);
  void take(Forecast& forecast, const CasePlan& plan, CaseVerdict verdict);
  void trust_headers(Forecast& forecast);
  // As process(), to the point where nothing but compressing and writing is left.
  void judge_cases(Forecast& forecast);
  void collect(FlowItem& item);
  void finish();
  // Every input file with its disposition, and the totals.
  std::vector<LedgerRow> account(const MadeCases& made);
  // In the dataset, since the cases' JSON holds the same numbers.
  void write_comparisons();
  void write_crosswalk() const;

  const IngestOptions& options_;
  bool dry_;
  std::uint64_t memory_;
  std::uint64_t kept_ = 0;  // bytes of images that the scan kept
  DataManifest manifest_;
  Naming naming_;
  nlohmann::json config_;
  std::string config_hash_;
  Scan scan_;
  std::optional<MaskDirectory> masks_;
  std::optional<LabelTable> labels_;
  Ratings ratings_;
  std::set<std::string> excluded_;  // cases
  IngestPlan plan_;
  IngestSummary summary_;
  std::vector<std::pair<std::string, std::string>> mask_names_;  // LedgerAccount::mask_names
  std::map<std::string, std::size_t> file_by_hash_;
  std::optional<MaskCache> cache_;
  std::atomic<std::size_t> reused_{0};
  std::optional<SegFolder> segs_;
  std::set<std::filesystem::path> other_masks_;           // files of --masks of other parts' cases
  std::map<std::string, MaskComparisonRow> comparisons_;  // by case
  std::set<std::string> earlier_;  // cases of the complete dataset that is updated
  MadeCases taken_;                // by a dry run
  std::optional<OutputDirectory> output_;
  std::optional<ShardAssembler> shards_;  // last: its writer uses the above
};

}  // namespace wsp
