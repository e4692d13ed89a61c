#include "train/eval/plots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "train/eval/svg.hpp"
#include "train/stats/curves.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;
using Align = Svg::Align;

constexpr double kPanelWidth = 360, kPanelHeight = 270, kColumns[2] = {78, 538},
                 kTops[2] = {100, 500};

double number(const json& v) { return v.is_number() ? v.get<double>() : std::nan(""); }

// Of every subject, in the first repeat.
struct Scores {
  std::vector<double> probability;
  std::vector<std::uint8_t> positive;
};

Scores scores_of(const json& result) {
  Scores s;
  for (const json& p : result.at("predictions")) {
    s.probability.push_back(number(p.at("probability").at(0)));
    s.positive.push_back(p.at("truth").get<int>() != 0 ? 1 : 0);
  }
  return s;
}

// A short line of one colour and what it means.
void legend(Svg& svg, double x, double y, const Paint& paint, const std::string& words,
            bool dashed = false) {
  svg.path({{x, y - 4}, {x + 20, y - 4}}, 2, paint, dashed);
  svg.text(x + 27, y, 12, Align::left, words);
}

void draw_roc(Svg& svg, const json& result, const Panel& panel) {
  panel.draw(svg, "ROC of the pooled test scores", "1 - specificity", "sensitivity");
  svg.path({{panel.x(0), panel.y(0)}, {panel.x(1), panel.y(1)}}, 1, kFaint, true);
  if (!result.contains("roc")) return;
  const json& roc = result["roc"];
  const auto rate = [](std::size_t k) { return static_cast<double>(k) / kRocSteps; };
  Svg::Points band, curve;
  // A step: the sensitivity holds up to the next rate.
  const auto step = [&](Svg::Points& points, std::size_t k, double v) {
    if (!points.empty()) points.emplace_back(panel.x(rate(k)), points.back().second);
    points.emplace_back(panel.x(rate(k)), panel.y(v));
  };
  const json &sensitivity = roc.at("sensitivity"), &low = roc.at("low"), &high = roc.at("high");
  for (std::size_t k = 0; k < low.size(); ++k) step(band, k, number(low[k]));
  Svg::Points upper;
  for (std::size_t k = 0; k < high.size(); ++k) step(upper, k, number(high[k]));
  band.insert(band.end(), upper.rbegin(), upper.rend());
  if (!band.empty()) svg.area(band, kSeries[0], 0.16);
  curve.emplace_back(panel.x(0), panel.y(0));
  for (std::size_t k = 0; k < sensitivity.size(); ++k) step(curve, k, number(sensitivity[k]));
  svg.path(curve, 2, kSeries[0]);
  const char* names[] = {"youden", "at_sensitivity"};
  for (std::size_t i = 0; i < 2; ++i)
    if (result.contains("operating_points")) {
      const json& p = result["operating_points"].at(names[i]);
      svg.disc(panel.x(1 - number(p.at("specificity"))), panel.y(number(p.at("sensitivity"))), 5,
               kSeries[i + 1], 1, names[i]);
    }
  const double x = panel.left + 100, y = panel.top + panel.height - 62;
  const json& interval = result.at("intervals").at("auc");
  svg.text(
      x, y, 12, Align::left,
      fmt::format("AUC, mean over folds {:.2f}{}", number(result.at("auc").at("mean")),
                  interval.at(0).is_number()
                      ? fmt::format(" [{:.2f}, {:.2f}]", number(interval[0]), number(interval[1]))
                      : ""));
  const bool fixed = !result.at("intervals").at("refitted").get<bool>();
  svg.text(x, y + 16, 12, Align::left,
           low.empty() ? "no band: too few subjects"
           : fixed     ? "band, 95 % of fixed scores: too narrow"
                       : "band: 95 %, point by point");
  if (!result.contains("operating_points")) return;
  svg.disc(x + 5, y + 28, 5, kSeries[1]);
  svg.text(x + 15, y + 32, 12, Align::left, "Youden's index");
  svg.disc(x + 5, y + 44, 5, kSeries[2]);
  svg.text(x + 15, y + 48, 12, Align::left,
           fmt::format("sensitivity of {:.2f} or more",
                       number(result["operating_points"].at("stated_sensitivity"))));
}

