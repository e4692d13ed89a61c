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
#include "io/manifest/manifest_init.hpp"
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
#include "preprocess/segment/torch_segmenter.hpp"
#include "tool_main.hpp"

namespace {

struct Options {
  CLI::App* scan = nullptr;
  CLI::App* verify = nullptr;
  CLI::App* plan = nullptr;
  CLI::App* merge = nullptr;
  std::vector<std::string> parts;
  std::string part, saved_scan, save_scan;
  std::vector<CLI::App*> groups;  // options of the ingest
  std::string input, output, manifest, labels, masks, site_key, new_site_key, crosswalk;
  std::string slices = "central", codec = "lz4", tilt = "resample", gaps = "accept", phase = "any",
              mask_objects = "use", hu = "prove";
  std::string ids = "pseudonym", memory;
  std::string liver_model = "builtin", device = "auto", model_precision = "auto", mask_cache,
              write_seg;
  double coarse_mm = wsp::SegmentationPlan{}.coarse_mm;
  std::vector<int> window{-100, 400};
  double fraction = 0.7;
  bool force = false, prune = false, pixels = false, quick = false;
  int max_quarantined = -1;
  wsp::IngestConfig config;
  std::string masks_table;
  CLI::App* init = nullptr;
  std::string check;  // a manifest
  std::string isolation = "on";
  double file_seconds = 60;
};

// How foreign files are read.
void declare_isolation(CLI::App& app, Options& o) {
  app.add_option("--isolation", o.isolation,
                 "on: files are parsed and decoded in processes of their own, which may do nothing "
                 "else; one that brings its process down costs itself alone. off: in this process")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  app.add_option("--file-seconds", o.file_seconds,
                 "With --isolation on: processor time that reading one file may take, and a second "
                 "more for each MiB of it; ten times that where it sleeps")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
}

// Inputs that the choice of series depends on; ingest and scan share them.
void declare_inputs(CLI::App& app, Options& o) {
  app.add_option("--exclude", o.config.exclude,
                 "Leave out what matches, and all below it: a glob such as '*_seg.nii.gz' or "
                 "'labelsTr/', matched with paths below EXPORT and with names; may be given again")
      ->allow_extra_args(false);
  app.add_flag("--follow-links", o.config.follow_links,
               "Enter directories behind symbolic links too, each once");
  app.add_option("--manifest", o.manifest,
                 "What the labels and keys mean (data-manifests/*.json, docs/MANIFESTS.md)");
  app.add_option("--masks", o.masks,
                 "Folder of liver masks: NIfTI or NRRD by series UID, patient ID or path, or "
                 "CASE/liver.nii.gz; a name must fit one volume alone");
  app.add_option("--masks-table", o.masks_table,
                 "Table (CSV) with the columns case (path, series UID or patient ID) and mask (a "
                 "file), where names do not say whose a mask is");
  declare_isolation(app, o);
}

void declare_series(CLI::App& app, Options& o) {
  app.add_option("--min-slices", o.config.min_slices, "Fewest slices of a volume")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--tilt", o.tilt, "resample or reject gantry-tilted series")
      ->check(CLI::IsMember({"resample", "reject"}))
      ->capture_default_str();
  app.add_option("--gaps", o.gaps, "accept or reject series with missing slices")
      ->check(CLI::IsMember({"accept", "reject"}))
      ->capture_default_str();
  app.add_option("--hu", o.hu,
                 "prove, or trust to take values that do not look like Hounsfield units as such "
                 "(flag HU_OVERRULED)")
      ->check(CLI::IsMember({"prove", "trust"}))
      ->capture_default_str();
  app.add_option("--require-phase", o.phase,
                 "any, or portal to quarantine studies without a portal-venous series")
      ->check(CLI::IsMember({"any", "portal"}))
      ->capture_default_str();
  app.add_flag("--all-series", o.config.all_series,
               "Keep every usable series of a study, not only the best");
}

void declare_model(CLI::App& app, Options& o) {
  app.add_option(
         "--liver-model", o.liver_model,
         "What makes the mask of a case without a given one: builtin (the network that comes "
         "with the tools, docs/LIVER.md), none, or the descriptor (JSON) of a TorchScript "
         "network (docs/MODELS.md); WSP_LIVER_MODEL in the environment sets the default")
      ->capture_default_str();
  app.add_option("--device", o.device, "Where the model runs: auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  app.add_option("--model-precision", o.model_precision,
                 "Of the model's convolutions: auto (on a card what its descriptor says, on a CPU "
                 "fp32), fp32, bf16 or "
                 "fp16 (on a card); probabilities stay fp32")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}))
      ->capture_default_str();
  app.add_option("--coarse-mm", o.coarse_mm,
                 "Look for the liver first: 2-D models in slices this far apart, 3-D models (any "
                 "value but 0) in windows that do not overlap; only what lies about a find runs in "
                 "full. 0 runs everything")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--mask-cache", o.mask_cache,
                 "Folder of the model's masks, by hash of volume and model, or none (default: "
                 "wsp/masks below XDG_CACHE_HOME or ~/.cache)");
  app.add_option(
      "--write-seg", o.write_seg,
      "Folder for the model's masks as DICOM SEG objects, CASE.dcm each, to be looked at and "
      "corrected in Slicer or OHIF. They name the patient, as the export does: keep them "
      "there, and the next ingest takes them");
  app.add_flag("--compare-masks", o.config.compare_masks,
               "Run the model on cases with a given mask too, which is kept, and write the Dice of "
               "the two to mask_comparison.tsv");
}

