#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/core/codes.hpp"
#include "io/manifest/identity.hpp"
#include "io/manifest/manifest.hpp"
#include "io/medical/scan.hpp"
#include "io/shard/dataset.hpp"
#include "preprocess/ops/slices.hpp"
#include "preprocess/pipeline/comparison.hpp"
#include "preprocess/pipeline/part.hpp"
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

/// How an ingest with this configuration and manifest scans, so that `scan` shows the same scores.
ScanOptions scan_options(const IngestConfig& config, const DataManifest& manifest);

/// What --memory is where it is not given: half of the machine's memory.
std::uint64_t default_memory_bytes();

struct IngestOptions {
  std::filesystem::path input, output;
  std::optional<std::filesystem::path> manifest, labels, masks, site_key, new_site_key, crosswalk;
  IngestConfig config;
  std::uint64_t memory_bytes = 0;  ///< for cases in flight; 0: half of the machine's memory
  bool force = false;
  Segmenter* segmenter = nullptr;  ///< asked for a mask where no other source has one
  std::optional<std::filesystem::path> mask_cache;  ///< directory of the segmenter's masks
  std::string tool_version;
  std::optional<std::filesystem::path> masks_table;  ///< CSV: case, mask
  bool prune = false;  ///< cases of the dataset that this export does not give may go
  Part part;           ///< which subjects to take
  std::optional<std::filesystem::path> saved_scan;  ///< of this export: SavedScan
  std::optional<std::filesystem::path> save_scan;   ///< of forecast(): write one
  std::optional<std::filesystem::path>
      write_seg;  ///< directory for the model's masks (seg_folder.hpp)
};

/// A case of the dataset that a rerun does not make again.
struct LostCase {
  std::string name;
  std::optional<Code> code;  ///< why; none: its files are not in the export
};

/// What an ingest did, for the last lines on the screen and --json.
struct IngestSummary {
  std::size_t files = 0, cases = 0, subjects = 0, slices = 0, quarantined_cases = 0,
              reused_cases = 0;
  std::map<std::string, std::size_t> file_codes;        ///< disposition -> files
  std::map<std::string, std::size_t> quarantine_codes;  ///< code -> cases
  std::map<std::string, std::size_t> flags;             ///< flag -> cases
  /// 1-based data rows of the label table (header excluded) that matched no case.
  std::vector<std::size_t> unmatched_label_row_numbers;
  std::size_t label_rows = 0, unmatched_label_rows = 0, unlabelled_cases = 0, unused_masks = 0;
  std::vector<MaskComparisonRow> comparisons;         ///< with compare_masks, by case
  std::size_t unmatched_pins = 0, unusable_pins = 0;  ///< of the manifest's pin_series
  std::size_t written_segs = 0;                       ///< with write_seg
  std::size_t other_part_cases = 0;                   ///< planned, of subjects of other parts
  std::vector<LostCase> lost_cases;  ///< of the complete dataset that stood here; by name
};
nlohmann::json to_json(const IngestSummary& summary);

/// Turn an export into a dataset (DESIGN §2–3): scan, choose series, read, mask, keep the central
/// slices, compress in parallel, write shards in order, then index, ledger, and dataset.json last.
/// Byte-identical for the same input and config at any thread count. A second run with the same
/// config takes over what is unchanged. Where the plan lacks cases of the dataset that stands
/// there, it is left untouched without `prune`; what is refused only when it is read goes, and is
/// named in the summary. Throws Error: no_input, output (exists with another config, not writable),
/// interrupted.
IngestSummary ingest(const IngestOptions& options);

}  // namespace wsp
