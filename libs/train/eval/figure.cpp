#include "train/eval/figure.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/core/error.hpp"
#include "train/eval/svg.hpp"

namespace wsp::train {
namespace {

constexpr double kWidth = 760, kHeight = 560, kLeft = 78, kRight = 20, kTop = 66, kBottom = 56;

const Paint& paint_of(int series) {
  return kSeries[static_cast<std::size_t>(series) % std::size(kSeries)];
}
// From a quarter of the colour to all of it.
double opacity_of(double shade) { return 0.25 + 0.75 * std::clamp(shade, 0.0, 1.0); }

struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -low, from = 0, to = 0;
  void include(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  void settle(double begin, double end) {
    if (!(low <= high))
      throw Error(ErrorCode::failure, "a figure needs at least one point that is finite");
    const double margin = high > low ? 0.05 * (high - low) : 1;
    low -= margin;
    high += margin;
    from = begin;
    to = end;
  }
  [[nodiscard]] double place(double v) const {
    return from + (v - low) / (high - low) * (to - from);
  }
};

void draw(Svg& canvas, const ScatterFigure& f) {
  using Align = Svg::Align;
  Axis x, y;
  for (const auto& line : f.lines)
    for (std::size_t i = 0; i < line.x.size(); ++i)
      if (std::isfinite(line.x[i]) && std::isfinite(line.y[i])) {
        x.include(line.x[i]);
        y.include(line.y[i]);
      }
  x.settle(kLeft, kWidth - kRight);
  y.settle(kHeight - kBottom, kTop);
  // 1. Grid and numbers.
  const double sx = nice_step(x.high - x.low, 7), sy = nice_step(y.high - y.low, 6);
  for (double v = std::ceil(x.low / sx) * sx; v <= x.high; v += sx) {
    canvas.line(x.place(v), kTop, x.place(v), kHeight - kBottom, 1, kGrid);
    canvas.text(x.place(v), kHeight - kBottom + 18, 12, Align::middle, step_label(v, sx));
  }
  for (double v = std::ceil(y.low / sy) * sy; v <= y.high; v += sy) {
    canvas.line(kLeft, y.place(v), kWidth - kRight, y.place(v), 1, kGrid);
    canvas.text(kLeft - 8, y.place(v) + 4, 12, Align::right, step_label(v, sy));
  }
  // 2. Lines below all points.
  for (const auto& line : f.lines)
    for (std::size_t i = 1; i < line.x.size(); ++i)
      canvas.line(x.place(line.x[i - 1]), y.place(line.y[i - 1]), x.place(line.x[i]),
                  y.place(line.y[i]), 1, paint_of(line.series), 0.45);
  for (const auto& line : f.lines)
    for (std::size_t i = 0; i < line.x.size(); ++i)
      canvas.disc(x.place(line.x[i]), y.place(line.y[i]), 3.2, paint_of(line.series),
                  opacity_of(i < line.shade.size() ? line.shade[i] : 1), line.name);
  // 3. Words.
  canvas.text(kLeft, 24, 16, Align::left, f.title);
  canvas.text(kLeft, 43, 12, Align::left, f.subtitle);
  canvas.text((kLeft + kWidth - kRight) / 2, kHeight - 14, 13, Align::middle, f.x_label);
  canvas.text(20, (kTop + kHeight - kBottom) / 2, 13, Align::middle, f.y_label, false);
  double at = kLeft;
  for (std::size_t s = 0; s < f.series.size(); ++s) {
    canvas.disc(at + 4, 56, 4, paint_of(static_cast<int>(s)), 1, f.series[s]);
    canvas.text(at + 13, 60, 12, Align::left, f.series[s]);
    at += 30 + 7.2 * static_cast<double>(f.series[s].size());
  }
  if (!f.shade_label.empty()) canvas.text(kWidth - kRight, 60, 12, Align::right, f.shade_label);
}

}  // namespace

std::string scatter_svg(const ScatterFigure& figure) {
  Svg canvas(kWidth, kHeight);
  draw(canvas, figure);
  return canvas.finish();
}

}  // namespace wsp::train
