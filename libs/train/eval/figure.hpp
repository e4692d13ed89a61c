#pragma once
#include <string>
#include <vector>

namespace wsp::train {

/// A scatter plot whose points are joined in groups: the paper's figure 2.
struct ScatterFigure {
  struct Line {
    std::string name;           ///< shown when pointed at (SVG)
    int series = 0;             ///< which colour and entry of the legend
    std::vector<double> x, y;   ///< points in order
    std::vector<double> shade;  ///< [points] in [0, 1]: from light to full colour
  };
  std::string title, subtitle, x_label, y_label;
  std::vector<std::string> series;  ///< legend; at most 4
  std::string shade_label;          ///< what light and full colour mean
  std::vector<Line> lines;
};

/// The figure as SVG text. The same figure gives the same bytes. Throws Error(failure) without a
/// finite point.
std::string scatter_svg(const ScatterFigure& figure);

}  // namespace wsp::train
