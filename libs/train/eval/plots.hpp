#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/stats/cross_validation.hpp"

/// Pictures of what the protocol found, as SVG text (svg.hpp).
namespace wsp::train {

/// Of one encoder on one cohort, from what protocol.hpp's to_json() keeps: ROC with its band,
/// calibration with counts, decision curve, and who is called what at Youden's threshold and at a
/// stated sensitivity. What the result lacks (of an earlier toolkit) is left out.
std::string diagnostics_svg(const nlohmann::json& result, const std::string& title);

/// One line of a forest plot.
struct ForestRow {
  std::string label;
  double value = 0;  ///< no number: the row says `text` alone
  Interval interval;
  std::string text;    ///< beside it
  bool faint = false;  ///< an interval that is too narrow
};
/// Values and intervals around `middle`, top to bottom; axis: what they are.
std::string forest_svg(const std::vector<ForestRow>& rows, double middle, const std::string& title,
                       const std::string& subtitle, const std::string& axis);

}  // namespace wsp::train
