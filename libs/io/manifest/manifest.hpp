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
#include "io/core/organ.hpp"

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
      relative_path;      ///< for NIfTI: path below the export; for DICOM: the series' first file
  std::string path_stem;  ///< for NIfTI: the path without its extension; empty for DICOM
  std::string subject;    ///< whose case it is; cases of one subject may share a row
};

/// One integer label column: which table column, how its text becomes a class.
struct LabelColumn {
  std::string name;    ///< column of the index, e.g. "label", "metavir"
  std::string column;  ///< column of the table; empty: in none, unknown everywhere
  std::map<std::string, std::int64_t>
      values;                        ///< text -> class; empty: the text is an integer already
  std::vector<std::string> missing;  ///< texts that mean unknown (empty text always does)
};

/// One column of numbers: a label that has no classes, such as an age in years or a stiffness in
/// kPa.
struct ContinuousColumn {
  std::string name;                  ///< column of the index, e.g. "age", "stiffness_kpa"
  std::string column;                ///< column of the table
  std::vector<std::string> missing;  ///< texts that mean unknown (empty text always does)
  char decimal = '.';                ///< its decimal sign; the other one is no part of a number
};

/// The number of a cell, which must be all of its text: NaN where it is empty or means unknown,
/// none where it is no finite number with the column's decimal sign ("7.3 kPa", "inf", "nan", and
/// of "7.3" and "7,3" the one with the other sign).
std::optional<double> number_of_cell(const ContinuousColumn& column, const std::string& text);
/// True where both are the same numbers in the same places; NaN, unknown, is itself.
bool same_numbers(const std::vector<double>& a, const std::vector<double>& b);
/// {name: number}, null where unknown: as plans and the cases' JSON have it.
nlohmann::json numbers_json(const std::vector<std::string>& names,
                            const std::vector<double>& values);

/// The class of a cell: -1 where it is empty or means unknown, none where it is no class.
std::optional<std::int64_t> class_of_cell(const LabelColumn& label, const std::string& text);

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
  std::vector<ContinuousColumn> continuous;  ///< labels that are numbers
  [[nodiscard]] std::vector<std::string> continuous_names() const;
  std::string split_column;  ///< optional table column -> /slices/split, /cases/split
  /// Study UID or patient ID, or the path of a NIfTI volume (whole, without its extension, or its
  /// stem) -> subject.
  std::map<std::string, std::string> subject_map;
  std::vector<std::string> pin_series;  ///< series UIDs always taken
  std::map<std::string, double>
      score_weights;                          ///< re-weights of the series score by criterion name
  std::vector<std::int64_t> liver_labels{1};  ///< label-map values that are the organ
  Organ organ;
};

/// True of names that stand beside the labels in the index (docs/SHARD_FORMAT.md).
[[nodiscard]] bool is_reserved_label(const std::string& name);
/// Parse and validate; throws Error(usage) that lists every violation.
DataManifest load_manifest(const std::filesystem::path& path);
/// The manifest that is used when none is given: key patient_id, column "subject", label "label".
DataManifest default_manifest();

/// The labels of one case.
struct CaseLabels {
  std::vector<std::int64_t> values;  ///< one per DataManifest::labels, -1 unknown
  std::vector<double> continuous;    ///< one per DataManifest::continuous, NaN unknown
  std::string split;                 ///< empty when there is none
};

/// A label table (CSV of RFC 4180, UTF-8 with or without BOM, comma, semicolon or tab separated).
class LabelTable {
 public:
  /// Throws Error(usage) that names the row and column for: missing column, ragged row, a text that
  /// the value map lacks or that is no number where one belongs, and the table's available columns
  /// where the wanted one is absent and the first row is no data. A cell itself stands only in the
  /// log, at debug level: it may name a patient.
  static LabelTable load(const std::filesystem::path& csv, const DataManifest& manifest);
  struct Lookup {
    enum class State { found, missing, ambiguous } state = State::missing;
    CaseLabels labels;
    std::vector<std::size_t> rows;  ///< 0-based, that speak of the case
    std::string problem;            ///< why it is ambiguous; no identifiers
  };
  /// Look all cases of an export up at once by the manifest's key. A row serves the cases that its
  /// key fits best (a path: folder_proof()), and only where these are one subject's.
  [[nodiscard]] std::vector<Lookup> match(const std::vector<CaseKeys>& cases) const;
  /// Count the rows of a lookup as matched.
  void use(const Lookup& lookup);
  /// The keys of the rows that were not used, with their 1-based numbers; for hints, not for logs.
  [[nodiscard]] std::vector<std::pair<std::size_t, std::string>> unmatched_keys() const;
  [[nodiscard]] std::size_t rows() const;
  /// Number of rows that were not used so far.
  [[nodiscard]] std::size_t unmatched_rows() const;
  /// 1-based data row numbers (header excluded) that were not used.
  [[nodiscard]] std::vector<std::size_t> unmatched_row_numbers() const;

 private:
  struct Row {
    std::string key;
    CaseLabels labels;
    bool used = false;
  };
  DataManifest manifest_;
  std::vector<Row> rows_;
};

}  // namespace wsp
