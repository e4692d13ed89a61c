#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "io/manifest/identity.hpp"
#include "io/manifest/manifest.hpp"
#include "io/medical/scan.hpp"
#include "io/shard/dataset.hpp"
#include "preprocess/ops/slices.hpp"
#include "preprocess/segment/segmenter.hpp"

namespace wsp {

/// Recorded in dataset.json's config, and part of every case's key. Raise it with each change of
/// the code after which the same inputs and options give other results: other volumes, masks,
/// labels, subjects, flags, measurements, or another choice of series. Cases of an earlier epoch
/// are made again. (The mask cache needs none: its key is the volume itself and the model.)
inline constexpr int kDataEpoch = 1;

/// Everything that shapes the bytes of a dataset; recorded in dataset.json as "config".
struct IngestConfig {
  WindowHu window;
  std::int64_t central_permille = 700;
  double min_area_mm2 = 100;
  std::int64_t size = 512;
  bool all_slices = false;
  Codec codec = Codec::lz4;
  int shards = 16;
  int min_slices = 10;
  bool reject_tilt = false, reject_gaps = false;
  bool require_portal = false, all_series = false;
  bool clean_masks = false, strict_subjects = false;
  bool ignore_mask_objects = false;  ///< leave the export's SEG and RTSTRUCT objects aside
  bool compare_masks = false;        ///< run the model on cases with a given mask too, and compare
  IdMode ids = IdMode::pseudonym;
  std::vector<std::string> liver_roi{"liver"};
  std::vector<std::int64_t> liver_labels;  ///< empty: the manifest's
  bool follow_links = false;               ///< of the export and of --masks, to directories
  std::vector<std::string> exclude;        ///< globs of what is left out of the export
  bool trust_hu = false;  ///< take values as HU whatever they look like (flag HU_OVERRULED)
};
/// The resolved configuration as it stands in dataset.json (schemas/config.schema.json).
nlohmann::json to_json(const IngestConfig& config);

/// What decides a dataset's bytes beside the configuration itself.
struct ConfigContext {
  const DataManifest& manifest;
  const Naming& naming;
  const std::set<std::string>& excluded;  ///< cases rated exclude
  const Segmenter* segmenter;             ///< or null
  std::string tool_version;
};
/// "config" as dataset.json records it: the configuration with all that the context gives it.
nlohmann::json resolved_config(const IngestConfig& config, const ConfigContext& context);
/// What of it shapes the cases: not which files of the export are seen.
nlohmann::json shaping_config(nlohmann::json resolved);

/// What --memory is where it is not given: half of the machine's memory.
std::uint64_t default_memory_bytes();

/// How an ingest with this configuration and manifest scans, so that `scan` shows the same scores.
ScanOptions scan_options(const IngestConfig& config, const DataManifest& manifest);

}  // namespace wsp