void draw_calibration(Svg& svg, const Scores& s, const json& result, const Panel& panel) {
  panel.draw(svg, "Calibration, and how many stand behind it", "", "part that is positive");
  svg.path({{panel.x(0), panel.y(0)}, {panel.x(1), panel.y(1)}}, 1, kFaint, true);
  struct Bin {
    double count = 0, predicted = 0, positives = 0;
  };
  std::array<Bin, 10> bins{};
  for (std::size_t i = 0; i < s.probability.size(); ++i) {
    Bin& bin = bins[static_cast<std::size_t>(std::clamp(s.probability[i] * 10, 0.0, 9.0))];
    bin.count += 1;
    bin.predicted += s.probability[i];
    bin.positives += s.positive[i];
  }
  const double bottom = panel.top + panel.height;
  const char* rows[] = {"subjects", "positive"};
  for (int r = 0; r < 2; ++r)
    svg.text(panel.left - 8, bottom + 36 + 16 * r, 11, Align::right, rows[r], true, kFaint);
  for (std::size_t b = 0; b < bins.size(); ++b) {
    const Bin& bin = bins[b];
    const double middle = panel.x(0.1 * static_cast<double>(b) + 0.05);
    svg.text(middle, bottom + 36, 11, Align::middle, fmt::format("{:.0f}", bin.count));
    svg.text(middle, bottom + 52, 11, Align::middle, fmt::format("{:.0f}", bin.positives));
    if (bin.count == 0) continue;
    const double x = panel.x(bin.predicted / bin.count), part = bin.positives / bin.count;
    const Interval i = wilson_interval(bin.positives, bin.count);
    svg.line(x, panel.y(i.low), x, panel.y(i.high), 1.5, kSeries[0], 0.6);
    svg.disc(x, panel.y(part), 4.5, kSeries[0], 1,
             fmt::format("{:.0f} of {:.0f} are positive, {:.2f} predicted", bin.positives,
                         bin.count, bin.predicted / bin.count));
  }
  svg.text((panel.left + panel.left + panel.width) / 2, bottom + 72, 12.5, Align::middle,
           "predicted probability, in tenths (lines: 95 %, Wilson)");
  if (result.contains("calibration") && result["calibration"].at("slope").is_number())
    svg.text(
        panel.left + 8, panel.top + 18, 12, Align::left,
        fmt::format("slope {:.2f}, in the large {:+.2f}", number(result["calibration"]["slope"]),
                    number(result["calibration"].at("in_the_large"))));
}

void draw_decision(Svg& svg, const Scores& s, Panel panel) {
  const auto n = static_cast<double>(s.positive.size());
  const double prevalence =
      static_cast<double>(std::count(s.positive.begin(), s.positive.end(), 1)) / n;
  panel.y_high = std::max(0.05, prevalence * 1.12);
  panel.y_low = -0.25 * panel.y_high;
  panel.draw(svg, "Decision curve", "threshold: the probability from which one would act",
             "net benefit per subject");
  // What lies below the paper is not drawn.
  const auto draw = [&](const std::function<double(double)>& benefit, double width,
                        const Paint& paint, bool dashed) {
    Svg::Points points;
    for (int k = 1; k <= 100; ++k) {
      const double t = k / 100.0, value = k < 100 ? benefit(t) : panel.y_low - 1;
      if (value >= panel.y_low) {
        points.emplace_back(panel.x(t), panel.y(value));
        continue;
      }
      if (points.size() > 1) svg.path(points, width, paint, dashed);
      points.clear();
    }
  };
  draw([&](double t) { return prevalence - (1 - prevalence) * t / (1 - t); }, 1.5, kFaint, true);
  svg.path({{panel.x(0), panel.y(0)}, {panel.x(1), panel.y(0)}}, 1.5, kFaint);
  draw([&](double t) { return net_benefit(s.probability, s.positive, t); }, 2, kSeries[0], false);
  const double x = panel.left + panel.width - 150;
  legend(svg, x, panel.top + 18, kSeries[0], "by the probe");
  legend(svg, x, panel.top + 35, kFaint, "act on all", true);
  legend(svg, x, panel.top + 52, kFaint, "act on none");
}

// Counts of one threshold, shaded by their part of the true class.
void draw_confusion(Svg& svg, const json& point, double left, double top,
                    const std::string& title) {
  constexpr double kBox = 92, kHigh = 44;
  svg.text(left, top, 13, Align::left, title, true, kInk, true);
  const char* called[] = {"called positive", "called negative"};
  for (int c = 0; c < 2; ++c)
    svg.text(left + 66 + kBox * c + kBox / 2, top + 17, 10.5, Align::middle, called[c], true,
             kFaint);
  const char* counts[2][2] = {{"true_positive", "false_negative"},
                              {"false_positive", "true_negative"}};
  for (int r = 0; r < 2; ++r) {
    const double y = top + 24 + kHigh * r;
    const double all = number(point.at(counts[r][0])) + number(point.at(counts[r][1]));
    svg.text(left + 60, y + kHigh / 2 + 4, 11, Align::right, r == 0 ? "positive" : "negative", true,
             kFaint);
    for (int c = 0; c < 2; ++c) {
      const double count = number(point.at(counts[r][c]));
      svg.box(left + 66 + kBox * c, y, kBox - 2, kHigh - 2, r == c ? kSeries[0] : kSeries[1],
              all > 0 ? 0.06 + 0.34 * count / all : 0.06);
      svg.text(left + 66 + kBox * c + kBox / 2, y + kHigh / 2 + 5, 15, Align::middle,
               fmt::format("{:.0f}", count));
    }
  }
  const auto part = [&](const char* what, const char* right, const char* wrong, double y) {
    const double k = number(point.at(right)), n = k + number(point.at(wrong));
    const Interval i = wilson_interval(k, n);
    svg.text(left + 262, y, 12, Align::left, what);
    svg.text(left + 262, y + 15, 12, Align::left,
             fmt::format("{:.2f} [{:.2f}, {:.2f}]", n > 0 ? k / n : std::nan(""), i.low, i.high));
  };
  part("sensitivity", "true_positive", "false_negative", top + 37);
  part("specificity", "true_negative", "false_positive", top + 81);
}

