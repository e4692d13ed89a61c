#include "preprocess/report/depth_audit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/hash.hpp"
#include "preprocess/report/numbers.hpp"

namespace wsp::qa {
namespace {

constexpr std::size_t kFeatures = 11, kTargets = 3, kFolds = 10;
using Features = std::array<double, kFeatures>;

// What is seen in one slice, free of the patient's size.
Features features_of(const CaseFacts& f, std::size_t k, double body_median, double liver_max) {
  const double body = std::max(f.body_mm2[k], 1.0);
  const double lung = f.lung_mm2[k] / body, bone = f.bone_mm2[k] / body;
  const double liver = liver_max > 0 ? f.liver_mm2[k] / liver_max : 0;
  const double size = body_median > 0 ? body / body_median : 1;
  return {1,     lung,          std::sqrt(lung), lung * lung,  bone,        size,
          liver, liver * liver, lung * liver,    size * liver, bone * liver};
}

// Normal equations of one fold, all targets at once.
struct Gram {
  std::array<std::array<double, kFeatures>, kFeatures> xx{};
  std::array<std::array<double, kTargets>, kFeatures> xy{};
  double n = 0;
  void add(const Features& x, const std::array<double, kTargets>& y) {
    for (std::size_t i = 0; i < kFeatures; ++i) {
      for (std::size_t j = 0; j < kFeatures; ++j) xx[i][j] += x[i] * x[j];
      for (std::size_t t = 0; t < kTargets; ++t) xy[i][t] += x[i] * y[t];
    }
    ++n;
  }
  void subtract(const Gram& other) {
    for (std::size_t i = 0; i < kFeatures; ++i) {
      for (std::size_t j = 0; j < kFeatures; ++j) xx[i][j] -= other.xx[i][j];
      for (std::size_t t = 0; t < kTargets; ++t) xy[i][t] -= other.xy[i][t];
    }
    n -= other.n;
  }
};
using Weights = std::array<std::array<double, kTargets>, kFeatures>;

// Ridge: Gauss-Jordan on a positive definite matrix needs no pivoting.
Weights solve(Gram g) {
  for (std::size_t i = 0; i < kFeatures; ++i) g.xx[i][i] += 1e-4 * std::max(1.0, g.n);
  for (std::size_t i = 0; i < kFeatures; ++i) {
    const double pivot = g.xx[i][i];
    for (std::size_t r = 0; r < kFeatures; ++r) {
      if (r == i) continue;
      const double factor = g.xx[r][i] / pivot;
      for (std::size_t j = i; j < kFeatures; ++j) g.xx[r][j] -= factor * g.xx[i][j];
      for (std::size_t t = 0; t < kTargets; ++t) g.xy[r][t] -= factor * g.xy[i][t];
    }
  }
  Weights w{};
  for (std::size_t i = 0; i < kFeatures; ++i)
    for (std::size_t t = 0; t < kTargets; ++t) w[i][t] = g.xy[i][t] / g.xx[i][i];
  return w;
}

std::array<double, kTargets> predict(const Weights& w, const Features& x) {
  std::array<double, kTargets> y{};
  for (std::size_t i = 0; i < kFeatures; ++i)
    for (std::size_t t = 0; t < kTargets; ++t) y[t] += w[i][t] * x[i];
  return y;
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

struct Sums {
  double n = 0, residual = 0, y = 0, yy = 0;
  void add(double predicted, double stated) {
    ++n;
    residual += (predicted - stated) * (predicted - stated);
    y += stated;
    yy += stated * stated;
  }
  [[nodiscard]] double r2() const {
    const double variance = yy - y * y / std::max(n, 1.0);
    return n > 1 && variance > 0 ? 1 - residual / variance : 0;
  }
  [[nodiscard]] double rmse() const { return n > 0 ? std::sqrt(residual / n) : 0; }
};

struct Slice {
  Features x;
  std::array<double, kTargets> y;
};

std::size_t fold_of(const std::string& subject) {
  return static_cast<std::size_t>(sha256(subject)[0]) % kFolds;
}

// The kept slices of a case; the index has its depths, the profile what is seen.
std::vector<Slice> kept_slices(const DatasetReader& reader, std::size_t c, const CaseFacts& f) {
  const IndexCase& entry = reader.cases()[c];
  const double body = median_of(f.body_mm2);
  const double liver = *std::max_element(f.liver_mm2.begin(), f.liver_mm2.end());
  std::vector<Slice> slices;
  for (std::int64_t s = 0; s < entry.slice_count; ++s) {
    const IndexRow& row = reader.slices()[static_cast<std::size_t>(entry.first_slice + s)];
    const auto k = static_cast<std::size_t>(f.kept_first + s);
    if (k >= f.z_mm.size()) break;
    slices.push_back(
        {features_of(f, k, body, liver), {row.depth_kept, row.depth_liver, row.depth_volume}});
  }
  return slices;
}

// Correlation and error of depth_liver over the kept slices, from a fold that has not seen the
// case.
CaseDepth judge_case(const std::vector<Slice>& slices, const Weights& w) {
  CaseDepth result;
  result.judged = !slices.empty();
  double n = 0, sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0, residual = 0;
  for (const Slice& s : slices) {
    const double x = predict(w, s.x)[kDepthLiver], y = s.y[kDepthLiver];
    ++n;
    sx += x;
    sy += y;
    sxx += x * x;
    syy += y * y;
    sxy += x * y;
    residual += (x - y) * (x - y);
  }
  if (n == 0) return result;
  const double vx = sxx - sx * sx / n, vy = syy - sy * sy / n;
  result.correlation = vx > 0 && vy > 0 ? (sxy - sx * sy / n) / std::sqrt(vx * vy) : 0;
  result.rmse = std::sqrt(residual / n);
  return result;
}

// Which convention: the one that the anatomy explains best; kept, the trainer's default, unless
// another is clearly better.
void recommend(DepthAudit& audit) {
  constexpr double kClear = 0.02;
  if (!audit.judged) {
    audit.recommended = audit.scan_range_cv > 0.15 ? "depth_liver" : "depth_kept";
    audit.reason = fmt::format(
        "too few cases for a regression; scan ranges vary by {:.0f} % of their mean, so "
        "depth_volume {}",
        100 * audit.scan_range_cv,
        audit.scan_range_cv > 0.15 ? "would put the same anatomy at different depths"
                                   : "would not differ much either");
    return;
  }
  std::size_t best = kDepthKept;
  for (const std::size_t d : {std::size_t{kDepthLiver}, std::size_t{kDepthVolume}})
    if (audit.r2[d] > audit.r2[best] + kClear) best = d;
  audit.recommended = kDepthNames[best];
  audit.reason = fmt::format(
      "what is seen in a slice explains {:.0f} % of the variance of depth_kept, {:.0f} % of "
      "depth_liver and {:.0f} % of depth_volume; scan ranges vary by {:.0f} % of their mean",
      100 * audit.r2[0], 100 * audit.r2[1], 100 * audit.r2[2], 100 * audit.scan_range_cv);
}

}  // namespace

DepthAudit audit_depth(const DatasetReader& reader, const std::vector<CaseFacts>& cases) {
  DepthAudit audit;
  audit.cases.resize(cases.size());
  std::vector<double> ranges, shapes;
  std::set<std::string> subjects;
  std::size_t learnt = 0;
  for (std::size_t c = 0; c < cases.size(); ++c) {
    const CaseFacts& f = cases[c];
    ranges.push_back(f.scan_range_mm);
    const double area = *std::max_element(f.liver_mm2.begin(), f.liver_mm2.end());
    audit.cases[c].shape = area > 0 ? f.liver_height_mm / std::sqrt(area) : 0;
    if (!depth_is_trusted(f.flags)) continue;
    shapes.push_back(audit.cases[c].shape);
    subjects.insert(f.subject);
    ++learnt;
  }
  const Summary range = summarise(ranges);
  audit.scan_range_cv = range.mean > 0 ? range.sd / range.mean : 0;
  audit.shape_median = median_of(shapes);
  audit.judged =
      learnt >= DepthAudit::kFewestCases && subjects.size() >= DepthAudit::kFewestSubjects;
  if (audit.judged) {
    std::array<Gram, kFolds> folds;
    Gram all;
    std::vector<std::vector<Slice>> slices(cases.size());
    std::size_t total = 0;
    for (std::size_t c = 0; c < cases.size(); ++c) {
      slices[c] = kept_slices(reader, c, cases[c]);
      if (!depth_is_trusted(cases[c].flags)) continue;
      total += slices[c].size();
      for (const Slice& s : slices[c]) {
        folds[fold_of(cases[c].subject)].add(s.x, s.y);
        all.add(s.x, s.y);
      }
    }
    std::array<Weights, kFolds> weights;
    for (std::size_t fold = 0; fold < kFolds; ++fold) {
      Gram rest = all;
      rest.subtract(folds[fold]);
      weights[fold] = solve(rest);
    }
    std::array<Sums, kTargets> sums;
    const std::size_t every = std::max<std::size_t>(1, total / DepthAudit::kPoints);
    std::size_t seen = 0;
    for (std::size_t c = 0; c < cases.size(); ++c) {
      const Weights& w = weights[fold_of(cases[c].subject)];
      const double shape = audit.cases[c].shape;
      audit.cases[c] = judge_case(slices[c], w);
      audit.cases[c].shape = shape;
      for (const Slice& s : slices[c]) {
        const auto predicted = predict(w, s.x);
        if (depth_is_trusted(cases[c].flags))
          for (std::size_t t = 0; t < kTargets; ++t) sums[t].add(predicted[t], s.y[t]);
        if (seen++ % every != 0) continue;
        DepthAudit::Point point{c, {}, {}};
        for (std::size_t t = 0; t < kTargets; ++t) {
          point.stated[t] = static_cast<float>(s.y[t]);
          point.predicted[t] = static_cast<float>(predicted[t]);
        }
        audit.points.push_back(point);
      }
    }
    for (std::size_t t = 0; t < kTargets; ++t) {
      audit.r2[t] = sums[t].r2();
      audit.rmse[t] = sums[t].rmse();
    }
  }
  recommend(audit);
  return audit;
}

nlohmann::json to_json(const DepthAudit& audit) {
  nlohmann::json j{{"regression", audit.judged},
                   {"scan_range_cv", rounded(audit.scan_range_cv, 4)},
                   {"recommended", audit.recommended},
                   {"reason", audit.reason},
                   {"shape_median", rounded(audit.shape_median, 4)}};
  if (audit.judged)
    for (std::size_t t = 0; t < kTargets; ++t)
      j["conventions"][kDepthNames[t]] = {{"r2", rounded(audit.r2[t], 4)},
                                          {"rmse", rounded(audit.rmse[t], 4)}};
  return j;
}

}  // namespace wsp::qa