// All options of the ingest; returns their groups.
std::vector<CLI::App*> declare_ingest(CLI::App& app, Options& o) {
  std::vector<CLI::App*> groups;
  app.add_option("EXPORT", o.input, "Folder of DICOM, NIfTI or NRRD files, searched recursively");
  const auto group = [&](const char* title) {
    groups.push_back(app.add_option_group(title));
    return groups.back();
  };
  auto* general = group("Input and output");
  general->add_option("--out", o.output, "Dataset directory to make (required, but for plan)");
  general->add_option("--labels", o.labels, "Label table (CSV) read as the manifest says");
  declare_inputs(*general, o);
  general->add_flag("--force", o.force, "Replace a dataset that was made with other options");
  general->add_flag("--prune", o.prune,
                    "Drop the cases of the dataset that the export no longer gives");
  general->add_option("--part", o.part,
                      "Take one of N parts of the subjects, K/N such as 2/4, or slurm for the task "
                      "of a job array; wsp-ingest merge joins them (docs/CLUSTER.md)");
  general->add_option("--saved-scan", o.saved_scan,
                      "Headers that wsp-ingest plan --save wrote: files that have not changed "
                      "since are not opened for theirs");
  general->add_option("--memory", o.memory,
                      "Budget for volumes in flight, e.g. 8G (default: half of the machine)");
  general->add_option("--max-quarantined", o.max_quarantined,
                      "Exit with 3 when more cases than this are quarantined");
  auto* identity = group("Identity");
  identity->add_option("--ids", o.ids, "pseudonym, or keep for data that is already public")
      ->check(CLI::IsMember({"pseudonym", "keep"}))
      ->capture_default_str();
  identity->add_option("--site-key", o.site_key,
                       "Secret under which pseudonyms are made (mode 0600)");
  identity->add_option("--new-site-key", o.new_site_key, "The same, made on first use");
  identity->add_option(
      "--crosswalk", o.crosswalk,
      "Write pseudonym -> original here (mode 0600, outside the dataset and the export)");
  identity->add_flag("--strict-subjects", o.config.strict_subjects,
                     "Refuse cases without a usable patient ID");
  declare_series(*group("Series"), o);
  declare_model(*group("Liver model"), o);
  auto* liver = group("Liver and slices");
  // One value per use, so that the export's path after it is not taken for another.
  liver
      ->add_option(
          "--liver-roi", o.config.liver_roi,
          "Whole names of the liver in SEG and RTSTRUCT objects without a coded one, in any "
          "case: A[,B], or given again (\"liver\" stands for \"whole liver\" and the like "
          "too; no part, margin or lesion)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  liver
      ->add_option("--liver-label", o.config.liver_labels,
                   "Values of the liver in mask files: N[,M], or given again (default: the "
                   "manifest's, else 1)")
      ->delimiter(',')
      ->allow_extra_args(false);
  liver
      ->add_option("--mask-objects", o.mask_objects,
                   "use the SEG and RTSTRUCT objects of the export, or ignore them")
      ->check(CLI::IsMember({"use", "ignore"}))
      ->capture_default_str();
  liver->add_flag("--clean-masks", o.config.clean_masks,
                  "Keep the largest component and fill holes of given masks too");
  liver
      ->add_option("--slices", o.slices,
                   "central: the central part of the liver; all: every acquired slice")
      ->check(CLI::IsMember({"central", "all"}))
      ->capture_default_str();
  liver->add_option("--central-fraction", o.fraction, "Part of the liver's extent that is kept")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  liver
      ->add_option("--min-area-mm2", o.config.min_area_mm2,
                   "Least liver area of the extent's end slices")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  auto* pixels = group("Pixels and shards");
  pixels->add_option("--window", o.window, "HU window")->expected(2)->capture_default_str();
  pixels->add_option("--size", o.config.size, "In-plane matrix")
      ->check(CLI::Range(16, 4096))
      ->capture_default_str();
  pixels->add_option("--codec", o.codec, "lz4, zstd, gzip or none")
      ->check(CLI::IsMember({"lz4", "zstd", "gzip", "none"}))
      ->capture_default_str();
  pixels
      ->add_option("--shards", o.config.shards,
                   "Number of shards, a power of two; fixed for the dataset's life")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  return groups;
}

void declare(CLI::App& app, Options& o) {
  o.groups = declare_ingest(app, o);
  o.plan = app.add_subcommand(
      "plan", "Say what the ingest with these options would take and refuse; makes no dataset");
  declare_ingest(*o.plan, o);
  o.plan->add_flag("--quick", o.quick,
                   "By headers alone, without reading pixels and masks: verdicts may change");
  o.plan->add_option("--save", o.save_scan,
                     "Write the headers that were read to this file, for --saved-scan of others on "
                     "the same export; it holds patients' names");
  o.scan = app.add_subcommand("scan", "Show what is in an export; writes nothing");
  o.scan->add_option("EXPORT", o.input, "Folder to look at")->required();
  o.scan->add_flag("--pixels", o.pixels,
                   "Read the pixels too: minimum, maximum, sum of HU, padding");
  declare_inputs(*o.scan, o);
  declare_series(*o.scan, o);
  o.init = app.add_subcommand(
      "init",
      "Write a manifest from a label table, or check one: what does not fit, in plain words");
  o.init->add_option("EXPORT", o.input, "With --check: do the rows fit the cases of this export?");
  o.init->add_option("--labels", o.labels, "Label table (CSV)");
  o.init->add_option("--out", o.output,
                     "Manifest to write (default: the table's name with .json, where you are)");
  o.init->add_flag("--force", o.force, "Replace a file that exists");
  o.init->add_option("--check", o.check, "Write nothing; say what of this manifest does not fit");
  declare_isolation(*o.init, o);
  o.merge = app.add_subcommand(
      "merge", "Join the datasets that were made with --part into the one of a single run");
  o.merge->add_option("OUT", o.output, "Dataset directory to make")->required();
  o.merge->add_option("PART", o.parts, "Dataset of each part")->required();
  o.merge->add_flag("--force", o.force, "Replace a dataset that was made with other options");
  o.verify = app.add_subcommand("verify", "Check every hash and every count of a dataset");
  o.verify->add_option("DATASET", o.output, "Dataset directory")->required();
  app.require_subcommand(0, 1);
}

// CLI11 hands a subcommand's unknown options on to the ingest's: those would be ignored in silence.
// What a --config file says for the ingest may stand there.
void refuse_foreign_options(const Options& o, const CLI::App& command,
                            const std::vector<std::string>& arguments) {
  for (const CLI::App* group : o.groups)
    for (const CLI::Option* option : group->get_options()) {
      const std::string name = option->get_name();
      if (command.get_option_no_throw(name) != nullptr) continue;
      for (const std::string& argument : arguments)
        if (argument == name || argument.starts_with(name + "="))
          throw wsp::Error(wsp::ErrorCode::usage, command.get_name() + " takes no " + name +
                                                      "; see wsp-ingest " + command.get_name() +
                                                      " --help");
    }
}

std::uint64_t parse_bytes(const std::string& text) {
  if (text.empty()) return 0;
  std::size_t end = 0;
  double value = 0;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  const std::string unit = text.substr(end);
  const double scale = unit == "K"    ? 1024
                       : unit == "M"  ? 1048576
                       : unit == "G"  ? 1073741824
                       : unit.empty() ? 1
                                      : 0;
  if (end == 0 || scale == 0 || !(value > 0))
    throw wsp::Error(wsp::ErrorCode::usage,
                     "--memory is '" + text + "': expected a size such as 8G or 500M");
  return static_cast<std::uint64_t>(value * scale);
}

// The words of the command line as the configuration of the dataset.
wsp::IngestConfig resolve(const Options& o) {
  wsp::IngestConfig config = o.config;
  if (o.window[0] >= o.window[1] || o.window[0] < -32768 || o.window[1] > 32767)
    throw wsp::Error(wsp::ErrorCode::usage,
                     "--window expects LOW HIGH with LOW < HIGH in int16 HU");
  config.window = {static_cast<std::int16_t>(o.window[0]), static_cast<std::int16_t>(o.window[1])};
  config.central_permille = static_cast<std::int64_t>(o.fraction * 1000 + 0.5);
  config.all_slices = o.slices == "all";
  config.codec = wsp::parse_codec(o.codec);
  config.reject_tilt = o.tilt == "reject";
  config.ignore_mask_objects = o.mask_objects == "ignore";
  config.reject_gaps = o.gaps == "reject";
  config.trust_hu = o.hu == "trust";
  config.require_portal = o.phase == "portal";
  config.ids = o.ids == "keep" ? wsp::IdMode::keep : wsp::IdMode::pseudonym;
  if ((config.shards & (config.shards - 1)) != 0)
    throw wsp::Error(wsp::ErrorCode::usage, "--shards expects a power of two");
  return config;
}

std::optional<std::filesystem::path> path_or_none(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return std::filesystem::path(text);
}

// Masks outlive an interrupted run and serve other datasets of the same volumes.
std::optional<std::filesystem::path> mask_cache_of(const Options& o) {
  if (o.liver_model == "none" || o.mask_cache == "none") return std::nullopt;
  if (!o.mask_cache.empty()) return std::filesystem::path(o.mask_cache);
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value != nullptr ? value : "");
  };
  if (const auto cache = variable("XDG_CACHE_HOME"); cache.is_absolute())
    return cache / "wsp" / "masks";
  if (const auto home = variable("HOME"); home.is_absolute())
    return home / ".cache" / "wsp" / "masks";
  return std::nullopt;
}

