// wsp-ingest: from a hospital's DICOM export to a verified dataset of HDF5 shards.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/printable.hpp"
#include "io/core/worker_pool.hpp"
#include "io/manifest/identity.hpp"
#include "io/manifest/manifest.hpp"
#include "io/manifest/manifest_check.hpp"
#include "io/manifest/manifest_init.hpp"
#include "io/manifest/ratings.hpp"
#include "io/medical/masks.hpp"
#include "io/medical/scan.hpp"
#include "io/shard/state.hpp"
#include "preprocess/pipeline/earlier_run.hpp"
#include "preprocess/pipeline/ingest.hpp"
#include "preprocess/pipeline/ledger.hpp"
#include "preprocess/pipeline/mask_table.hpp"
#include "preprocess/pipeline/merge.hpp"
#include "preprocess/pipeline/plan.hpp"
#include "preprocess/pipeline/plan_report.hpp"
#include "preprocess/pipeline/scan_report.hpp"
#include "preprocess/segment/builtin_model.hpp"
#include "preprocess/segment/deferred_segmenter.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "tool_main.hpp"
#include "wsp-ingest-options.hpp"

namespace {

using wsp::IngestCommand;
using wsp::path_or_none;
using wsp::resolve;

int run_scan(const IngestCommand& o, bool json) {
  const wsp::DataManifest manifest =
      o.manifest.empty() ? wsp::default_manifest() : wsp::load_manifest(o.manifest);
  const wsp::IngestConfig config = resolve(o);
  const auto masks = wsp::open_masks(path_or_none(o.masks), path_or_none(o.masks_table),
                                     config.follow_links, manifest.organ.name);
  const wsp::Scan scan = wsp::scan_export(o.input, wsp::scan_options(config, manifest));
  // Names are the export's own here, and nothing is written: no key is needed.
  const wsp::Naming naming(wsp::IdMode::keep, wsp::SiteKey(std::vector<std::uint8_t>(32, 0)));
  const auto plan =
      wsp::plan_cases({scan, config, manifest, nullptr, masks ? &*masks : nullptr, naming, false});
  for (const auto* lines : {&plan.misfits, &plan.hints})
    for (const std::string& line : *lines) wsp::log::warn(line);
  const auto report = wsp::scan_report(scan, plan, o.pixels, masks ? &*masks : nullptr);
  std::cout << (json ? wsp::json_text(report, 1) + "\n" : wsp::to_text(report));
  const bool usable =
      std::any_of(scan.series.begin(), scan.series.end(),
                  [](const wsp::Series& series) { return series.code == wsp::Code::USED; });
  if (usable) return report["unseen"].empty() ? 0 : 3;
  wsp::log::error("no series of the export can be used\n" + wsp::reasons_text({}, report["codes"]));
  return wsp::exit_code(wsp::ErrorCode::no_input);
}

// What of a manifest fits neither itself, nor its table, nor an export.
int run_check(const IngestCommand& o, bool json) {
  std::vector<std::string> problems = wsp::check_manifest(o.check, path_or_none(o.labels));
  std::vector<std::string> remarks;
  if (problems.empty() && !o.input.empty()) {
    const wsp::DataManifest manifest = wsp::load_manifest(o.check);
    std::optional<wsp::LabelTable> labels;
    if (!o.labels.empty()) labels.emplace(wsp::LabelTable::load(o.labels, manifest));
    const wsp::IngestConfig config = resolve(o);
    const wsp::Scan scan = wsp::scan_export(o.input, wsp::scan_options(config, manifest));
    const wsp::Naming naming(wsp::IdMode::keep, wsp::SiteKey(std::vector<std::uint8_t>(32, 0)));
    const auto plan = wsp::plan_cases(
        {scan, config, manifest, labels ? &*labels : nullptr, nullptr, naming, false});
    problems = plan.misfits;
    remarks = plan.hints;
    remarks.push_back(fmt::format("{} cases, {} refused by their headers", plan.cases.size(),
                                  plan.rejections.size()));
    if (labels)
      remarks.push_back(fmt::format("{} of {} rows name a case; {} cases have no row",
                                    labels->rows() - labels->unmatched_rows(), labels->rows(),
                                    plan.unlabelled));
  }
  if (json) {
    const nlohmann::json found{
        {"fits", problems.empty()}, {"problems", problems}, {"remarks", remarks}};
    std::cout << wsp::json_text(found, 1) << "\n";
  } else {
    for (const std::string& line : problems) std::cout << "does not fit: " << line << "\n";
    for (const std::string& line : remarks) std::cout << line << "\n";
    if (problems.empty()) std::cout << "the manifest fits\n";
  }
  return problems.empty() ? 0 : wsp::exit_code(wsp::ErrorCode::usage);
}

int run_init(const IngestCommand& o, bool json) {
  if (!o.check.empty()) return run_check(o, json);
  if (o.labels.empty() || !o.input.empty())
    throw wsp::Error(
        wsp::ErrorCode::usage,
        "expected a label table, wsp-ingest init --labels scores.csv [--out my.json], "
        "or a manifest, wsp-ingest init --check my.json [--labels scores.csv] [EXPORT]");
  const wsp::ManifestDraft draft = wsp::draft_manifest(o.labels);
  const std::filesystem::path out =
      o.output.empty() ? std::filesystem::path(o.labels).filename().replace_extension(".json")
                       : std::filesystem::path(o.output);
  if (!o.force && std::filesystem::exists(out))
    throw wsp::Error(wsp::ErrorCode::usage,
                     out.string() + " exists; name another with --out, or replace it with --force");
  wsp::write_file_atomic(out, draft.json);
  const auto problems = wsp::check_manifest(out, o.labels);
  if (json) {
    const nlohmann::json made{
        {"manifest", out.string()}, {"guessed", draft.notes}, {"problems", problems}};
    std::cout << wsp::json_text(made, 1) << "\n";
  } else {
    std::cout << "wrote " << out.string() << ". Guessed, to be checked by you:\n";
    for (const std::string& line : draft.notes) std::cout << "  " << line << "\n";
    for (const std::string& line : problems) std::cout << "does not fit: " << line << "\n";
    std::cout << "Then: wsp-ingest init --check " << out.string() << " --labels " << o.labels
              << " EXPORT\n";
  }
  return problems.empty() ? 0 : wsp::exit_code(wsp::ErrorCode::usage);
}

int run_verify(const IngestCommand& o, bool json) {
  const auto findings = wsp::verify_dataset(o.output);
  nlohmann::json list = nlohmann::json::array();
  for (const wsp::Finding& f : findings) {
    list.push_back({{"code", wsp::to_string(f.code)}, {"where", f.where}, {"detail", f.detail}});
    if (!json)
      std::cout << fmt::format("{}  {}  {}\n    {}\n", wsp::to_string(f.code),
                               wsp::printable(f.where), wsp::printable(f.detail),
                               wsp::info(f.code).remedy);
  }
  if (json)
    std::cout << wsp::json_text(nlohmann::json{{"findings", list}}, 1) << "\n";
  else if (findings.empty())
    std::cout << "verified: every hash and every count agrees\n";
  return findings.empty() ? 0 : wsp::exit_code(wsp::ErrorCode::corrupt);
}

int run_merge(const IngestCommand& o, bool json) {
  const wsp::MergeSummary s =
      wsp::merge_parts(o.output, {o.parts.begin(), o.parts.end()}, WSP_VERSION, o.force);
  if (json)
    std::cout << wsp::json_text(nlohmann::json{{"parts", s.parts},
                                               {"files", s.files},
                                               {"cases", s.cases},
                                               {"subjects", s.subjects},
                                               {"slices", s.slices},
                                               {"quarantined_cases", s.quarantined_cases}},
                                1)
              << "\n";
  else
    std::cout << fmt::format(
        "{} cases of {} subjects, {} slices, from {} parts -> {}\n  {} files, {} cases in "
        "quarantine\n",
        s.cases, s.subjects, s.slices, s.parts, wsp::printable(o.output), s.files,
        s.quarantined_cases);
  return s.cases == 0 ? wsp::exit_code(wsp::ErrorCode::no_input) : 0;
}

void print_summary(const IngestCommand& o, const wsp::IngestSummary& s) {
  std::cout << fmt::format("{} cases of {} subjects, {} slices -> {}\n", s.cases, s.subjects,
                           s.slices, wsp::printable(o.output));
  if (s.other_part_cases > 0)
    std::cout << fmt::format("  {} cases are other parts'\n", s.other_part_cases);
  if (s.reused_cases > 0)
    std::cout << fmt::format("  {} unchanged cases were taken over\n", s.reused_cases);
  std::cout << fmt::format("  {} files:", s.files);
  for (const auto& [code, count] : s.file_codes) std::cout << fmt::format(" {} {}", code, count);
  std::cout << "\n";
  if (!s.flags.empty()) {
    std::cout << "  flags:";
    for (const auto& [flag, count] : s.flags) std::cout << fmt::format(" {} {}", flag, count);
    std::cout << "\n";
  }
  if (s.quarantined_cases > 0) {
    std::cout << fmt::format(
        "  {} cases in quarantine (see {}):", s.quarantined_cases,
        wsp::printable((wsp::state_directory(o.output) / "quarantine.tsv").string()));
    for (const auto& [code, count] : s.quarantine_codes)
      std::cout << fmt::format(" {} {}", code, count);
    std::cout << "\n";
  }
  if (!s.excluded_cases.empty())
    std::cout << fmt::format(
        "  {} cases were left out as rated: {}\n", s.excluded_cases.size(),
        wsp::list_of_names({s.excluded_cases.begin(), s.excluded_cases.end()}));
  if (!s.lost_cases.empty())
    std::cout << fmt::format("  {} cases of the earlier dataset are gone: {}\n",
                             s.lost_cases.size(), wsp::to_text(s.lost_cases));
  if (s.label_rows > 0)
    std::cout << fmt::format("  labels: {} rows, {} matched no case; {} cases have no label\n",
                             s.label_rows, s.unmatched_label_rows, s.unlabelled_cases);
  if (!s.unmatched_label_row_numbers.empty()) {
    // Numbers, not contents: a row names a patient.
    constexpr std::size_t kShown = 20;
    std::cout << "    rows without a case (numbered without the header):";
    for (std::size_t i = 0; i < std::min(kShown, s.unmatched_label_row_numbers.size()); ++i)
      std::cout << ' ' << s.unmatched_label_row_numbers[i];
    std::cout << (s.unmatched_label_row_numbers.size() > kShown ? " ... (--json lists all)\n"
                                                                : "\n");
  }
  if (s.unmatched_pins + s.unusable_pins > 0)
    std::cout << fmt::format("  pinned series: {} not in the export, {} unusable\n",
                             s.unmatched_pins, s.unusable_pins);
  if (const auto mean = wsp::mean_dice(s.comparisons))
    std::cout << fmt::format(
        "  model against given masks: {} cases, mean Dice {:.4f} (see mask_comparison.tsv)\n",
        s.comparisons.size(), *mean);
  if (s.unused_masks > 0)
    std::cout << fmt::format("  {} mask files matched no case\n", s.unused_masks);
  if (s.written_segs > 0)
    std::cout << fmt::format("  {} masks of the model written as DICOM SEG objects\n",
                             s.written_segs);
  std::cout << wsp::unseen_text(s.file_codes);
}

// A user's model that cannot run is found before anything is read; the built-in one is loaded when
// a case needs it.
std::unique_ptr<wsp::Segmenter> segmenter_of(const IngestCommand& o, char** arguments) {
  if (o.liver_model == "none") return nullptr;
  const wsp::SegmentationPlan plan{o.coarse_mm};
  if (o.liver_model != "builtin") {
    wsp::switch_to_build_with(wsp::load_descriptor(o.liver_model).runtime(), arguments);
    return wsp::make_segmenter(o.liver_model, o.device, plan, o.model_precision);
  }
  if (!o.manifest.empty())
    if (const wsp::Organ organ = wsp::load_manifest(o.manifest).organ; !organ.is_liver()) {
      wsp::log::info("the built-in network finds livers, and the manifest's organ is " +
                     organ.name + ": cases without a mask are left out");
      return nullptr;
    }
  const auto model = wsp::builtin_liver_model();
  if (!model || !wsp::has_build_with(wsp::load_descriptor(*model).runtime())) {
    wsp::log::info(
        std::string("the built-in liver network is not at hand (") +
        (model ? "this build has no LibTorch" : "models/liver is not installed with the tools") +
        "): cases without a mask are left out");
    return nullptr;
  }
  return std::make_unique<wsp::DeferredSegmenter>(*model, o.device, plan, arguments);
}

// How an ingest ends, and hence its dry run.
int exit_code_of(const IngestCommand& o, const wsp::IngestSummary& summary) {
  // A part may have none where there are few subjects.
  if (summary.cases == 0 && summary.other_part_cases == 0)
    return wsp::exit_code(wsp::ErrorCode::no_input);
  if (o.max_quarantined >= 0 &&
      summary.quarantined_cases > static_cast<std::size_t>(o.max_quarantined))
    return 3;
  const bool lost = !summary.lost_cases.empty() && !o.prune;
  return lost || !wsp::unseen_files(summary.file_codes).empty() ? 3 : 0;
}

int run_plan(const IngestCommand& o, bool json, char** arguments) {
  if (o.input.empty())
    throw wsp::Error(wsp::ErrorCode::usage, "expected an export: wsp-ingest plan EXPORT");
  wsp::IngestOptions options = wsp::ingest_options(o);
  const auto segmenter = segmenter_of(o, arguments);
  options.segmenter = segmenter.get();
  const wsp::Forecast forecast = wsp::forecast(options, o.quick);
  const nlohmann::json report = wsp::plan_report(forecast);
  std::cout << (json ? wsp::json_text(report, 1) + "\n" : wsp::plan_text(report));
  if (forecast.error) throw wsp::Error(*forecast.error);
  if (forecast.summary.cases == 0)
    wsp::log::error(
        "no case could be made; the main reasons:\n" +
        wsp::reasons_text(forecast.summary.quarantine_codes, forecast.summary.file_codes));
  return exit_code_of(o, forecast.summary);
}

int run_ingest(const IngestCommand& o, bool json, char** arguments) {
  if (o.input.empty() || o.output.empty())
    throw wsp::Error(
        wsp::ErrorCode::usage,
        "expected an export and a dataset: wsp-ingest EXPORT --out DATASET (see --help)");
  wsp::IngestOptions options = wsp::ingest_options(o);
  const auto segmenter = segmenter_of(o, arguments);
  options.segmenter = segmenter.get();
  const wsp::IngestSummary summary = wsp::ingest(options);
  if (json)
    std::cout << wsp::json_text(wsp::to_json(summary), 1) << "\n";
  else
    print_summary(o, summary);
  if (o.config.compare_masks && summary.comparisons.empty())
    wsp::log::warn(
        "--compare-masks: 0 cases have a given mask, so nothing was compared; give them with "
        "--masks, "
        "or as SEG or RTSTRUCT objects of the export");
  if (summary.cases == 0 && summary.other_part_cases == 0)
    wsp::log::error("no case could be made; the main reasons (quarantine.tsv and ledger.tsv in " +
                    wsp::printable(wsp::state_directory(o.output).string()) + " name each):\n" +
                    wsp::reasons_text(summary.quarantine_codes, summary.file_codes));
  return exit_code_of(o, summary);
}

}  // namespace

