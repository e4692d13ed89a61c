#include "wsp-ingest-options.hpp"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "tool_main.hpp"

namespace wsp {
namespace {

// How foreign files are read.
void declare_isolation(CLI::App& app, IngestCommand& o) {
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
void declare_inputs(CLI::App& app, IngestCommand& o) {
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

void declare_series(CLI::App& app, IngestCommand& o) {
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

void declare_model(CLI::App& app, IngestCommand& o) {
  app.add_option(
         "--liver-model", o.liver_model,
         "What makes the mask of a case without a given one: builtin (the network that comes "
         "with the tools, docs/LIVER.md), none, or the descriptor (JSON) of a TorchScript or ONNX "
         "network (docs/MODELS.md); WSP_LIVER_MODEL in the environment sets the default")
      ->capture_default_str();
  app.add_option("--device", o.device, "Where the model runs: auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  app.add_option("--precision", o.model_precision,
                 "Of the model's convolutions: auto (on a card what its descriptor says, on a CPU "
                 "fp32), fp32, bf16 or "
                 "fp16 (on a card); probabilities stay fp32")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}))
      ->capture_default_str();
  declare_earlier(app, "--model-precision", "--precision", o.model_precision);
  app.add_option("--coarse-mm", o.coarse_mm,
                 "Look for the liver first: 2-D models in slices this far apart, 3-D models (any "
                 "value but 0) in windows that do not overlap; only what lies about a find runs in "
                 "full. 0 runs everything")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--mask-cache", o.mask_cache,
                 "Folder of the model's masks, by hash of volume and model, or none (default: "
                 "wsp/masks below XDG_CACHE_HOME or ~/.cache)");
  CLI::Option* folder = app.add_option(
      "--write-seg", o.write_seg,
      "Folder for the model's masks as DICOM SEG objects, CASE.dcm each, to be looked at and "
      "corrected in Slicer or OHIF. They name the patient, as the export does: keep them "
      "there, and the next ingest takes them");
  app.add_option("--seg-type", o.seg_type,
                 "What those objects are: binary (a bit for each voxel) or "
                 "labelmap (a byte)")
      ->check(CLI::IsMember({"binary", "labelmap"}))
      ->needs(folder)
      ->capture_default_str();
  app.add_flag("--compare-masks", o.config.compare_masks,
               "Run the model on cases with a given mask too, which is kept, and write the Dice of "
               "the two to mask_comparison.tsv");
}

void declare_output(CLI::App& app, IngestCommand& o) {
  app.add_option("--out", o.output, "Dataset directory to make (required, but for plan)");
  app.add_option("--labels", o.labels, "Label table (CSV) read as the manifest says");
  declare_inputs(app, o);
  app.add_option("--exclude-cases", o.exclude_cases,
                 "Ratings saved from the page of wsp-qa (TSV): cases rated exclude are left "
                 "out, of the dataset in --out too");
  app.add_flag("--force", o.force, "Replace a dataset that was made with other options");
  app.add_flag("--prune", o.prune, "Drop the cases of the dataset that the export no longer gives");
  app.add_option("--part", o.part,
                 "Take one of N parts of the subjects, K/N such as 2/4, or slurm for the task "
                 "of a job array; wsp-ingest merge joins them (docs/CLUSTER.md)");
  app.add_option("--saved-scan", o.saved_scan,
                 "Headers that wsp-ingest plan --save wrote: files that have not changed "
                 "since are not opened for theirs");
  app.add_option("--memory", o.memory,
                 "Budget for volumes in flight, e.g. 8GiB (default: half of the machine)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  app.add_option("--max-quarantined", o.max_quarantined,
                 "Exit with 3 when more cases than this are quarantined");
}

void declare_identity(CLI::App& app, IngestCommand& o) {
  app.add_option("--ids", o.ids, "pseudonym, or keep for data that is already public")
      ->check(CLI::IsMember({"pseudonym", "keep"}))
      ->capture_default_str();
  app.add_option("--site-key", o.site_key, "Secret under which pseudonyms are made (mode 0600)");
  app.add_option("--new-site-key", o.new_site_key, "The same, made on first use");
  app.add_option(
      "--crosswalk", o.crosswalk,
      "Write pseudonym -> original here (mode 0600, outside the dataset and the export)");
  app.add_flag("--strict-subjects", o.config.strict_subjects,
               "Refuse cases without a usable patient ID");
}

void declare_slices(CLI::App& app, IngestCommand& o) {
  // One value per use, so that the export's path after it is not taken for another.
  app.add_option("--liver-roi", o.config.liver_roi,
                 "Whole names of the liver in SEG and RTSTRUCT objects without a coded one, in any "
                 "case: A[,B], or given again (\"liver\" stands for \"whole liver\" and the like "
                 "too; no part, margin or lesion)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option("--liver-label", o.config.liver_labels,
                 "Values of the liver in mask files: N[,M], or given again (default: the "
                 "manifest's, else 1)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--mask-objects", o.mask_objects,
                 "use the SEG and RTSTRUCT objects of the export, or ignore them")
      ->check(CLI::IsMember({"use", "ignore"}))
      ->capture_default_str();
  app.add_flag("--clean-masks", o.config.clean_masks,
               "Keep the largest component and fill holes of given masks too");
  app.add_option("--slices", o.slices,
                 "central: the central part of the liver; all: every acquired slice")
      ->check(CLI::IsMember({"central", "all"}))
      ->capture_default_str();
  app.add_option("--central-fraction", o.fraction, "Part of the liver's extent that is kept")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  app.add_option("--min-area-mm2", o.config.min_area_mm2,
                 "Least liver area of the extent's end slices")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void declare_pixels(CLI::App& app, IngestCommand& o) {
  app.add_option("--window", o.window, "HU window")->expected(2)->capture_default_str();
  app.add_option("--size", o.config.size, "In-plane matrix")
      ->check(CLI::Range(16, 4096))
      ->capture_default_str();
  app.add_option("--codec", o.codec, "lz4, zstd, gzip or none")
      ->check(CLI::IsMember({"lz4", "zstd", "gzip", "none"}))
      ->capture_default_str();
  app.add_option("--shards", o.config.shards,
                 "Number of shards, a power of two; fixed for the dataset's life")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
}

// All options of the ingest.
void declare_ingest(CLI::App& app, IngestCommand& o) {
  app.add_option("EXPORT", o.input, "Folder of DICOM, NIfTI or NRRD files, searched recursively");
  declare_output(*app.add_option_group("Input and output"), o);
  declare_identity(*app.add_option_group("Identity"), o);
  declare_series(*app.add_option_group("Series"), o);
  declare_model(*app.add_option_group("Liver model"), o);
  declare_slices(*app.add_option_group("Liver and slices"), o);
  declare_pixels(*app.add_option_group("Pixels and shards"), o);
}

}  // namespace

void declare_verbs(CLI::App& app, IngestCommand& o) {
  o.make = app.add_subcommand("make", "Make a dataset of an export, or update it");
  declare_ingest(*o.make, o);
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
  app.require_subcommand(1);
}

namespace {

// Masks outlive an interrupted run and serve other datasets of the same volumes.
std::optional<std::filesystem::path> mask_cache_of(const IngestCommand& o) {
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
std::uint64_t worker_bytes(const IngestCommand& o) {
  constexpr std::uint64_t kLeast = std::uint64_t{2} << 30;
  return std::max(kLeast, o.memory != 0 ? o.memory : default_memory_bytes());
}

}  // namespace

std::optional<std::filesystem::path> path_or_none(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return std::filesystem::path(text);
}

IngestConfig resolve(const IngestCommand& o) {
  IngestConfig config = o.config;
  if (o.window[0] >= o.window[1] || o.window[0] < -32768 || o.window[1] > 32767)
    throw Error(ErrorCode::usage, "--window expects LOW HIGH with LOW < HIGH in int16 HU");
  config.window = {static_cast<std::int16_t>(o.window[0]), static_cast<std::int16_t>(o.window[1])};
  config.central_permille = static_cast<std::int64_t>(o.fraction * 1000 + 0.5);
  config.all_slices = o.slices == "all";
  config.codec = parse_codec(o.codec);
  config.reject_tilt = o.tilt == "reject";
  config.ignore_mask_objects = o.mask_objects == "ignore";
  config.reject_gaps = o.gaps == "reject";
  config.trust_hu = o.hu == "trust";
  config.require_portal = o.phase == "portal";
  config.ids = o.ids == "keep" ? IdMode::keep : IdMode::pseudonym;
  if ((config.shards & (config.shards - 1)) != 0)
    throw Error(ErrorCode::usage, "--shards expects a power of two");
  return config;
}

IngestOptions ingest_options(const IngestCommand& o) {
  IngestOptions options;
  options.input = o.input;
  options.output = o.output;
  options.manifest = path_or_none(o.manifest);
  options.labels = path_or_none(o.labels);
  options.masks = path_or_none(o.masks);
  options.masks_table = path_or_none(o.masks_table);
  options.site_key = path_or_none(o.site_key);
  options.new_site_key = path_or_none(o.new_site_key);
  options.crosswalk = path_or_none(o.crosswalk);
  options.exclude_cases = path_or_none(o.exclude_cases);
  options.config = resolve(o);
  options.memory_bytes = o.memory;
  options.force = o.force;
  options.prune = o.prune;
  options.tool_version = WSP_VERSION;
  options.mask_cache = mask_cache_of(o);
  options.mask_cache_asked_for = !o.mask_cache.empty();
  options.write_seg = path_or_none(o.write_seg);
  options.seg_label_maps = o.seg_type == "labelmap";
  options.saved_scan = path_or_none(o.saved_scan);
  options.save_scan = path_or_none(o.save_scan);
  if (!o.part.empty()) options.part = parse_part(o.part);
  return options;
}

std::optional<WorkerLimits> isolation_of(const IngestCommand& o) {
  const bool ours =
      o.verify->parsed() || o.merge->parsed() || (o.init->parsed() && o.check.empty());
  if (o.isolation == "off" || ours) return std::nullopt;
  return WorkerLimits{worker_bytes(o), o.file_seconds};
}

std::optional<nlohmann::json> recorded_ingest(const nlohmann::json& dataset) {
  if (dataset.value("format", "") != "wsp-dataset") return std::nullopt;
  nlohmann::json options = nlohmann::json::object();
  const auto& config = dataset.at("config");
  for (const auto& [name, value] : config.items()) {
    if (name == "window_hu")
      options["window"] = value;
    else if (name == "central_fraction_permille")
      options["central-fraction"] = value.get<double>() / 1000;
    else if (name == "liver_labels")
      options["liver-label"] = value;
    else if (name == "exclude" && !value.empty() && config.at("ids") == "pseudonym")
      throw Error(ErrorCode::usage,
                  "the dataset was made with --exclude, whose globs it keeps hashed: --config "
                  "cannot give them; write the other options into a file of your own");
    else if (name == "segmenter" && value == "builtin")
      options["liver-model"] = value;
    else if (name == "manifest" && value == default_manifest().name)
      continue;
    else if (name == "exclude_cases" || name == "manifest" || name == "organ" ||
             name == "segmenter")
      log::info("--config: " + name +
                " is kept by name alone; give its file, where it is wanted again");
    else if (name != "tool_version" && name != "data_epoch")
      options[name] = value;
  }
  return std::make_optional(std::move(options));
}

}  // namespace wsp