// No worker is smaller: a header may have millions of elements, whatever --memory is.
std::uint64_t worker_bytes(const Options& o) {
  constexpr std::uint64_t kLeast = std::uint64_t{2} << 30;
  const std::uint64_t given = parse_bytes(o.memory);
  return std::max(kLeast, given != 0 ? given : wsp::default_memory_bytes());
}

// Where files of others are read, and it was not turned off.
std::optional<wsp::WorkerLimits> isolation_of(const Options& o) {
  const bool ours =
      o.verify->parsed() || o.merge->parsed() || (o.init->parsed() && o.check.empty());
  if (o.isolation == "off" || ours) return std::nullopt;
  return wsp::WorkerLimits{worker_bytes(o), o.file_seconds};
}

int run_scan(const Options& o, bool json) {
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
int run_check(const Options& o, bool json) {
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

int run_init(const Options& o, bool json) {
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

int run_verify(const Options& o, bool json) {
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

int run_merge(const Options& o, bool json) {
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

void print_summary(const Options& o, const wsp::IngestSummary& s) {
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

wsp::IngestOptions ingest_options(const Options& o) {
  wsp::IngestOptions options;
  options.input = o.input;
  options.output = o.output;
  options.manifest = path_or_none(o.manifest);
  options.labels = path_or_none(o.labels);
  options.masks = path_or_none(o.masks);
  options.masks_table = path_or_none(o.masks_table);
  options.site_key = path_or_none(o.site_key);
  options.new_site_key = path_or_none(o.new_site_key);
  options.crosswalk = path_or_none(o.crosswalk);
  options.config = resolve(o);
  options.memory_bytes = parse_bytes(o.memory);
  options.force = o.force;
  options.prune = o.prune;
  options.tool_version = WSP_VERSION;
  options.mask_cache = mask_cache_of(o);
  options.write_seg = path_or_none(o.write_seg);
  options.saved_scan = path_or_none(o.saved_scan);
  options.save_scan = path_or_none(o.save_scan);
  if (!o.part.empty()) options.part = wsp::parse_part(o.part);
  return options;
}

// A user's model that cannot run is found before anything is read; the built-in one is loaded when
// a case needs it.
std::unique_ptr<wsp::Segmenter> segmenter_of(const Options& o, char** arguments) {
  if (o.liver_model == "none") return nullptr;
  const wsp::SegmentationPlan plan{o.coarse_mm};
  if (o.liver_model != "builtin") {
    wsp::switch_to_torch_build(arguments);
    return wsp::make_torch_segmenter(o.liver_model, o.device, plan, o.model_precision);
  }
  if (!o.manifest.empty())
    if (const wsp::Organ organ = wsp::load_manifest(o.manifest).organ; !organ.is_liver()) {
      wsp::log::info("the built-in network finds livers, and the manifest's organ is " +
                     organ.name + ": cases without a mask are left out");
      return nullptr;
    }
  const auto model = wsp::builtin_liver_model();
  if (!model || !wsp::has_torch_build()) {
    wsp::log::info(
        std::string("the built-in liver network is not at hand (") +
        (model ? "this build has no LibTorch" : "models/liver is not installed with the tools") +
        "): cases without a mask are left out");
    return nullptr;
  }
  return std::make_unique<wsp::DeferredSegmenter>(*model, o.device, plan, arguments);
}

// How an ingest ends, and hence its dry run.
int exit_code_of(const Options& o, const wsp::IngestSummary& summary) {
  // A part may have none where there are few subjects.
  if (summary.cases == 0 && summary.other_part_cases == 0)
    return wsp::exit_code(wsp::ErrorCode::no_input);
  if (o.max_quarantined >= 0 &&
      summary.quarantined_cases > static_cast<std::size_t>(o.max_quarantined))
    return 3;
  const bool lost = !summary.lost_cases.empty() && !o.prune;
  return lost || !wsp::unseen_files(summary.file_codes).empty() ? 3 : 0;
}

int run_plan(const Options& o, bool json, char** arguments) {
  if (o.input.empty())
    throw wsp::Error(wsp::ErrorCode::usage, "expected an export: wsp-ingest plan EXPORT");
  wsp::IngestOptions options = ingest_options(o);
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

int run_ingest(const Options& o, bool json, char** arguments) {
  if (o.input.empty() || o.output.empty())
    throw wsp::Error(
        wsp::ErrorCode::usage,
        "expected an export and a dataset: wsp-ingest EXPORT --out DATASET (see --help)");
  wsp::IngestOptions options = ingest_options(o);
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
  Options options;
  wsp::Tool tool;
  tool.name = "wsp-ingest";
  tool.description =
      "Turn a hospital's DICOM export, or a folder of NIfTI volumes, into a dataset of HDF5 shards";
  tool.footer =
      "Examples:\n"
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
      "Exit codes: 0 done, 1 failure, 2 usage, 3 done, but not all that was given could be seen\n"
      "(links, archives, closed directories), cases of the earlier dataset are gone, or more are\n"
      "quarantined than --max-quarantined,\n"
      "4 no usable input, 5 output not writable, 6 dataset corrupt, 130/143 interrupted (run again "
      "to resume;\n"
      "a second signal ends at once, where a case or its model hangs).";
  if (const char* model = std::getenv("WSP_LIVER_MODEL"); model != nullptr && *model != '\0')
    options.liver_model = model;
  tool.declare = [&](CLI::App& app) { declare(app, options); };
  tool.run = [&](const wsp::CommonOptions& common) {
    wsp::initialise_medical_io();
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    for (const CLI::App* command : {options.scan, options.verify, options.init, options.merge})
      if (command->parsed()) refuse_foreign_options(options, *command, arguments);
    std::optional<wsp::WorkerPool> workers;  // before there is any other thread
    if (const auto limits = isolation_of(options))
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
