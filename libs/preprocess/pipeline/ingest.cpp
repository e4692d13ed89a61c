#include "preprocess/pipeline/ingest.hpp"

#include <tbb/global_control.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/progress.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/saved_scan.hpp"
#include "preprocess/pipeline/case_flow.hpp"
#include "preprocess/pipeline/case_work.hpp"
#include "preprocess/pipeline/crosswalk.hpp"
#include "preprocess/pipeline/earlier_run.hpp"
#include "preprocess/pipeline/ledger.hpp"
#include "preprocess/pipeline/mask_table.hpp"
#include "preprocess/pipeline/output.hpp"
#include "preprocess/pipeline/plan.hpp"
#include "preprocess/pipeline/plan_report.hpp"
#include "preprocess/pipeline/seg_folder.hpp"
#include "preprocess/segment/builtin_model.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// A volume in flight: int16 HU, uint8 mask, int32 components, working copies.
constexpr std::uint64_t kBytesPerVoxel = 12;
// A prediction beside it: probabilities on the model's grid (16 bit) and on the volume's, its mask.
constexpr std::uint64_t kBytesPerPredictedVoxel = 4;

constexpr std::uint64_t kUsualCompression = 3;  // of windowed abdominal slices, at least

std::uint64_t cost_of(const Series& series, bool predicted) {
  constexpr double kMost = 1e18;  // hostile headers ask for more than an integer holds
  return static_cast<std::uint64_t>(std::min(
      kMost, volume_voxels(series) * (kBytesPerVoxel + (predicted ? kBytesPerPredictedVoxel : 0))));
}

class Job {
 public:
  explicit Job(const IngestOptions& options, bool dry = false)
      : options_(options),
        dry_(dry),
        memory_(options.memory_bytes != 0 ? options.memory_bytes : default_memory_bytes()),
        manifest_(options.manifest ? load_manifest(*options.manifest) : default_manifest()),
        naming_(make_naming(options, dry)) {
    masks_ = open_masks(options_.masks, options_.masks_table, options_.config.follow_links,
                        manifest_.organ.name);
    if (options_.labels) labels_.emplace(LabelTable::load(*options_.labels, manifest_));
    config_ = resolved_config();
    nlohmann::json shaping = config_;  // which files are seen shapes no case
    for (const char* name : {"exclude", "follow_links"}) shaping.erase(name);
    config_hash_ = hex(sha256(json_text(shaping)));
    // Another version of the tool makes the cases again, and no more.
    for (const char* name : {"tool_version", "data_epoch"}) shaping.erase(name);
    if (options_.segmenter != nullptr && options_.segmenter->builtin() &&
        !manifest_.organ.is_liver())
      throw Error(ErrorCode::usage,
                  "the built-in network finds livers, and the manifest's organ is " +
                      manifest_.organ.name + ": give --liver-model none");
    if (options_.config.compare_masks && options_.segmenter == nullptr)
      throw Error(
          ErrorCode::usage,
          "--compare-masks needs a model to compare: give --liver-model builtin or MODEL.json");
    RunTraits traits{hex(sha256(json_text(shaping))),
                     named(options_) || !dry ? naming_.key_digest() : "", labels_.has_value(),
                     options_.part.text()};
    if (options_.segmenter != nullptr && options_.segmenter->refines() &&
        !manifest_.organ.is_liver())
      throw Error(ErrorCode::usage,
                  "the model's descriptor asks for output.refine, which knows the liver alone, and "
                  "the manifest's organ is " +
                      manifest_.organ.name);
    if (options_.write_seg && !dry)
      segs_.emplace(*options_.write_seg, options_.output, options_.tool_version);
    if (dry) {
      if (std::error_code ec;
          fs::is_directory(options_.output, ec) && !fs::is_empty(options_.output, ec))
        earlier_ = judge_output(options_.output, traits, options_.force).cases;
      if (!named(options_)) earlier_.clear();
      return;
    }
    output_.emplace(options_.output, std::move(traits), options_.tool_version, options_.force);
    earlier_ = output_->standing().cases;
  }

