#include <algorithm>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/medical/image_file.hpp"
#include "preprocess/pipeline/earlier_run.hpp"
#include "preprocess/pipeline/ingest_job.hpp"
#include "preprocess/pipeline/ledger.hpp"

namespace wsp {

namespace fs = std::filesystem;

void IngestJob::leave_out_rated() {
  if (!options_.exclude_cases) return;
  std::set<std::string> known;
  for (const SeriesChoice& series : plan_.series) known.insert(series.case_name);
  refuse_unknown_cases(ratings_, known, "--exclude-cases");
  summary_.excluded_cases.assign(excluded_.begin(), excluded_.end());
  for (const std::string& name : excluded_) earlier_.erase(name);  // it may go
  if (!excluded_.empty())
    log::info("left out: " + std::to_string(excluded_.size()) +
              " cases rated exclude: " + list_of_names(excluded_));
}

void IngestJob::take_part() {
  if (options_.part.whole()) return;
  const auto leave = [&](std::size_t file) { plan_.files[file] = {Code::OTHER_PART, "", ""}; };
  std::erase_if(plan_.cases, [&](const CasePlan& plan) {
    if (options_.part.has(plan.subject)) return false;
    const Series& series = scan_.series[plan.series];
    for (const std::size_t file : source_files(series)) leave(file);
    for (const std::size_t file : series.duplicate_files) leave(file);
    for (const std::size_t mask : plan.mask_objects) leave(scan_.masks[mask].file);
    for (const fs::path& mask : plan.mask_files) other_masks_.insert(mask.lexically_normal());
    ++summary_.other_part_cases;
    return true;
  });
  log::info("part " + options_.part.text() + ": " + std::to_string(plan_.cases.size()) + " of " +
            std::to_string(plan_.cases.size() + summary_.other_part_cases) + " cases");
}

void IngestJob::stop_where_the_system_failed() const {
  std::size_t failed = 0;
  std::string why;
  const auto count = [&](const std::vector<FileEntry>& files) {
    for (const FileEntry& file : files)
      if (file.system_failed && failed++ == 0) why = file.detail;
  };
  count(scan_.files);
  if (masks_) count(masks_->others());
  if (failed > 0)
    throw Error(ErrorCode::failure,
                std::to_string(failed) + " files or directories could not be read (" + why +
                    "). Nothing was changed. Run the same command again once disk and network "
                    "are well; what can never be read (wsp-ingest scan names it) may be left "
                    "out with --exclude");
}

void IngestJob::warn_of_idle_pins() {
  summary_.unmatched_pins = plan_.unmatched_pins;
  summary_.unusable_pins = plan_.unusable_pins;
  const std::string of = " of " + std::to_string(manifest_.pin_series.size()) +
                         " series in the manifest's pin_series ";
  if (plan_.unmatched_pins > 0)
    log::warn(std::to_string(plan_.unmatched_pins) + of +
              "are not in this export; correct the UIDs, or ignore this where the export is a "
              "part of the cohort");
  if (plan_.unusable_pins > 0)
    log::warn(std::to_string(plan_.unusable_pins) + of +
              "cannot be used; their studies' cases are flagged PIN_UNUSABLE, or in quarantine "
              "(wsp-ingest scan shows why)");
}

void IngestJob::keep_what_nothing_replaces() const {
  const bool some = std::any_of(plan_.cases.begin(), plan_.cases.end(), [&](const CasePlan& plan) {
    return options_.segmenter != nullptr || !plan.mask_files.empty() || !plan.mask_objects.empty();
  });
  const std::size_t stands = finished_cases(options_.output);
  if (some || stands == 0) return;
  throw Error(ErrorCode::no_input,
              "no case can be made: expected a usable series with a liver mask, found " +
                  std::to_string(plan_.cases.size()) +
                  " usable series and no mask for any. The dataset of " + std::to_string(stands) +
                  " cases in --out is left as it is; check the export and --masks, or choose "
                  "another --out. What became of the files:\n" +
                  reasons_text({}, code_counts(plan_.files)));
}

void IngestJob::keep_what_would_go() {
  std::set<std::string> planned;
  for (const CasePlan& plan : plan_.cases) planned.insert(plan.name);
  summary_.lost_cases = lost_cases(earlier_, planned, plan_);
  if (summary_.lost_cases.empty()) return;
  const std::string what = std::to_string(summary_.lost_cases.size()) + " of the " +
                           std::to_string(earlier_.size()) + " cases of the dataset in --out";
  if (!options_.prune)
    throw Error(ErrorCode::no_input,
                what + " would go: " + to_text(summary_.lost_cases) +
                    ". The dataset is left as it is; restore the export, or add --prune to drop "
                    "them");
  log::warn(what + " go: " + to_text(summary_.lost_cases));
}

void IngestJob::drop_too_large() {
  for (CasePlan& plan : plan_.cases) plan.mask_bytes = given_mask_bytes(scan_, plan);
  std::erase_if(plan_.cases, [&](const CasePlan& plan) {
    if (cost(plan) <= memory_) return false;
    reject(plan,
           {plan.name, "select", Code::TOO_LARGE,
            "needs about " + std::to_string(cost(plan) >> 20) + " MiB, " +
                std::to_string(
                    static_cast<std::uint64_t>(std::min(1e18, plan.mask_bytes) / (1 << 20))) +
                " of them for its mask; --memory is " + std::to_string(memory_ >> 20) + " MiB"});
    return true;
  });
}

void IngestJob::keep_images() {
  std::vector<std::size_t> series;
  for (const CasePlan& plan : plan_.cases) series.push_back(plan.series);
  kept_ = keep_images_of(scan_, series);
  if (kept_ + largest_cost() > memory_) kept_ = keep_images_of(scan_, {});
}

void IngestJob::warn_of_large_shards() const {
  constexpr std::uint64_t kUsualCompression = 3;  // of windowed abdominal slices, at least
  std::map<int, std::uint64_t> held;
  for (const CasePlan& plan : plan_.cases)
    held[shard_of(plan.name, options_.config.shards)] +=
        scan_.series[plan.series].planes.size() *
        static_cast<std::uint64_t>(options_.config.size * options_.config.size) *
        sizeof(std::int16_t) / kUsualCompression;
  std::uint64_t most = 0;
  for (const auto& [shard, bytes] : held) most = std::max(most, bytes);
  if (most > memory_ / 2)
    log::warn("a shard will hold up to " + std::to_string(most >> 20) +
              " MiB of compressed slices in memory, beside --memory " +
              std::to_string(memory_ >> 20) +
              " MiB; a dataset with more --shards needs less (choose it now: the number is fixed "
              "for the dataset's life)");
}

}  // namespace wsp
