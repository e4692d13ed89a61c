#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

/// Representations of slices in a file: what `wsp-eval embed` writes and everything else reads.
namespace wsp::train {

/// One volume of a table.
struct FeatureCase {
  std::string name, subject;
  double spacing_mm = 0, pixel_mm = 0;  ///< 0 where the dataset does not say
  std::string kernel = {};              ///< class of the reconstruction kernel, or empty
  std::string scanner = {};             ///< its maker, or empty
  std::string phase = {};               ///< contrast phase by the header, or empty
  int trained_on = -1;  ///< whether the encoder was trained on its subject: 1, 0; -1 where the
                        ///< weights do not say
};

/// Features of slices, cases together, slices of a case from feet to head.
struct FeatureTable {
  std::int64_t dimensions = 0;
  std::vector<float> values;          ///< [n][dimensions]
  std::vector<std::int32_t> case_id;  ///< [n], into cases
  std::vector<std::int32_t>
      slice;  ///< [n], number of the slice in the acquired volume, from 0; empty: not known
  std::vector<double> depth;           ///< [n], over the kept slices
  std::vector<std::uint64_t> content;  ///< [n], XXH3 of the pixels that were embedded
  std::vector<FeatureCase> cases;
  std::vector<std::string> label_names;
  std::vector<std::vector<std::int64_t>> labels;  ///< [label][case]; -1 is unknown
  /// [label]: the manifest's words and their classes; empty where the column is of plain integers.
  /// Empty: not known.
  std::vector<std::map<std::string, std::int64_t>> label_words = {};
  std::map<std::string, std::vector<double>> numbers = {};  ///< labels that are numbers: name ->
                                                            ///< [case]; NaN is unknown
  /// Cases of the dataset that are not in the table, and why: "rated" (a reader's ratings),
  /// "ingest" (left out as rated when the dataset was made), "flagged", "unlabelled" or "absent".
  /// Empty: not known.
  std::map<std::string, std::string> left_out = {};
  /// Where they come from: encoder (tinynet, ...), method, encoder_sha256, pretraining_sha256 (of
  /// its dataset.json), dataset (its directory's name), dataset_sha256, image_size, precision;
  /// labelled (the label column without which a case was left out, or "any") and flagged ("left
  /// out" or "taken").
  std::map<std::string, std::string> facts;
  /// "unknown" where it is not told.
  [[nodiscard]] std::string fact(const std::string& name) const;
  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(case_id.size()); }
};

/// Write F.h5 atomically: /slices/{features [n][d] float32, case, slice, depth, content},
/// /cases/{name, subject, spacing_mm, pixel_mm, kernel, scanner, phase, trained_on, label_NAME...,
/// number_NAME...}, /left_out/{name, why} where a case is left out, facts as attributes. The same
/// table gives the same bytes. Throws Error(output).
void write_features(const std::filesystem::path& path, const FeatureTable& table);
/// Read and check it. Throws Error(no_input) where there is no such file, Error(corrupt).
FeatureTable read_features(const std::filesystem::path& path);

/// Names that FeatureTable::facts may have.
const std::vector<std::string>& fact_names();

/// Index of a label column, matched without regard to case. Throws Error(usage) naming those that
/// there are.
std::size_t label_index(const FeatureTable& table, const std::string& label,
                        const char* option = "--label");

}  // namespace wsp::train
