#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace wsp {

/// What the masks hold and the slices are of: the liver, unless a manifest names another organ
/// (docs/MANIFESTS.md). Columns and codes keep the word liver in their names.
struct Organ {
  std::string name = "liver";      ///< lower case: of files NAME.nii.gz, SEG segments and ROIs
  std::vector<std::string> names;  ///< further whole names of segments and ROIs
  /// (scheme, value) of SegmentedPropertyType and RTROIIdentification.
  std::vector<std::pair<std::string, std::string>> codes{
      {"SCT", "10200004"}, {"SRT", "T-62000"}, {"99SDM", "T-62000"}, {"SNM3", "T-62000"}};
  double least_ml = 500, most_ml = 4500;  ///< of a whole one
  /// Its height over the square root of its largest area, where that is judged.
  std::optional<std::pair<double, double>> shape{{0.6, 2.4}};
  [[nodiscard]] bool is_liver() const { return name == "liver"; }
  bool operator==(const Organ&) const = default;
};

}  // namespace wsp
