#include "preprocess/pipeline/ingest.hpp"

#include <algorithm>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/medical/saved_scan.hpp"
#include "preprocess/pipeline/case_key.hpp"
#include "preprocess/pipeline/crosswalk.hpp"
#include "preprocess/pipeline/earlier_run.hpp"
#include "preprocess/pipeline/ingest_job.hpp"
#include "preprocess/pipeline/mask_table.hpp"
#include "preprocess/pipeline/plan_misfits.hpp"
#include "preprocess/pipeline/site_naming.hpp"
#include "preprocess/segment/builtin_model.hpp"

namespace wsp {

namespace fs = std::filesystem;

namespace {
/// Of images that are kept for the read, where nobody said what --memory is: some 40 series.
constexpr std::uint64_t kMostKept = std::uint64_t{256} << 20;
}  // namespace

IngestJob::IngestJob(const IngestOptions& options, bool dry)
    : options_(options),
      dry_(dry),
      memory_(options.memory_bytes != 0 ? options.memory_bytes : default_memory_bytes()),
      manifest_(options.manifest ? load_manifest(*options.manifest) : default_manifest()),
      naming_(make_naming(options, dry)) {
  masks_ = open_masks(options_.masks, options_.masks_table, options_.config.follow_links,
                      manifest_.organ.name);
  if (options_.labels) labels_.emplace(LabelTable::load(*options_.labels, manifest_));
  if (options_.exclude_cases) take_ratings();
  config_ = resolved_config(
      options_.config, {manifest_, naming_, excluded_, options_.segmenter, options_.tool_version});
  nlohmann::json shaping = shaping_config(config_);
  config_hash_ = hex(sha256(json_text(shaping)));
  // Another version of the tool makes the cases again, and no more.
  for (const char* name : {"tool_version", "data_epoch"}) shaping.erase(name);
  if (options_.segmenter != nullptr && options_.segmenter->builtin() && !manifest_.organ.is_liver())
    throw Error(ErrorCode::usage,
                "the built-in network finds livers, and the manifest's organ is " +
                    manifest_.organ.name + ": give --liver-model none");
  if (options_.config.compare_masks && options_.segmenter == nullptr)
    throw Error(
        ErrorCode::usage,
        "--compare-masks needs a model to compare: give --liver-model builtin or MODEL.json");
  RunTraits traits{hex(sha256(json_text(shaping))),
                   names_known(options_) || !dry ? naming_.key_digest() : "", labels_.has_value(),
                   options_.part.text()};
  if (options_.segmenter != nullptr && options_.segmenter->refines() && !manifest_.organ.is_liver())
    throw Error(ErrorCode::usage,
                "the model's descriptor asks for output.refine, which knows the liver alone, and "
                "the manifest's organ is " +
                    manifest_.organ.name);
  if (options_.write_seg && !dry)
    segs_.emplace(*options_.write_seg, options_.output, options_.tool_version,
                  options_.seg_label_maps);
  if (dry) {
    if (std::error_code ec;
        fs::is_directory(options_.output, ec) && !fs::is_empty(options_.output, ec))
      earlier_ = judge_output(options_.output, traits, options_.force).cases;
    if (!names_known(options_)) earlier_.clear();
    return;
  }
  output_.emplace(options_.output, std::move(traits), options_.tool_version, options_.force);
  earlier_ = output_->standing().cases;
  shards_.emplace(*output_, layout());
}

IngestSummary IngestJob::run() {
  prepare(true);
  keep_what_stands();
  // 3. Read, mask, cut, compress; write each shard as it fills.
  process();
  // 4. Index, ledger, quarantine; dataset.json last.
  finish();
  return summary_;
}

Forecast IngestJob::dry_run(bool quick) {
  Forecast forecast;
  forecast.quick = quick;
  forecast.named = names_known(options_);
  prepare(!quick);
  try {
    keep_what_stands();
  } catch (const Error& e) {
    forecast.error = e;
  }
  quick ? trust_headers(forecast) : judge_cases(forecast);
  if (!forecast.error) summary_.lost_cases = lost_cases(earlier_, taken_.names, plan_);
  std::map<std::string, std::string> paths;  // by hash
  for (const FileEntry& file : scan_.files)
    paths.emplace(naming_.path(file.relative_path), file.relative_path);
  const auto rows = account(taken_);
  paths.insert(mask_names_.begin(), mask_names_.end());
  for (const LedgerRow& row : rows) {
    const auto path = paths.find(row.path_hash);
    forecast.ledger.emplace_back(path == paths.end() ? row.path_hash : path->second,
                                 row.disposition);
  }
  for (const LabelColumn& label : manifest_.labels) forecast.label_names.push_back(label.name);
  forecast.continuous_names = manifest_.continuous_names();
  forecast.scan = std::move(scan_);
  forecast.plan = std::move(plan_);
  forecast.summary = std::move(summary_);
  return forecast;
}

void IngestJob::prepare(bool will_read) {
  // 1. What is there?
  if (!goes_on_with_model()) log::info("scanning the export");
  // Without mask files each case may ask the model. To become the program that runs it costs what
  // was done before.
  if (!dry_ && !masks_ && options_.segmenter != nullptr) options_.segmenter->prepare();
  ScanOptions how = scan_options(options_.config, manifest_);
  how.memory_bytes = static_cast<double>(memory_);
  if (will_read)
    how.kept_bytes = options_.memory_bytes != 0 ? memory_ / 4 : std::min(memory_ / 4, kMostKept);
  std::optional<SavedScan> known, kept;
  if (options_.saved_scan) how.known = &known.emplace(SavedScan::load(*options_.saved_scan));
  if (options_.save_scan) how.kept = &kept.emplace();
  scan_ = scan_export(options_.input, how);
  if (known)
    log::info("the headers of " + std::to_string(known->found()) + " of " +
              std::to_string(scan_.files.size()) + " files are those of " +
              options_.saved_scan->string());
  if (kept) {
    kept->write(*options_.save_scan);
    log::info(std::to_string(kept->size()) + " headers -> " + options_.save_scan->string() +
              ", which holds patients' names: keep it with the export");
  }
  if (scan_.files.empty())
    throw Error(ErrorCode::no_input,
                "the export holds no file; expected DICOM, NIfTI or NRRD files");
  if (!dry_) stop_where_the_system_failed();
  // 2. What becomes a case?
  plan_ = plan_cases({scan_, options_.config, manifest_, labels_ ? &*labels_ : nullptr,
                      masks_ ? &*masks_ : nullptr, naming_,
                      options_.segmenter != nullptr && !options_.segmenter->builtin(), &excluded_});
  leave_out_rated();
  take_part();
  if (!dry_) prepare_model();
  summary_.files = scan_.files.size();
  log::info(std::to_string(scan_.files.size()) + " files, " + std::to_string(scan_.series.size()) +
            " series, " + std::to_string(plan_.cases.size()) + " cases to read");
  warn_of_idle_pins();
  for (const std::string& hint : plan_.hints) log::warn("hint: " + hint);
  drop_too_large();
  keep_images();
}

void IngestJob::take_ratings() {
  if (!names_known(options_))
    throw Error(ErrorCode::usage,
                "--exclude-cases names cases by their pseudonyms, which need the site key that "
                "made them: give --site-key FILE");
  ratings_ = load_ratings(*options_.exclude_cases, "--exclude-cases");
  excluded_ = excluded_cases(ratings_);
}

void IngestJob::prepare_model() {
  if (std::none_of(plan_.cases.begin(), plan_.cases.end(), [&](const CasePlan& plan) {
        return may_ask_model(options_.segmenter, options_.config, plan);
      }))
    return;
  options_.segmenter->prepare();
  if (!options_.mask_cache) return;
  try {
    cache_.emplace(*options_.mask_cache);
  } catch (const Error& e) {
    if (options_.mask_cache_asked_for) throw;
    log::warn(std::string("predicted masks are not kept for other runs: ") + e.what());
  }
}

void IngestJob::keep_what_stands() {
  refuse_misfits(plan_);
  keep_what_nothing_replaces();
  keep_what_would_go();
}

DatasetLayout IngestJob::layout() const {
  DatasetLayout layout;
  layout.shards = options_.config.shards;
  layout.height = layout.width = options_.config.size;
  layout.codec = options_.config.codec;
  layout.tool_version = options_.tool_version;
  if (!manifest_.labels.empty()) {
    layout.label_names.clear();
    for (const LabelColumn& column : manifest_.labels) layout.label_names.push_back(column.name);
  }
  layout.continuous_names = manifest_.continuous_names();
  return layout;
}

void IngestJob::reject(const CasePlan& plan, Rejection rejection) {
  for (const std::size_t file : source_files(scan_.series[plan.series]))
    plan_.files[file] = {rejection.code, plan.name, rejection.detail};
  for (const std::size_t m : plan.mask_objects) {
    Disposition& file = plan_.files[scan_.masks[m].file];
    if (file.code == Code::MASK_UNREFERENCED) file = {rejection.code, plan.name, rejection.detail};
  }
  plan_.rejections.push_back(std::move(rejection));
}

void IngestJob::finish() {
  // Now with those that were refused only when they were read.
  summary_.lost_cases = lost_cases(earlier_, shards_->made().names, plan_);
  shards_->finish();
  const auto rows = account(shards_->made());
  write_file_atomic(output_->next() / "ledger.tsv", ledger_text(rows));
  write_file_atomic(output_->next() / "quarantine.tsv", quarantine_text(plan_.rejections, rows));
  if (options_.crosswalk) write_crosswalk();
  if (options_.config.compare_masks) write_comparisons();
  nlohmann::json words = nlohmann::json::object();
  for (const LabelColumn& label : manifest_.labels)
    if (!label.values.empty()) words[label.name] = label.values;
  nlohmann::json fields{{"config", config_},
                        {"counts",
                         {{"files", summary_.files},
                          {"cases", summary_.cases},
                          {"subjects", summary_.subjects},
                          {"slices", summary_.slices},
                          {"quarantined_cases", summary_.quarantined_cases},
                          {"label_rows", summary_.label_rows},
                          {"unmatched_label_rows", summary_.unmatched_label_rows},
                          {"unlabelled_cases", summary_.unlabelled_cases},
                          {"unmatched_pins", summary_.unmatched_pins},
                          {"unusable_pins", summary_.unusable_pins}}},
                        {"classes", shards_->classes()},
                        {"words", words},
                        {"dispositions", summary_.file_codes},
                        {"flags", summary_.flags}};
  if (!options_.part.whole())
    fields["part"] = {{"number", options_.part.number}, {"of", options_.part.of}};
  output_->commit(fields, layout());
}

std::vector<LedgerRow> IngestJob::account(const MadeCases& made) {
  LedgerAccount account =
      account_files({scan_, plan_, masks_ ? &*masks_ : nullptr, naming_, made.names, other_masks_});
  std::vector<LedgerRow> rows = std::move(account.rows);
  mask_names_ = std::move(account.mask_names);
  for (const LedgerRow& row : rows)
    ++summary_.file_codes[std::string(to_string(row.disposition.code))];
  for (const Rejection& r : plan_.rejections)
    ++summary_.quarantine_codes[std::string(to_string(r.code))];
  summary_.files = rows.size();
  summary_.cases = made.names.size();
  summary_.subjects = made.subjects.size();
  summary_.slices = made.slices;
  summary_.flags = made.flags;
  if (masks_) summary_.unused_masks = masks_->unused().size();
  summary_.quarantined_cases = plan_.rejections.size();
  summary_.unlabelled_cases = plan_.unlabelled;
  if (labels_) {
    summary_.label_rows = labels_->rows();
    summary_.unmatched_label_rows = labels_->unmatched_rows();
    summary_.unmatched_label_row_numbers = labels_->unmatched_row_numbers();
  }
  return rows;
}

void IngestJob::write_comparisons() {
  for (auto& [name, row] : comparisons_) summary_.comparisons.push_back(std::move(row));
  write_file_atomic(output_->next() / kComparisonFile, comparison_text(summary_.comparisons));
}

void IngestJob::write_crosswalk() const {
  std::vector<std::pair<std::string, std::string>> rows(plan_.names.begin(), plan_.names.end());
  for (const FileEntry& file : scan_.files)
    rows.emplace_back(naming_.path(file.relative_path), file.relative_path);
  rows.insert(rows.end(), mask_names_.begin(), mask_names_.end());
  write_file_atomic(*options_.crosswalk, crosswalk_text(rows), 0600);
}

Forecast forecast(const IngestOptions& options, bool quick) {
  check_places(options);
  return IngestJob(options, true).dry_run(quick);
}

IngestSummary ingest(const IngestOptions& options) {
  check_places(options);
  return IngestJob(options, false).run();
}

}  // namespace wsp
