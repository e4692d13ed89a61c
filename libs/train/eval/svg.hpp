#pragma once
#include <string>
#include <utility>
#include <vector>

/// The writer of every picture of the evaluation.
namespace wsp::train {

/// A colour on light and on dark paper; `name` is its class in the file.
struct Paint {
  const char* name;
  int light[3], dark[3];
};
inline constexpr Paint kInk{"ink", {40, 40, 46}, {226, 226, 232}},
    kFaint{"faint", {100, 100, 110}, {160, 160, 170}}, kGrid{"grid", {226, 226, 230}, {58, 58, 66}},
    kPaper{"paper", {255, 255, 255}, {24, 24, 28}};
/// Told apart also by those who see few colours.
inline constexpr Paint kSeries[4] = {{"one", {27, 94, 166}, {110, 176, 255}},
                                     {"two", {204, 76, 16}, {255, 150, 96}},
                                     {"three", {44, 140, 96}, {100, 206, 156}},
                                     {"four", {130, 70, 150}, {206, 156, 224}}};

/// Lines, areas, discs and text elements, in the order given. Colours follow the reader's light or
/// dark scheme where the program that shows the file knows of it; else they are the light ones. The
/// same calls give the same bytes.
class Svg {
 public:
  enum class Align { left, middle, right };
  using Points = std::vector<std::pair<double, double>>;
  Svg(double width, double height) : width_(width), height_(height) {}
  void line(double x0, double y0, double x1, double y1, double width, const Paint& paint,
            double opacity = 1);
  void path(const Points& points, double width, const Paint& paint, bool dashed = false);
  void area(const Points& points, const Paint& paint, double opacity);
  void box(double x, double y, double width, double height, const Paint& paint, double opacity = 1);
  /// tip: shown when pointed at.
  void disc(double x, double y, double radius, const Paint& paint, double opacity = 1,
            const std::string& tip = {});
  /// y is the baseline.
  void text(double x, double y, double size, Align align, const std::string& words,
            bool upright = true, const Paint& paint = kInk, bool bold = false);
  [[nodiscard]] std::string finish() const;

 private:
  double width_, height_;
  std::string out_;
};

/// Steps of 1, 2 or 5 times a power of ten, about `count` of them in a range.
double nice_step(double range, double count);
/// A multiple of such a step in as many digits as it needs.
std::string step_label(double value, double step);
/// Text for SVG and HTML.
std::string escaped(const std::string& text);

/// The place of a plot on the paper, and what its sides mean.
struct Panel {
  double left, top, width, height;  ///< of the area between the axes
  double x_low, x_high, y_low, y_high;
  [[nodiscard]] double x(double value) const {
    return left + (value - x_low) / (x_high - x_low) * width;
  }
  [[nodiscard]] double y(double value) const {
    return top + height - (value - y_low) / (y_high - y_low) * height;
  }
  /// Grid, numbers, title above, what the axes are.
  void draw(Svg& svg, const std::string& title, const std::string& x_label,
            const std::string& y_label) const;
};

}  // namespace wsp::train