  IngestSummary run() {
    prepare();
    keep_what_stands();
    // 3. Read, mask, cut, compress; write each shard as it fills.
    process();
    // 4. Index, ledger, quarantine; dataset.json last.
    finish();
    return summary_;
  }

  Forecast dry_run(bool quick) {
    Forecast forecast;
    forecast.quick = quick;
    forecast.named = named(options_);
    prepare();
    try {
      keep_what_stands();
    } catch (const Error& e) {
      forecast.error = e;
    }
    quick ? trust_headers(forecast) : judge_cases(forecast);
    if (!forecast.error) summary_.lost_cases = lost_cases(earlier_, names_, plan_);
    for (const FileEntry& file : scan_.files)
      mask_names_.emplace_back(naming_.path(file.relative_path), file.relative_path);
    const auto rows = account();
    const std::map<std::string, std::string> paths(mask_names_.begin(), mask_names_.end());
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

 private:
  void prepare() {
    // 1. What is there?
    if (!goes_on_with_torch()) log::info("scanning the export");
    ScanOptions how = scan_options(options_.config, manifest_);
    how.memory_bytes = static_cast<double>(memory_);
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
                        options_.segmenter != nullptr && !options_.segmenter->builtin()});
    take_part();
    if (!dry_) prepare_model();
    summary_.files = scan_.files.size();
    log::info(std::to_string(scan_.files.size()) + " files, " +
              std::to_string(scan_.series.size()) + " series, " +
              std::to_string(plan_.cases.size()) + " cases to read");
    warn_of_idle_pins();
    for (const std::string& hint : plan_.hints) log::warn("hint: " + hint);
    drop_too_large();
  }

  // Leave to the other parts what is theirs. All was scanned and planned, as in each of them.
  void take_part() {
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

  // A disk or network that fails is no word on a patient: what it hides would be lost without one.
  void stop_where_the_system_failed() const {
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

  // Read a case; what may be the disk's fault is asked again, and counts only if it stays.
  Outcome<CaseInHand> read_surely(const CaseInputs& inputs, const CasePlan& plan) {
    auto hand = read_case(inputs, plan);
    if (hand || !may_be_the_disk(hand.rejection().code)) return hand;
    const auto key = [&] { return case_key(inputs, plan, config_hash_); };
    const auto before = plan.key.empty() ? key() : plan.key;
    hand = read_case(inputs, plan);
    if (key() != before)
      throw Error(ErrorCode::failure,
                  "files of case " + plan.name +
                      " changed while they were read. Run the same command again to go on");
    return hand;
  }

  // Before anything more is said: the program may start again, with LibTorch.
  void prepare_model() {
    if (std::none_of(plan_.cases.begin(), plan_.cases.end(), [&](const CasePlan& plan) {
          return may_ask_model(options_.segmenter, options_.config, plan);
        }))
      return;
    options_.segmenter->prepare();
    if (options_.mask_cache) cache_.emplace(*options_.mask_cache);
  }

  void keep_what_stands() {
    refuse_misfits(plan_);
    keep_what_nothing_replaces();
    keep_what_would_go();
  }

  // Pseudonyms need a key, which a dry run does not make.
  static bool named(const IngestOptions& o) {
    return o.config.ids == IdMode::keep || o.site_key ||
           (o.new_site_key && fs::exists(*o.new_site_key));
  }

  static Naming make_naming(const IngestOptions& o, bool dry) {
    if (o.site_key && o.new_site_key)
      throw Error(ErrorCode::usage, "--site-key and --new-site-key exclude each other");
    if (o.site_key) return {o.config.ids, SiteKey::load(*o.site_key)};
    if (dry && !named(o)) return {IdMode::keep, SiteKey(std::vector<std::uint8_t>(32, 0))};
    if (o.new_site_key) {
      // Made on first use: the command that is run again to resume must find its own key.
      if (!fs::exists(*o.new_site_key)) {
        try {
          return {o.config.ids, SiteKey::create(*o.new_site_key)};
        } catch (const Error&) {  // another first run may have made it at this moment
          if (!fs::exists(*o.new_site_key)) throw;
        }
      }
      if (!goes_on_with_torch()) log::info("the site key exists and is used again");
      return {o.config.ids, SiteKey::load(*o.new_site_key)};
    }
    if (o.config.ids == IdMode::keep)  // public data: the ledger's hashes need no secret
      return {o.config.ids, SiteKey(std::vector<std::uint8_t>(32, 0))};
    throw Error(
        ErrorCode::usage,
        "pseudonyms need a site key: give --site-key FILE, or --new-site-key FILE to create one "
        "(keep it: the same key gives the same pseudonyms). For public data use --ids keep");
  }

  nlohmann::json resolved_config() const {
    nlohmann::json config = to_json(options_.config);
    if (options_.config.liver_labels.empty()) config["liver_labels"] = manifest_.liver_labels;
    // A glob may name a patient: under pseudonyms it is written as a path of the ledger is.
    if (options_.config.ids == IdMode::pseudonym)
      for (auto& glob : config["exclude"]) glob = naming_.path(glob.get<std::string>());
    config["manifest"] = manifest_.name;
    if (const Organ& organ = manifest_.organ; organ != Organ()) {
      nlohmann::json codes = nlohmann::json::array();
      for (const auto& [scheme, value] : organ.codes) codes.push_back(scheme + ":" + value);
      config["organ"] = {{"name", organ.name},
                         {"names", organ.names},
                         {"codes", codes},
                         {"volume_ml", {organ.least_ml, organ.most_ml}}};
      if (organ.shape) config["organ"]["shape"] = {organ.shape->first, organ.shape->second};
    }
    config["tool_version"] = options_.tool_version;
    config["data_epoch"] = kDataEpoch;
    // Which weights are built in, only the cases that they serve depend on.
    if (options_.segmenter != nullptr)
      config["segmenter"] =
          options_.segmenter->builtin() ? "builtin" : options_.segmenter->identity();
    return config;
  }

  // By number: a series UID must not stand in a log.
  void warn_of_idle_pins() {
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

  // A wrong path must not turn a dataset into an empty one.
  void keep_what_nothing_replaces() const {
    const bool some =
        std::any_of(plan_.cases.begin(), plan_.cases.end(), [&](const CasePlan& plan) {
          return options_.segmenter != nullptr || !plan.mask_files.empty() ||
                 !plan.mask_objects.empty();
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

  // A part of the export that is not mounted, say, must not take its cases away.
  void keep_what_would_go() {
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

  [[nodiscard]] std::uint64_t cost(const CasePlan& plan) const {
    return cost_of(scan_.series[plan.series],
                   may_ask_model(options_.segmenter, options_.config, plan)) +
           static_cast<std::uint64_t>(std::min(1e18, plan.mask_bytes));
  }

  void drop_too_large() {
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

  void reject(const CasePlan& plan, Rejection rejection) {
    for (const std::size_t file : source_files(scan_.series[plan.series]))
      plan_.files[file] = {rejection.code, plan.name, rejection.detail};
    for (const std::size_t m : plan.mask_objects) {
      Disposition& file = plan_.files[scan_.masks[m].file];
      if (file.code == Code::MASK_UNREFERENCED)
        file = {rejection.code, plan.name, rejection.detail};
    }
    plan_.rejections.push_back(std::move(rejection));
  }

  DatasetLayout layout() const {
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

  // A shard's compressed slices are held until it is written.
  void warn_of_large_shards() const {
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

  void process() {
    const CaseInputs inputs{
        scan_, options_.config,          manifest_, options_.segmenter, cache_ ? &*cache_ : nullptr,
        true,  segs_ ? &*segs_ : nullptr};
    for (std::size_t i = 0; i < scan_.files.size(); ++i)
      file_by_hash_[naming_.path(scan_.files[i].relative_path)] = i;
    warn_of_large_shards();
    Progress progress("ingest", plan_.cases.size(), "cases");
    std::size_t number = 0;
    int shard = -1;  // of the case that was begun last
    std::shared_ptr<EarlierCases> earlier;
    FlowStages stages;
    stages.next = [&]() -> std::shared_ptr<FlowItem> {
      if (number == plan_.cases.size() || interrupt_signal() != 0) return nullptr;
      auto item = std::make_shared<FlowItem>();
      item->plan = plan_.cases[number];
      item->number = number++;
      const int its = shard_of(item->plan.name, options_.config.shards);
      if (std::exchange(shard, its) != its)
        earlier = std::make_shared<EarlierCases>(load_earlier_cases(states(), its));
      item->context = earlier;
      return item;
    };
    stages.read = [&](FlowItem& item) {
      auto& its_earlier = *std::static_pointer_cast<EarlierCases>(item.context);
      // Where nothing stands that it could be, the case is hashed as it is read.
      const bool stands = its_earlier.contains(item.plan.name);
      if (stands) item.plan.key = case_key(inputs, item.plan, config_hash_);
      auto taken = take_over(states(), its_earlier, item.plan, file_by_hash_);
      if (taken && !lacks_seg(item.plan, *taken)) {
        ++reused_;
        item.result.emplace(std::move(*taken));
        return;
      }
      auto hand = read_surely(inputs, item.plan);
      if (!hand) {
        item.result.emplace(hand.rejection());
        return;
      }
      if (!stands) item.plan.key = case_key(inputs, item.plan, config_hash_, &hand.value().loaded);
      item.hand.emplace(std::move(hand).value());
    };
    stages.predict = [&](FlowItem& item) { predict_case(inputs, *item.hand); };
    stages.finish = [&](FlowItem& item) {
      if (!item.result) item.result.emplace(finish_case(inputs, item.plan, std::move(*item.hand)));
    };
    stages.collect = [&](FlowItem& item) {
      write_shards_before(shard_of(item.plan.name, options_.config.shards));
      collect(item);
      progress.advance();
    };
    run_flow(stages, cases_at_once(), waits_for_device());
    if (interrupt_signal() != 0) keep_finished();
    stop_if_interrupted("run the same command again to go on");
    write_shards_before(options_.config.shards);
    wait_for_writer();
    summary_.reused_cases = reused_;
    if (segs_) summary_.written_segs = segs_->written();
  }

  // Its mask is the model's and is asked for as a SEG that is not there: it is made again.
  [[nodiscard]] bool lacks_seg(const CasePlan& plan, const CaseProduct& taken) const {
    return segs_ && scan_.series[plan.series].is_dicom &&
           taken.provenance.at("mask").at("source") == "segmenter" && !segs_->holds(plan);
  }

  [[nodiscard]] bool waits_for_device() const {
    return options_.segmenter != nullptr && !options_.segmenter->concurrent();
  }

  // As many as there are threads, one being written, and some to keep a device busy.
  [[nodiscard]] std::size_t cases_at_once() const {
    std::uint64_t largest = 1;
    for (const CasePlan& plan : plan_.cases) largest = std::max(largest, cost(plan));
    const std::size_t threads =
        tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
    constexpr std::size_t kForDevice = kCasesOnDevice + 2;  // waiting for it, in it, coming from it
    return std::clamp<std::size_t>(static_cast<std::size_t>(memory_ / largest), 1,
                                   threads + 1 + (waits_for_device() ? kForDevice : 0));
  }

  // What reading a case said of its files.
  void dispose(const std::vector<std::pair<std::size_t, Code>>& files, const std::string& name) {
    for (const auto& [file, code] : files) {
      const bool its_own = info(code).kind == CodeKind::used || code == Code::DUPLICATE_FILE;
      plan_.files[file] = {code, its_own ? name : "", ""};
    }
  }

  void count_case(const std::string& name, const std::string& subject,
                  const std::vector<Code>& flags, std::size_t slices) {
    for (const Code flag : flags) ++summary_.flags[std::string(to_string(flag))];
    summary_.slices += slices;
    ++summary_.cases;
    subjects_.insert(subject);
    names_.insert(name);
  }

  void take(Forecast& forecast, const CasePlan& plan, CaseVerdict verdict) {
    count_case(plan.name, plan.subject, verdict.flags,
               verdict.open ? 0 : static_cast<std::size_t>(verdict.kept.count()));
    forecast.taken.emplace(plan.series, std::move(verdict));
  }

  void trust_headers(Forecast& forecast) {
    for (const CasePlan& plan : plan_.cases) take(forecast, plan, {true, "", plan.flags});
  }

  // As process(), to the point where nothing but compressing and writing is left.
  void judge_cases(Forecast& forecast) {
    const CaseInputs inputs{scan_, options_.config, manifest_, options_.segmenter, nullptr, false};
    Progress progress("judging", plan_.cases.size(), "cases");
    std::size_t number = 0;
    std::vector<CaseVerdict> verdicts(plan_.cases.size());
    std::vector<std::vector<std::pair<std::size_t, Code>>> files(plan_.cases.size());
    FlowStages stages;
    stages.next = [&]() -> std::shared_ptr<FlowItem> {
      if (number == plan_.cases.size() || interrupt_signal() != 0) return nullptr;
      auto item = std::make_shared<FlowItem>();
      item->plan = plan_.cases[number];
      item->number = number++;
      return item;
    };
    stages.read = [&](FlowItem& item) {
      auto hand = read_case(inputs, item.plan);
      if (hand)
        item.hand.emplace(std::move(hand).value());
      else
        item.result.emplace(hand.rejection());
    };
    stages.predict = [](FlowItem&) {};  // its answer is open
    stages.finish = [&](FlowItem& item) {
      if (item.result) return;
      for (const std::size_t f : item.hand->loaded.duplicate_files)
        files[item.number].emplace_back(f, Code::DUPLICATE_FILE);
      if (!item.hand->given) {
        verdicts[item.number] = {true, "model", item.plan.flags};
        return;
      }
      auto outcome = judge_case(inputs, item.plan, std::move(*item.hand));
      if (!outcome) {
        item.result.emplace(outcome.rejection());
        return;
      }
      const JudgedCase& judged = outcome.value();
      const auto& of_masks = judged.liver.files;
      files[item.number].insert(files[item.number].begin(), of_masks.begin(), of_masks.end());
      verdicts[item.number] = {false,
                               judged.measured.mask_source,
                               judged.flags,
                               judged.liver_ml,
                               judged.loaded.volume.geometry.size[2],
                               judged.measured.extent,
                               judged.measured.kept};
    };
    stages.collect = [&](FlowItem& item) {
      progress.advance();
      if (item.result) return reject(item.plan, item.result->rejection());
      dispose(files[item.number], item.plan.name);
      take(forecast, item.plan, std::move(verdicts[item.number]));
    };
    run_flow(stages, cases_at_once(), false);
    stop_if_interrupted("nothing was written; run the same command again");
  }

  void collect(FlowItem& item) {
    if (!item.result->ok()) {
      reject(item.plan, item.result->rejection());
      return;
    }
    CaseProduct product = std::move(*item.result).value();
    dispose(product.files, product.record.name);
    nlohmann::json files = nlohmann::json::array();
    for (const auto& [file, code] : product.files)
      files.push_back({naming_.path(scan_.files[file].relative_path), to_string(code)});
    product.provenance["ledger"] = std::move(files);
    if (auto row = comparison_of(product.provenance))
      comparisons_.emplace(product.record.name, std::move(*row));
    products_.push_back(std::move(product));
  }

  // Cases come by shard: once one of a later shard is there, the earlier ones are complete. They
  // are written beside the work on the next ones, one after the other.
  void write_shards_before(int shard) {
    for (; next_shard_ < shard; ++next_shard_) {
      wait_for_writer();
      writer_ = std::async(std::launch::async, [this, s = next_shard_,
                                                products = std::exchange(products_, {})]() mutable {
        write_products(s, std::move(products), {});
      });
    }
  }
  void wait_for_writer() {
    if (writer_.valid()) writer_.get();
  }

  // What was finished of a shard when the job was interrupted, with what stood there and was not
  // looked at yet: the next run takes both over.
  void keep_finished() {
    wait_for_writer();
    if (products_.empty()) return;
    EarlierCases standing = load_earlier_cases(states(), next_shard_);
    for (const CaseProduct& product : products_) standing.erase(product.record.name);
    std::vector<CaseRecord> untouched;
    // Of another manifest's columns are cases that are made again anyway.
    for (auto& [name, record] : standing)
      if (record.labels.size() == layout().label_names.size() &&
          record.continuous.size() == layout().continuous_names.size())
        untouched.push_back(std::move(record));
    write_products(next_shard_, std::exchange(products_, {}), std::move(untouched));
    sync_filesystem(options_.output);
  }

  void write_products(int shard, std::vector<CaseProduct> products,
                      std::vector<CaseRecord> records) {
    for (CaseProduct& product : products) {
      count_case(product.record.name, product.record.subject, product.record.flags,
                 product.record.slices.size());
      for (std::size_t l = 0; l < product.record.labels.size(); ++l) {
        auto& count =
            classes_[layout().label_names.at(l)][std::to_string(product.record.labels[l])];
        if (count.is_null()) count = nlohmann::json::object();
        count["cases"] = count.value("cases", 0) + 1;
        count["slices"] = count.value("slices", std::size_t{0}) + product.record.slices.size();
      }
      records.push_back(std::move(product.record));
    }
    if (!std::exchange(claimed_, true)) output_->claim();
    auto places = write_shard(output_->next(), shard, std::move(records), layout());
    for (const CaseProduct& product : products) {
      const std::string name = product.provenance["name"];
      // A rerun takes over only what is whole: one sync for all is early enough, in finish().
      write_file_unsynced(output_->next() / "cases" / (name + ".json"),
                          json_text(product.provenance, 1) + "\n");
      write_file_unsynced(output_->next() / "previews" / (name + ".png"),
                          std::span<const std::uint8_t>(product.preview));
    }
    std::move(places.begin(), places.end(), std::back_inserter(places_));
  }

  // Where cases of an earlier run may be; none in a dry run.
  [[nodiscard]] const std::vector<fs::path>& states() const { return output_->standing().states; }

  // Files of cases that an interrupted run made and this one does not.
  void remove_stale() const {
    for (const char* part : {"cases", "previews"})
      for (const auto& entry : fs::directory_iterator(output_->next() / part))
        if (!names_.contains(entry.path().stem().string())) fs::remove(entry.path());
  }

  void finish() {
    // Now with those that were refused only when they were read.
    summary_.lost_cases = lost_cases(earlier_, names_, plan_);
    remove_stale();
    sync_filesystem(options_.output);
    write_index(output_->next(), std::move(places_), layout());
    const auto rows = account();
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
                          {"classes", classes_},
                          {"words", words},
                          {"dispositions", summary_.file_codes},
                          {"flags", summary_.flags}};
    if (!options_.part.whole())
      fields["part"] = {{"number", options_.part.number}, {"of", options_.part.of}};
    output_->commit(fields, layout());
  }

  // Every input file with its disposition, and the totals.
  std::vector<LedgerRow> account() {
    std::vector<LedgerRow> rows;
    for (std::size_t i = 0; i < scan_.files.size(); ++i)
      rows.push_back({naming_.path(scan_.files[i].relative_path), plan_.files[i]});
    add_mask_rows(rows);
    for (const LedgerRow& row : rows)
      ++summary_.file_codes[std::string(to_string(row.disposition.code))];
    for (const Rejection& r : plan_.rejections)
      ++summary_.quarantine_codes[std::string(to_string(r.code))];
    summary_.files = rows.size();
    summary_.subjects = subjects_.size();
    summary_.quarantined_cases = plan_.rejections.size();
    summary_.unlabelled_cases = plan_.unlabelled;
    if (labels_) {
      summary_.label_rows = labels_->rows();
      summary_.unmatched_label_rows = labels_->unmatched_rows();
      summary_.unmatched_label_row_numbers = labels_->unmatched_row_numbers();
    }
    return rows;
  }

  // Every file of --masks is input too; those inside the export are counted there.
  void add_mask_rows(std::vector<LedgerRow>& rows) {
    if (!masks_) return;
    std::map<fs::path, std::string> used;
    for (const CasePlan& plan : plan_.cases)
      for (const auto& path : plan.mask_files)
        used[path.lexically_normal()] = names_.contains(plan.name) ? plan.name : "";
    const std::vector<std::string> unclear = masks_->ambiguous();
    std::error_code ec;
    const fs::path root = fs::weakly_canonical(scan_.root, ec);
    std::map<std::string_view, std::size_t> in_export;
    for (std::size_t i = 0; i < scan_.files.size(); ++i)
      in_export.emplace(scan_.files[i].relative_path, i);
    const auto add = [&](const std::string& relative, Code code, const std::string& name,
                         const std::string& detail) {
      const fs::path path = masks_->root() / relative;
      const fs::path inside = fs::weakly_canonical(path.parent_path(), ec).lexically_relative(root);
      if (!ec && !inside.empty() && *inside.begin() != "..") {
        const auto row =
            in_export.find((inside / path.filename()).lexically_normal().generic_string());
        if (row == in_export.end()) return;
        Disposition& file = rows[row->second].disposition;
        // Left out or a label map as an image, yet a mask; or a mask of a case that was not made.
        const bool as_mask = code == Code::USED_AS_MASK || code == Code::OTHER_PART;
        if ((as_mask && (file.code == Code::EXCLUDED || file.code == Code::LABEL_MAP)) ||
            (file.code == Code::USED_AS_MASK && file.case_name.empty()))
          file = {code, name, detail};
        return;
      }
      mask_names_.emplace_back(naming_.path("masks/" + relative), "masks/" + relative);
      rows.push_back({mask_names_.back().first, {code, name, detail}});
    };
    for (const std::string& relative : masks_->files()) {
      const auto hit = used.find((masks_->root() / relative).lexically_normal());
      const std::string name = hit == used.end() ? "" : hit->second;
      const bool elsewhere = hit == used.end() &&
                             other_masks_.contains((masks_->root() / relative).lexically_normal());
      add(relative,
          elsewhere                                                      ? Code::OTHER_PART
          : !name.empty()                                                ? Code::USED_AS_MASK
          : std::binary_search(unclear.begin(), unclear.end(), relative) ? Code::MASK_AMBIGUOUS
                                                                         : Code::MASK_UNREFERENCED,
          name, "");
    }
    for (const FileEntry& file : masks_->others())
      add(file.relative_path, file.code, "", file.detail);
    summary_.unused_masks = masks_->unused().size();
  }

  // In the dataset, since the cases' JSON holds the same numbers.
  void write_comparisons() {
    for (auto& [name, row] : comparisons_) summary_.comparisons.push_back(std::move(row));
    write_file_atomic(output_->next() / kComparisonFile, comparison_text(summary_.comparisons));
  }

  void write_crosswalk() const {
    std::vector<std::pair<std::string, std::string>> rows(plan_.names.begin(), plan_.names.end());
    for (const FileEntry& file : scan_.files)
      rows.emplace_back(naming_.path(file.relative_path), file.relative_path);
    rows.insert(rows.end(), mask_names_.begin(), mask_names_.end());
    write_file_atomic(*options_.crosswalk, crosswalk_text(rows), 0600);
  }

  const IngestOptions& options_;
  bool dry_;
  std::uint64_t memory_;
  DataManifest manifest_;
  Naming naming_;
  nlohmann::json config_;
  std::string config_hash_;
  Scan scan_;
  std::optional<MaskDirectory> masks_;
  std::optional<LabelTable> labels_;
  IngestPlan plan_;
  IngestSummary summary_;
  std::optional<OutputDirectory> output_;
  std::vector<std::pair<std::string, std::string>> mask_names_;  // path hash -> path
  std::map<std::string, std::size_t> file_by_hash_;
  std::optional<MaskCache> cache_;
  std::atomic<std::size_t> reused_{0};
  std::optional<SegFolder> segs_;
  std::set<fs::path> other_masks_;                        // files of --masks of other parts' cases
  bool claimed_ = false;                                  // output_->claim() was called
  int next_shard_ = 0;                                    // the first that is not written
  std::vector<CaseProduct> products_;                     // of that shard
  std::map<std::string, MaskComparisonRow> comparisons_;  // by case
  std::vector<CasePlaces> places_;
  std::set<std::string> subjects_, names_;
  std::set<std::string> earlier_;  // cases of the complete dataset that is updated
  nlohmann::json classes_ = nlohmann::json::object();
  std::future<void> writer_;  // of the shard before next_shard_; last: it uses all of the above
};

}  // namespace

std::uint64_t default_memory_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE)) / 2;
}

ScanOptions scan_options(const IngestConfig& config, const DataManifest& manifest) {
  ScanOptions options;
  options.min_slices = config.min_slices;
  options.reject_tilt = config.reject_tilt;
  options.reject_gaps = config.reject_gaps;
  options.score_weights = manifest.score_weights;
  options.follow_links = config.follow_links;
  options.exclude = config.exclude;
  options.trust_hu = config.trust_hu;
  options.memory_bytes = static_cast<double>(default_memory_bytes());
  return options;
}

nlohmann::json to_json(const IngestConfig& c) {
  return {{"window_hu", {c.window.low, c.window.high}},
          {"central_fraction_permille", c.central_permille},
          {"min_area_mm2", c.min_area_mm2},
          {"size", c.size},
          {"slices", c.all_slices ? "all" : "central"},
          {"codec", to_string(c.codec)},
          {"shards", c.shards},
          {"min_slices", c.min_slices},
          {"tilt", c.reject_tilt ? "reject" : "resample"},
          {"gaps", c.reject_gaps ? "reject" : "accept"},
          {"require_phase", c.require_portal ? "portal" : "any"},
          {"all_series", c.all_series},
          {"clean_masks", c.clean_masks},
          {"mask_objects", c.ignore_mask_objects ? "ignore" : "use"},
          {"strict_subjects", c.strict_subjects},
          {"compare_masks", c.compare_masks},
          {"ids", c.ids == IdMode::keep ? "keep" : "pseudonym"},
          {"liver_roi", c.liver_roi},
          {"liver_labels", c.liver_labels},
          {"follow_links", c.follow_links},
          {"exclude", c.exclude},
          {"hu", c.trust_hu ? "trust" : "prove"}};
}

nlohmann::json to_json(const IngestSummary& s) {
  const auto mean = mean_dice(s.comparisons);
  nlohmann::json lost = nlohmann::json::array();
  for (const LostCase& c : s.lost_cases)
    lost.push_back({{"case", c.name},
                    {"code", c.code ? nlohmann::json(to_string(*c.code)) : nlohmann::json()}});
  return {{"files", s.files},
          {"cases", s.cases},
          {"subjects", s.subjects},
          {"slices", s.slices},
          {"quarantined_cases", s.quarantined_cases},
          {"reused_cases", s.reused_cases},
          {"written_segs", s.written_segs},
          {"file_codes", s.file_codes},
          {"unseen", unseen_files(s.file_codes)},
          {"quarantine_codes", s.quarantine_codes},
          {"flags", s.flags},
          {"label_rows", s.label_rows},
          {"unmatched_label_rows", s.unmatched_label_rows},
          {"unmatched_label_row_numbers", s.unmatched_label_row_numbers},
          {"unlabelled_cases", s.unlabelled_cases},
          {"unused_masks", s.unused_masks},
          {"comparisons", to_json(s.comparisons)},
          {"mean_dice", mean ? nlohmann::json(*mean) : nlohmann::json()},
          {"unmatched_pins", s.unmatched_pins},
          {"unusable_pins", s.unusable_pins},
          {"other_part_cases", s.other_part_cases},
          {"lost_cases", lost}};
}

Forecast forecast(const IngestOptions& options, bool quick) {
  check_places(options);
  return Job(options, true).dry_run(quick);
}

IngestSummary ingest(const IngestOptions& options) {
  check_places(options);
  return Job(options).run();
}

}  // namespace wsp
