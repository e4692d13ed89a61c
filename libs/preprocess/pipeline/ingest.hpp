#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "preprocess/pipeline/ingest_config.hpp"
#include "preprocess/pipeline/ingest_summary.hpp"
#include "preprocess/pipeline/part.hpp"

namespace wsp {

struct IngestOptions {
  std::filesystem::path input, output;
  std::optional<std::filesystem::path> manifest, labels, masks, site_key, new_site_key, crosswalk;
  std::optional<std::filesystem::path>
      exclude_cases;  ///< ratings of wsp-qa's page: cases rated exclude are left out
  IngestConfig config;
  std::uint64_t memory_bytes = 0;  ///< for cases in flight; 0: half of the machine's memory
  bool force = false;
  Segmenter* segmenter = nullptr;  ///< asked for a mask where no other source has one
  std::optional<std::filesystem::path> mask_cache;  ///< directory of the segmenter's masks
  bool mask_cache_asked_for = true;  ///< else a warning where it cannot be made, no error
  std::string tool_version;
  std::optional<std::filesystem::path> masks_table;  ///< CSV: case, mask
  bool prune = false;  ///< cases of the dataset that this export does not give may go
  Part part;           ///< which subjects to take
  std::optional<std::filesystem::path> saved_scan;  ///< of this export: SavedScan
  std::optional<std::filesystem::path> save_scan;   ///< of forecast(): write one
  std::optional<std::filesystem::path>
      write_seg;                ///< directory for the model's masks (seg_folder.hpp)
  bool seg_label_maps = false;  ///< which are LABELMAP objects then, else BINARY
};

/// Turn an export into a dataset (DESIGN §2–3): scan, choose series, read, mask, keep the central
/// slices, compress in parallel, write shards in order, then index, ledger, and dataset.json last.
/// Byte-identical for the same input and config at any thread count. A second run with the same
/// config takes over what is unchanged. Where the plan lacks cases of the dataset that stands
/// there, it is left untouched without `prune`; what is refused only when it is read goes, and is
/// named in the summary. Throws Error: no_input, output (exists with another config, not writable),
/// interrupted.
IngestSummary ingest(const IngestOptions& options);

}  // namespace wsp
