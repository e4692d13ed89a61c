#pragma once
#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "preprocess/report/facts.hpp"

namespace wsp::qa {

enum DepthKind : std::size_t { kDepthKept, kDepthLiver, kDepthVolume };
inline constexpr std::array<const char*, 3> kDepthNames{"depth_kept", "depth_liver",
                                                        "depth_volume"};

/// How well the anatomy of a case's slices fits their depth within the liver.
struct CaseDepth {
  bool judged = false;     ///< enough cases for a regression
  double correlation = 0;  ///< of predicted and stated depth_liver over the kept slices
  double rmse = 0;
  double shape = 0;  ///< liver height over the square root of its largest area
};

/// The audit of all depth labels.
struct DepthAudit {
  std::vector<CaseDepth> cases;
  bool judged = false;         ///< at least kFewestCases cases of kFewestSubjects subjects
  std::array<double, 3> r2{};  ///< cross-validated, over kept slices, per DepthKind
  std::array<double, 3> rmse{};
  double scan_range_cv = 0;  ///< standard deviation over mean of the scan ranges
  std::string recommended = "depth_kept", reason;
  double shape_median = 0;
  struct Point {
    std::size_t case_index;
    std::array<float, 3> stated, predicted;
  };
  std::vector<Point> points;  ///< a sample of kept slices, for the figure
  static constexpr std::size_t kFewestCases = 10, kFewestSubjects = 5, kPoints = 900;
};

/// Predict the depth of a slice from what is seen in it (lung, bone and body area, liver area;
/// ridge regression, ten folds by subject) for each of the three conventions; say which convention
/// the anatomy supports. Cases whose depths a flag distrusts are predicted but not learnt from.
DepthAudit audit_depth(const DatasetReader& reader, const std::vector<CaseFacts>& cases);
nlohmann::json to_json(const DepthAudit& audit);

}  // namespace wsp::qa
