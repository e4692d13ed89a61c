#include "train/eval/figure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "io/core/error.hpp"
#include "io/core/png.hpp"
#include "train/eval/font.hpp"
#include "train/eval/svg.hpp"

namespace wsp::train {
namespace {

using Colour = std::array<double, 3>;  // 0 to 255

constexpr double kWidth = 760, kHeight = 560, kLeft = 78, kRight = 20, kTop = 66, kBottom = 56;

const Paint& paint_of(int series) {
  return kSeries[static_cast<std::size_t>(series) % std::size(kSeries)];
}
// From a quarter of the colour to all of it.
double opacity_of(double shade) { return 0.25 + 0.75 * std::clamp(shade, 0.0, 1.0); }

// The same drawing on pixels, on light paper.
class PngCanvas {
 public:
  static constexpr double kScale = 2;
  void line(double x0, double y0, double x1, double y1, double width, const Paint& paint,
            double opacity = 1) {
    stroke(x0 * kScale, y0 * kScale, x1 * kScale, y1 * kScale, width * kScale / 2,
           on_white(paint, opacity));
  }
  void disc(double x, double y, double r, const Paint& paint, double opacity = 1,
            const std::string& = {}) {
    stroke(x * kScale, y * kScale, x * kScale, y * kScale, r * kScale, on_white(paint, opacity));
  }
  void text(double x, double y, double size, Svg::Align align, const std::string& words,
            bool upright = true) {
    // A letter is 7 dots high, which is its capital's height: 0.7 of the font's size.
    const double dot = std::max(1.0, std::round(size * kScale * 0.72 / 7));
    const double length = dot * (6 * static_cast<double>(words.size()) - 1);
    const double shift = align == Svg::Align::left     ? 0
                         : align == Svg::Align::middle ? length / 2
                                                       : length;
    for (std::size_t i = 0; i < words.size(); ++i) {
      const auto letter = static_cast<unsigned char>(words[i]);
      const auto& columns = kFont[letter >= 32 && letter < 127 ? letter - 32U : 31U];
      for (int column = 0; column < 5; ++column)
        for (int row = 0; row < 7; ++row) {
          if ((columns[column] >> row & 1) == 0) continue;
          const double along = dot * (6 * static_cast<double>(i) + column) - shift,
                       above = dot * (7 - row);
          const double px = upright ? x * kScale + along : x * kScale - above;
          const double py = upright ? y * kScale - above : y * kScale - along - dot;
          fill(std::lround(px), std::lround(py), std::lround(dot));
        }
    }
  }
  [[nodiscard]] std::string finish() const {
    std::vector<std::uint8_t> rgb;
    for (const double v : pixels_) rgb.push_back(static_cast<std::uint8_t>(std::lround(v)));
    return encode_rgb_png(kPixelsX, kPixelsY, rgb);
  }

 private:
  static constexpr std::int64_t kPixelsX = static_cast<std::int64_t>(kWidth * kScale);
  static constexpr std::int64_t kPixelsY = static_cast<std::int64_t>(kHeight * kScale);

  static Colour on_white(const Paint& paint, double opacity) {
    Colour c{};
    for (std::size_t i = 0; i < 3; ++i) c[i] = 255 + (paint.light[i] - 255) * opacity;
    return c;
  }

  // Every pixel is covered as far as its centre lies within the radius of the segment, +- half a
  // pixel.
  void stroke(double x0, double y0, double x1, double y1, double radius, const Colour& c) {
    const double dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;
    const auto low = [](double a, double b, double r) {
      return std::max<std::int64_t>(0, std::lround(std::floor(std::min(a, b) - r - 1)));
    };
    const auto high = [](double a, double b, double r, std::int64_t end) {
      return std::min(end, std::lround(std::ceil(std::max(a, b) + r + 1)));
    };
    for (std::int64_t py = low(y0, y1, radius); py < high(y0, y1, radius, kPixelsY); ++py)
      for (std::int64_t px = low(x0, x1, radius); px < high(x0, x1, radius, kPixelsX); ++px) {
        const double x = static_cast<double>(px) + 0.5 - x0, y = static_cast<double>(py) + 0.5 - y0;
        const double t = square > 0 ? std::clamp((x * dx + y * dy) / square, 0.0, 1.0) : 0;
        blend(px, py, c, std::clamp(radius + 0.5 - std::hypot(x - t * dx, y - t * dy), 0.0, 1.0));
      }
  }
  void fill(std::int64_t x, std::int64_t y, std::int64_t side) {
    for (std::int64_t py = std::max<std::int64_t>(0, y); py < std::min(kPixelsY, y + side); ++py)
      for (std::int64_t px = std::max<std::int64_t>(0, x); px < std::min(kPixelsX, x + side); ++px)
        blend(px, py, on_white(kInk, 1), 1);
  }
  void blend(std::int64_t x, std::int64_t y, const Colour& c, double cover) {
    if (cover <= 0) return;
    double* pixel = pixels_.data() + 3 * (y * kPixelsX + x);
    for (std::size_t i = 0; i < 3; ++i) pixel[i] += (c[i] - pixel[i]) * cover;
  }
  std::vector<double> pixels_ =
      std::vector<double>(static_cast<std::size_t>(3 * kPixelsX * kPixelsY), 255.0);
};

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

template <class Canvas>
void draw(Canvas& canvas, const ScatterFigure& f) {
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

std::string scatter_png(const ScatterFigure& figure) {
  PngCanvas canvas;
  draw(canvas, figure);
  return canvas.finish();
}

}  // namespace wsp::train
