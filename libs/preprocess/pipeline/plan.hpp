#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/manifest/manifest.hpp"
#include "io/medical/masks.hpp"
#include "io/medical/scan.hpp"
#include "preprocess/pipeline/ingest_config.hpp"

namespace wsp {

/// What became of one input file.
struct Disposition {
  Code code = Code::NOT_DICOM;
  std::string case_name;
  std::string detail;
};

/// One volume that will be read, and everything known of it before its pixels are.
struct CasePlan {
  std::size_t series = 0;  ///< index into Scan::series
  std::string name, subject, split;
  std::vector<std::int64_t> labels;
  std::vector<double> continuous;  ///< one per DataManifest::continuous, NaN unknown
  std::vector<Code> flags;
  bool pinned = false;  ///< the manifest names the series: its phase is not questioned
  std::vector<std::filesystem::path> mask_files;  ///< of --masks; absolute
  std::vector<std::size_t> mask_objects;          ///< indices into Scan::masks
  nlohmann::json candidates;  ///< every series of the study, with score and reasons
  std::string key;            ///< hash of files + plan + config
  double mask_bytes = 0;      ///< of memory that reading its given mask takes: given_mask_bytes()
  std::vector<std::size_t> label_rows;  ///< of the label table, 0-based: those that speak of it
};

/// How one series of the scan fared when its study chose.
struct SeriesChoice {
  double score = 0;     ///< the series' own and, where it has a mask, that bonus
  bool chosen = false;  ///< read, unless its subject, label or phase forbid
  bool pinned = false;
  std::string identity;   ///< whose it is: issuer and patient ID, the user's map, or the study
  std::string case_name;  ///< that it has, or would have as a case
};

/// Which volumes to read, in the order in which they are written: by shard, then by name.
struct IngestPlan {
  std::vector<CasePlan> cases;
  std::vector<Rejection> rejections;         ///< cases refused before reading
  std::vector<Disposition> files;            ///< one per Scan::files
  std::vector<SeriesChoice> series;          ///< one per Scan::series
  std::map<std::string, std::string> names;  ///< pseudonym -> identity, for the crosswalk
  std::size_t unlabelled = 0;
  std::size_t unmatched_pins = 0;  ///< pins of the manifest that name no series of the export
  std::size_t unusable_pins = 0;   ///< pins that name only series that cannot be used
  std::vector<std::string> hints;  ///< on rows and mask files without a case: numbers, no names
  std::vector<std::string>
      misfits;  ///< inputs of which nothing fits the export; see refuse_misfits
};

struct PlanInputs {
  const Scan& scan;
  const IngestConfig& config;
  const DataManifest& manifest;
  LabelTable* labels;          ///< or null
  const MaskDirectory* masks;  ///< or null
  const Naming& naming;
  bool segmenter;                                   ///< a segmenter can make masks
  const std::set<std::string>* excluded = nullptr;  ///< names of cases to leave out, or null
};
/// Choose series, subjects, labels and mask sources.
IngestPlan plan_cases(const PlanInputs& inputs);
/// Throw Error(no_input) where there are cases and no row of the label table or no mask file fits
/// any, or rows of the mask table name nothing: another export's, or keys of another kind.
void refuse_misfits(const IngestPlan& plan);

}  // namespace wsp
