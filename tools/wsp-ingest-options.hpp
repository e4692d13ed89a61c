#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/core/worker_pool.hpp"
#include "preprocess/pipeline/ingest.hpp"
#include "preprocess/segment/model_segmenter.hpp"

namespace wsp {

/// The command line of wsp-ingest as it was typed.
struct IngestCommand {
  CLI::App *make = nullptr, *plan = nullptr, *scan = nullptr, *init = nullptr, *merge = nullptr,
           *verify = nullptr;
  std::vector<std::string> parts;
  std::string part, saved_scan, save_scan;
  std::string input, output, manifest, labels, masks, site_key, new_site_key, crosswalk,
      exclude_cases;
  std::string slices = "central", codec = "lz4", tilt = "resample", gaps = "accept", phase = "any",
              mask_objects = "use", hu = "prove";
  std::string ids = "pseudonym";
  std::uint64_t memory = 0;
  std::string liver_model = "builtin", device = "auto", model_precision = "auto", mask_cache,
              write_seg, seg_type = "binary";
  double coarse_mm = SegmentationPlan{}.coarse_mm;
  std::vector<int> window{-100, 400};
  double fraction = 0.7;
  bool force = false, prune = false, pixels = false, quick = false;
  int max_quarantined = -1;
  IngestConfig config;
  std::string masks_table;
  std::string check;  ///< a manifest
  std::string isolation = "on";
  double file_seconds = 60;
};

void declare_verbs(CLI::App& app, IngestCommand& o);
std::optional<std::filesystem::path> path_or_none(const std::string& text);
/// The words of the command line as the configuration of the dataset. Throws Error(usage).
IngestConfig resolve(const IngestCommand& o);
/// All that the ingest is asked for, but its segmenter.
IngestOptions ingest_options(const IngestCommand& o);
/// Limits of the processes that read foreign files; none where there are none to read, or with
/// --isolation off.
std::optional<WorkerLimits> isolation_of(const IngestCommand& o);
/// The options that make a dataset such as `dataset`, a dataset.json, is; none where the file is
/// something else. Throws Error(usage) for what the file does not tell.
std::optional<nlohmann::json> recorded_ingest(const nlohmann::json& dataset);

}  // namespace wsp