void draw_points(Svg& svg, const json& result, const Panel& panel) {
  if (!result.contains("operating_points")) return;
  const json& points = result["operating_points"];
  const double left = panel.left - 40;
  draw_confusion(svg, points.at("youden"), left, panel.top - 12,
                 fmt::format("Who is called what: Youden's index, from {:.2f}",
                             number(points["youden"].at("threshold"))));
  draw_confusion(svg, points.at("at_sensitivity"), left, panel.top + 136,
                 fmt::format("Sensitivity of {:.2f} or more: from {:.2f}",
                             number(points.at("stated_sensitivity")),
                             number(points["at_sensitivity"].at("threshold"))));
  svg.text(left, panel.top + 276, 11, Align::left,
           "The thresholds were chosen on these very subjects: read both as upper ends.", true,
           kFaint);
  svg.text(left, panel.top + 291, 11, Align::left,
           "Intervals are Wilson's, of these thresholds as they are.", true, kFaint);
}

}  // namespace

std::string diagnostics_svg(const json& result, const std::string& title) {
  const Scores s = scores_of(result);
  Svg svg(940, 850);
  svg.text(24, 30, 17, Align::left, title, true, kInk, true);
  const auto positives = std::count(s.positive.begin(), s.positive.end(), 1);
  svg.text(
      24, 50, 12.5, Align::left,
      fmt::format(
          "{} subjects, {} of them positive; each scored while it stood in the test part{}",
          s.positive.size(), positives,
          result.value("repeats", 1) > 1 ? " (ROC: mean of all repeats; all else: the first)" : ""),
      true, kFaint);
  const auto panel = [](int row, int column) {
    return Panel{kColumns[column], kTops[row], kPanelWidth, kPanelHeight, 0, 1, 0, 1};
  };
  draw_roc(svg, result, panel(0, 0));
  draw_calibration(svg, s, result, panel(0, 1));
  draw_decision(svg, s, panel(1, 0));
  draw_points(svg, result, panel(1, 1));
  return svg.finish();
}

std::string forest_svg(const std::vector<ForestRow>& rows, double middle, const std::string& title,
                       const std::string& subtitle, const std::string& axis) {
  constexpr double kRow = 26, kWidth = 400, kTop = 74;
  std::size_t longest = 24;
  for (const ForestRow& r : rows) longest = std::max(longest, r.label.size());
  const double left = 30 + 7.6 * static_cast<double>(longest);  // of 13 pixel letters
  double reach = 0.05;
  for (const ForestRow& r : rows)
    for (const double v : {r.value, r.interval.low, r.interval.high})
      if (std::isfinite(v)) reach = std::max(reach, std::abs(v - middle) * 1.08);
  const double height = kRow * static_cast<double>(rows.size());
  const Panel panel{left, kTop, kWidth, height, middle - reach, middle + reach, 0, 1};
  Svg svg(left + kWidth + 250, kTop + height + 56);
  svg.text(16, 28, 16, Align::left, title, true, kInk, true);
  svg.text(16, 48, 12, Align::left, subtitle, true, kFaint);
  const double step = nice_step(2 * reach, 5);
  for (double v = std::ceil(panel.x_low / step) * step; v <= panel.x_high; v += step) {
    svg.line(panel.x(v), kTop, panel.x(v), kTop + height, 1, kGrid);
    svg.text(panel.x(v), kTop + height + 17, 12, Align::middle, step_label(v, step), true, kFaint);
  }
  svg.line(panel.x(middle), kTop - 4, panel.x(middle), kTop + height, 1.5, kFaint);
  svg.text(left + kWidth / 2, kTop + height + 38, 12.5, Align::middle, axis);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ForestRow& r = rows[i];
    const double y = kTop + kRow * (static_cast<double>(i) + 0.5);
    svg.text(left - 14, y + 4, 13, Align::right, r.label);
    svg.text(left + kWidth + 14, y + 4, 12.5, Align::left, r.text, true, r.faint ? kFaint : kInk);
    if (!std::isfinite(r.value)) continue;
    const Paint& paint = r.faint ? kFaint : kSeries[0];
    if (std::isfinite(r.interval.low))
      svg.line(panel.x(r.interval.low), y, panel.x(r.interval.high), y, 2, paint);
    svg.disc(panel.x(r.value), y, 5, paint, 1, r.label + " " + r.text);
  }
  return svg.finish();
}

}  // namespace wsp::train
