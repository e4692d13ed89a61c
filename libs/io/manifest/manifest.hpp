#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/core/codes.hpp"

namespace wsp {

/// Parse JSON text or a JSON file (comments refused); throws Error(usage) naming file, line and
/// column.
nlohmann::json load_json(const std::filesystem::path& path);
/// Validate against an embedded schema, e.g. "manifest.schema.json" (schemas/). Returns one line
/// per violation ("/labels/0/column: expected string, found number"); empty when valid.
std::vector<std::string> schema_violations(std::string_view schema_name,
                                           const nlohmann::json& value);

/// The facts of one case that a label table or manifest may use as its key.
struct CaseKeys {
  std::string patient_id, accession, study_uid, series_uid;
  std::string
      relative_path;  ///< for NIfTI: path below the export; for DICOM: the series' first file
};

/// One integer label column: which table column, how its text becomes a class.
struct LabelColumn {
  std::string name;    ///< column of the index, e.g. "label", "metavir"
  std::string column;  ///< column of the table
  std::map<std::string, std::int64_t>
      values;           ///< text -> class; empty: the text is an integer already
  std::string missing;  ///< text that means unknown (empty text always does)
};

/// What a data manifest says (data-manifests/*.json, schemas/manifest.schema.json).
struct DataManifest {
  std::string name;
  std::string key;           ///< patient_id | accession | study_uid | series_uid | path
  std::string key_column;    ///< column of the label table holding the key
  std::string path_pattern;  ///< key == path: ECMAScript regex; its first group is matched with the
                             ///< key column
  std::string subject_pattern;      ///< optional regex on relative_path whose first group is the
                                    ///< subject (NIfTI)
  std::vector<LabelColumn> labels;  ///< the first is the weak label, named "label"
  std::string split_column;         ///< optional table column -> /slices/split, /cases/split
  std::map<std::string, std::string> subject_map;  ///< study UID or patient ID -> subject
  std::vector<std::string> pin_series;             ///< series UIDs always taken
  std::map<std::string, double>
      score_weights;                          ///< re-weights of the series score by criterion name
  std::vector<std::int64_t> liver_labels{1};  ///< label-map values that are liver
};

/// Parse and validate; throws Error(usage) that lists every violation.
DataManifest load_manifest(const std::filesystem::path& path);
/// The manifest that is used when none is given: key patient_id, column "subject", label "label".
DataManifest default_manifest();

/// The labels of one case.
struct CaseLabels {
  std::vector<std::int64_t> values;  ///< one per DataManifest::labels, -1 unknown
  std::string split;                 ///< empty when there is none
};

/// A label table (CSV of RFC 4180, UTF-8 with or without BOM, comma, semicolon or tab separated).
class LabelTable {
 public:
  /// Throws Error(usage) that names the row and column for: missing column, ragged row, a text that
  /// the value map lacks, and the table's available columns where the wanted one is absent. A cell
  /// itself stands only in the log, at debug level: it may name a patient.
  static LabelTable load(const std::filesystem::path& csv, const DataManifest& manifest);
  struct Lookup {
    enum class State { found, missing, ambiguous } state = State::missing;
    CaseLabels labels;
    std::size_t row = 0;  ///< 1-based data row (header excluded) that was found first
  };
  /// Look a case up by the manifest's key; marks the row as used. Not thread-safe.
  [[nodiscard]] Lookup find(const CaseKeys& keys);
  [[nodiscard]] std::size_t rows() const;
  /// Number of rows that no find() matched so far.
  [[nodiscard]] std::size_t unmatched_rows() const;
  /// 1-based data row numbers (header excluded) that no find() matched.
  [[nodiscard]] std::vector<std::size_t> unmatched_row_numbers() const;

 private:
  struct Row {
    std::string key;
    CaseLabels labels;
    bool used = false;
  };
  DataManifest manifest_;
  std::vector<Row> rows_;
  std::multimap<std::string, std::size_t> by_key_;
};

}  // namespace wsp