int main(int argc, char** argv) {
  // Buffers of slices come and go: glibc would map each anew, page by page.
  constexpr int kLargestKept = 32 << 20;  // the most that glibc takes
  ::mallopt(M_MMAP_THRESHOLD, kLargestKept);
  ::mallopt(M_TRIM_THRESHOLD, 8 * kLargestKept);
  IngestCommand options;
  wsp::Tool tool;
  tool.name = "wsp-ingest";
  tool.usual_verb = "make";
  tool.recorded = wsp::recorded_ingest;
  tool.description =
      "Turn a hospital's DICOM export, or a folder of NIfTI volumes, into a dataset of HDF5 shards";
  tool.footer =
      "wsp-ingest EXPORT ... is wsp-ingest make EXPORT ...\n\nExamples:\n"
      "  wsp-ingest scan EXPORT --pixels                       what is there? (writes nothing)\n"
      "  wsp-ingest plan EXPORT --masks MASKS --labels labels.csv   what would become of it?\n"
      "  wsp-ingest init --labels scores.csv --out my.json     a manifest from the table, to be "
      "checked\n"
      "  wsp-ingest EXPORT --out DATASET --new-site-key KEY --masks MASKS --labels labels.csv\n"
      "             --manifest data-manifests/hospital-template.json\n"
      "  wsp-ingest EXPORT --out DATASET --new-site-key KEY --liver-model liver-unet.json\n"
      "  wsp-ingest EXPORT --out PART2 --site-key KEY --part 2/4    a quarter, on a machine of its "
      "own\n"
      "  wsp-ingest merge DATASET PART1 PART2 PART3 PART4      the dataset of a single run\n"
      "  wsp-ingest verify DATASET                             every hash, every count\n\n"
      "Exit codes: 0 done, 1 failure, 2 usage, 3 done, but not all that was given could be seen "
      "(links, archives, closed directories), cases of the earlier dataset are gone, or more are "
      "quarantined than --max-quarantined, "
      "4 no usable input, 5 output not writable, 6 dataset corrupt, 130/143 interrupted (run "
      "again "
      "to resume; a second signal ends at once, where a case or its model hangs).";
  if (const char* model = std::getenv("WSP_LIVER_MODEL"); model != nullptr && *model != '\0')
    options.liver_model = model;
  tool.declare = [&](CLI::App& app) { wsp::declare_verbs(app, options); };
  tool.run = [&](const wsp::CommonOptions& common) {
    wsp::initialise_medical_io();
    std::optional<wsp::WorkerPool> workers;  // before there is any other thread
    if (const auto limits = wsp::isolation_of(options))
      workers.emplace(*limits, wsp::prepare_medical_workers);
    if (options.scan->parsed()) return run_scan(options, common.json);
    if (options.init->parsed()) return run_init(options, common.json);
    if (options.verify->parsed()) return run_verify(options, common.json);
    if (options.merge->parsed()) return run_merge(options, common.json);
    if (options.plan->parsed()) return run_plan(options, common.json, argv);
    return run_ingest(options, common.json, argv);
  };
  return wsp::tool_main(argc, argv, tool);
}
