#include "train/eval/svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace wsp::train {
namespace {

std::string hex(const int (&c)[3]) { return fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]); }

// Attributes are the light colours, which every program knows; the style below overrides them on
// dark paper.
std::string stroke(const Paint& p) {
  return fmt::format("class=\"s-{}\" stroke=\"{}\"", p.name, hex(p.light));
}
std::string fill(const Paint& p) {
  return fmt::format("class=\"f-{}\" fill=\"{}\"", p.name, hex(p.light));
}

std::string opacity_of(const char* what, double opacity) {
  return opacity < 1 ? fmt::format(" {}-opacity=\"{:.2g}\"", what, opacity) : "";
}

std::string outline(const Svg::Points& points) {
  std::string d;
  for (const auto& [x, y] : points)
    d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", x, y);
  return d;
}

std::string dark_style() {
  std::string rules;
  std::vector<Paint> all{kInk, kFaint, kGrid, kPaper};
  all.insert(all.end(), std::begin(kSeries), std::end(kSeries));
  for (const Paint& p : all)
    rules += fmt::format(".s-{0}{{stroke:{1}}}.f-{0}{{fill:{1}}}", p.name, hex(p.dark));
  return "<style>@media(prefers-color-scheme:dark){" + rules + "}</style>";
}

}  // namespace

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text)
    safe += c == '<'   ? "&lt;"
            : c == '>' ? "&gt;"
            : c == '&' ? "&amp;"
            : c == '"' ? "&quot;"
                       : std::string(1, c);
  return safe;
}

double nice_step(double range, double count) {
  const double rough = range / count, power = std::pow(10, std::floor(std::log10(rough)));
  for (const double step : {1.0, 2.0, 5.0})
    if (step * power >= rough * (1 - 1e-9)) return step * power;
  return 10 * power;
}

std::string step_label(double value, double step) {
  const int digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  return fmt::format("{:.{}f}", std::abs(value) < step / 1e6 ? 0.0 : value, digits);
}

void Svg::line(double x0, double y0, double x1, double y1, double width, const Paint& paint,
               double opacity) {
  out_ += fmt::format(
      "<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" {} stroke-width=\"{:.2g}\" "
      "stroke-linecap=\"round\"{}/>\n",
      x0, y0, x1, y1, stroke(paint), width, opacity_of("stroke", opacity));
}

void Svg::path(const Points& points, double width, const Paint& paint, bool dashed) {
  out_ += fmt::format(
      "<path d=\"{}\" {} stroke-width=\"{:.2g}\" fill=\"none\" stroke-linejoin=\"round\"{}/>\n",
      outline(points), stroke(paint), width, dashed ? " stroke-dasharray=\"5 4\"" : "");
}

void Svg::area(const Points& points, const Paint& paint, double opacity) {
  out_ += fmt::format("<path d=\"{}Z\" {}{}/>\n", outline(points), fill(paint),
                      opacity_of("fill", opacity));
}

void Svg::box(double x, double y, double width, double height, const Paint& paint, double opacity) {
  out_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" {}{}/>\n",
                      x, y, width, height, fill(paint), opacity_of("fill", opacity));
}

void Svg::disc(double x, double y, double radius, const Paint& paint, double opacity,
               const std::string& tip) {
  const std::string shape = fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.2g}\" {}{}", x,
                                        y, radius, fill(paint), opacity_of("fill", opacity));
  out_ += shape + (tip.empty() ? "/>\n" : "><title>" + escaped(tip) + "</title></circle>\n");
}

void Svg::text(double x, double y, double size, Align align, const std::string& words, bool upright,
               const Paint& paint, bool bold) {
  const char* anchor = align == Align::left ? "start" : align == Align::middle ? "middle" : "end";
  out_ += fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{:.3g}\" text-anchor=\"{}\" {}{}{}>{}</text>\n",
      x, y, size, anchor, fill(paint), bold ? " font-weight=\"bold\"" : "",
      upright ? "" : fmt::format(" transform=\"rotate(-90 {:.1f} {:.1f})\"", x, y), escaped(words));
}

std::string Svg::finish() const {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 "
      "0 {0:.0f} {1:.0f}\" "
      "font-family=\"sans-serif\">\n{2}\n<rect width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "{3}/>\n{4}</svg>\n",
      width_, height_, dark_style(), fill(kPaper), out_);
}

void Panel::draw(Svg& svg, const std::string& title, const std::string& x_label,
                 const std::string& y_label) const {
  const double right = left + width, bottom = top + height;
  const double sx = nice_step(x_high - x_low, width / 80),
               sy = nice_step(y_high - y_low, height / 60);
  for (double v = std::ceil(x_low / sx - 1e-9) * sx; v <= x_high + sx * 1e-9; v += sx) {
    svg.line(x(v), top, x(v), bottom, 1, kGrid);
    svg.text(x(v), bottom + 17, 12, Svg::Align::middle, step_label(v, sx), true, kFaint);
  }
  for (double v = std::ceil(y_low / sy - 1e-9) * sy; v <= y_high + sy * 1e-9; v += sy) {
    svg.line(left, y(v), right, y(v), 1, kGrid);
    svg.text(left - 8, y(v) + 4, 12, Svg::Align::right, step_label(v, sy), true, kFaint);
  }
  svg.text(left, top - 12, 14, Svg::Align::left, title, true, kInk, true);
  svg.text((left + right) / 2, bottom + 36, 12.5, Svg::Align::middle, x_label);
  if (!y_label.empty())
    svg.text(left - 42, (top + bottom) / 2, 12.5, Svg::Align::middle, y_label, false);
}

}  // namespace wsp::train
