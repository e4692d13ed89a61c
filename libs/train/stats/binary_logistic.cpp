#include "train/stats/binary_logistic.hpp"

#include <fmt/format.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "train/stats/logistic_descent.hpp"
#include "train/stats/logistic_pass.hpp"

namespace wsp::train {
namespace {

constexpr std::size_t kTogether =
    8;  // fits that share their passes: each keeps two matrices of its own

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// The features as float32 where that loses nothing, else nothing. Throws Error(failure) for one not
// finite.
std::vector<float> checked_and_narrowed(const ProbeSet& set) {
  std::vector<float> narrow(set.x.size());
  std::atomic<bool> finite = true, exact = true;
  const std::size_t step = 1 << 16, n = set.x.size();
  wsp::parallel_loop(std::size_t{0}, (n + step - 1) / step, [&](std::size_t block) {
    bool all_finite = true, all_exact = true;
    for (std::size_t i = block * step; i < std::min(n, (block + 1) * step); ++i) {
      narrow[i] = static_cast<float>(set.x[i]);
      all_finite &= std::isfinite(set.x[i]);
      all_exact &= static_cast<double>(narrow[i]) == set.x[i];
    }
    if (!all_finite) finite = false;
    if (!all_exact) exact = false;
  });
  if (!finite)
    throw Error(ErrorCode::failure,
                "features hold values that are not finite: embed again, and "
                "look at the encoder's training loss");
  if (!exact) narrow = {};
  return narrow;
}

// The Hessian at parameters w. float32 does for what only precedes the solution.
LogisticHessian hessian_at(const ProbeSet& set, const LogisticProblem& problem,
                           const std::vector<double>& w) {
  const std::int64_t d = set.dimensions;
  std::vector<std::int64_t> rows;
  std::vector<double> weights;
  for (std::int64_t s = 0; s < set.subjects(); ++s)
    for (std::int64_t r = set.first[at(s)]; r < set.first[at(s) + 1] && problem.weight[at(s)] > 0;
         ++r) {
      rows.push_back(r);
      weights.push_back(problem.weight[at(s)]);
    }
  std::vector<double> direction(at(d)), inverse(at(d));
  for (std::int64_t j = 0; j < d; ++j) {
    inverse[at(j)] = 1 / problem.scale[at(j)];
    direction[at(j)] = w[at(j)] * inverse[at(j)];
  }
  std::vector<float> scaled(rows.size() * at(d));
  std::vector<double> hessian;
  tbb::this_task_arena::isolate([&] {
    wsp::parallel_loop(std::size_t{0}, rows.size(), [&](std::size_t i) {
      const auto x = std::span(set.x).subspan(at(rows[i] * d), at(d));
      const double p = logistic(w[at(d)] + dense::centred_dot(x, problem.mean, direction));
      weights[i] *= problem.c * p * (1 - p);  // now the curvature
      const double root = std::sqrt(weights[i]);
      float* row = scaled.data() + i * at(d);
      for (std::size_t j = 0; j < at(d); ++j)
        row[j] = static_cast<float>(root * inverse[j] * (x[j] - problem.mean[j]));
    });
    hessian =
        dense::gram(std::span<const float>(scaled), static_cast<std::int64_t>(rows.size()), d);
  });
  double intercept = 0;
  for (const double curvature : weights) intercept += curvature;
  for (std::int64_t j = 0; j < d; ++j) hessian[at(j * d + j)] += 1;
  return {dense::Cholesky(std::move(hessian), d), std::max(intercept, 1e-12)};
}

}  // namespace

struct LogisticFits::Prepared {
  double c;
  LogisticHessian at_zero;
};

double BinaryModel::probability(std::span<const double> x) const {
  double z = intercept;
  for (std::size_t j = 0; j < x.size(); ++j) z += coefficients[j] * ((x[j] - mean[j]) / scale[j]);
  return logistic(z);
}

LogisticFits::LogisticFits(const ProbeSet& set, double tolerance)
    : set_(&set), tolerance_(tolerance) {
  if (set.rows() < 1 || set.dimensions < 1)
    throw Error(ErrorCode::failure, "a probe needs at least one slice with one feature");
  narrow_ = checked_and_narrowed(set);
  moments_.emplace(set);
  std::vector<double> mean, scale;
  const std::vector<double> all(at(set.subjects()), 1.0);
  moments_->standardiser(all, mean, scale);
  if (centre(mean, scale)) moments_->standardiser(all, mean, scale);
  // Slices of a subject are alike: every few of them show the Hessian's shape at 0 well enough.
  const std::int64_t d = set.dimensions, n = set.rows();
  const std::int64_t stride = std::max<std::int64_t>(1, n / std::max<std::int64_t>(2048, 3 * d));
  const std::int64_t used = (n + stride - 1) / stride;
  std::vector<float> z(at(used * d));
  wsp::parallel_loop(std::int64_t{0}, used, [&](std::int64_t row) {
    const double* x = set_->x.data() + row * stride * d;
    for (std::int64_t j = 0; j < d; ++j)
      z[at(row * d + j)] = static_cast<float>((x[j] - mean[at(j)]) / scale[at(j)]);
  });
  gram_ = dense::gram(std::span<const float>(z), used, d);
  for (double& v : gram_) v *= static_cast<double>(n) / static_cast<double>(used);
}

LogisticFits::~LogisticFits() = default;

// A feature that lies far from 0 and hardly varies would lose its digits in sums that subtract the
// mean afterwards: such a one is moved to 0 first. The centre is a float, so that the difference of
// two floats near each other is one too, without rounding.
bool LogisticFits::centre(const std::vector<double>& mean, const std::vector<double>& scale) {
  constexpr double kFar = 64;
  const std::int64_t d = set_->dimensions;
  centre_.assign(at(d), 0);
  bool any = false;
  for (std::int64_t j = 0; j < d; ++j)
    if (std::abs(mean[at(j)]) > kFar * scale[at(j)]) {
      centre_[at(j)] = static_cast<float>(mean[at(j)]);
      any = true;
    }
  if (!any) return false;
  centred_ = *set_;
  set_ = &centred_;
  for (std::int64_t r = 0; r < centred_.rows(); ++r)
    for (std::int64_t j = 0; j < d; ++j) centred_.x[at(r * d + j)] -= centre_[at(j)];
  narrow_ = checked_and_narrowed(centred_);
  moments_.emplace(centred_);
  return true;
}

void LogisticFits::prepare(double c) {
  if (!(c > 0) || !std::isfinite(c))
    throw Error(ErrorCode::usage, fmt::format("C is {}: expected a number above 0", c));
  for (const auto& known : prepared_)
    if (known->c == c) return;
  const std::int64_t d = set_->dimensions;
  std::vector<double> hessian(gram_.size());
  for (std::size_t i = 0; i < gram_.size(); ++i) hessian[i] = gram_[i] * c / 4;
  for (std::int64_t j = 0; j < d; ++j) hessian[at(j * d + j)] += 1;
  prepared_.push_back(std::make_unique<Prepared>(Prepared{
      c, {dense::Cholesky(std::move(hessian), d), c * static_cast<double>(set_->rows()) / 4}}));
}

BinaryModel LogisticFits::fit(double c, std::span<const double> weight,
                              std::span<const std::uint8_t> positive,
                              const BinaryModel* start) const {
  const LogisticRequest request{c, weight, positive, start};
  return std::move(fit_all(std::span(&request, 1)).front());
}

std::vector<BinaryModel> LogisticFits::fit_all(std::span<const LogisticRequest> requests) const {
  std::vector<BinaryModel> models(requests.size());
  wsp::parallel_loop(
      std::size_t{0}, (requests.size() + kTogether - 1) / kTogether, [&](std::size_t group) {
        const std::size_t first = group * kTogether;
        std::vector<BinaryModel> some =
            fit_together(requests.subspan(first, std::min(kTogether, requests.size() - first)));
        std::move(some.begin(), some.end(), models.begin() + static_cast<std::ptrdiff_t>(first));
      });
  return models;
}

struct LogisticFits::Running {
  LogisticProblem problem;
  LogisticDescent descent;
  double tolerance, slices;

  Running(const ProbeSet& set, LogisticProblem of, std::vector<double> start, double tolerance_,
          const LogisticHessian& at_zero, double slices_)
      : problem(std::move(of)),
        descent(std::move(start), {tolerance_, &at_zero,
                                   [this, &set](const std::vector<double>& w) {
                                     return hessian_at(set, problem, w);
                                   }}),
        tolerance(tolerance_),
        slices(slices_) {}
};

std::unique_ptr<LogisticFits::Running> LogisticFits::begin(const LogisticRequest& request) const {
  const std::int64_t d = set_->dimensions;
  const auto prepared = std::find_if(prepared_.begin(), prepared_.end(),
                                     [&](const auto& p) { return p->c == request.c; });
  if (prepared == prepared_.end()) throw Error(ErrorCode::failure, "a fit was not prepared");
  double count[2] = {0, 0};
  for (std::int64_t s = 0; s < set_->subjects(); ++s)
    count[request.positive[at(s)] != 0 ? 1 : 0] += request.weight[at(s)];
  if (!(count[0] > 0 && count[1] > 0))
    throw Error(ErrorCode::failure,
                fmt::format("a logistic regression needs both classes among its subjects: found {} "
                            "negative and {} positive",
                            count[0], count[1]));
  LogisticProblem problem{request.c, request.weight, request.positive, {}, {}};
  moments_->standardiser(request.weight, problem.mean, problem.scale);
  std::vector<double> w(at(d) + 1);
  if (request.start != nullptr) {
    std::copy(request.start->coefficients.begin(), request.start->coefficients.end(), w.begin());
    w.back() = request.start->intercept;
  } else {
    w.back() = std::log(count[1] / count[0]);
  }
  // What rounding leaves of a gradient: a sum over all slices, and of features that are far from 0
  // in this part, in which the logits are rounded too, times their coefficients.
  double far = 0;
  for (std::int64_t j = 0; j < d; ++j)
    far = std::max(far, std::abs(problem.mean[at(j)]) / problem.scale[at(j)]);
  constexpr double eps = std::numeric_limits<double>::epsilon(), kCoefficients = 8;
  const double slices = (count[0] + count[1]) * static_cast<double>(set_->rows()) /
                        static_cast<double>(set_->subjects());
  const double tolerance = std::max(tolerance_ * std::max(1.0, request.c),
                                    kCoefficients * eps * request.c * slices * far);
  return std::make_unique<Running>(*set_, std::move(problem), std::move(w), tolerance,
                                   (*prepared)->at_zero, slices);
}

std::vector<BinaryModel> LogisticFits::fit_together(
    std::span<const LogisticRequest> requests) const {
  std::vector<std::unique_ptr<Running>> runs;
  for (const LogisticRequest& request : requests) runs.push_back(begin(request));
  const LogisticPass pass(*set_, narrow_);
  while (true) {
    std::vector<LogisticPoint> points;
    std::vector<LogisticDescent*> asking;
    for (const auto& run : runs) {
      if (run->descent.ended()) continue;
      points.push_back({&run->problem, &run->descent.next()});
      asking.push_back(&run->descent);
    }
    if (points.empty()) break;
    pass(points);
    tbb::this_task_arena::isolate([&] {
      wsp::parallel_loop(std::size_t{0}, asking.size(), [&](std::size_t i) {
        asking[i]->give(points[i].value, std::move(points[i].gradient));
      });
    });
  }
  std::vector<BinaryModel> models;
  for (const auto& run : runs) {
    const LogisticDescent& descent = run->descent;
    if (!(descent.gradient() <= std::max(run->tolerance, 1e-10 * run->problem.c * run->slices)))
      throw Error(
          ErrorCode::failure,
          fmt::format("logistic regression: gradient {:.1e} after {} passes, wanted {:.1e}; try "
                      "a smaller C",
                      descent.gradient(), descent.evaluations(), run->tolerance));
    BinaryModel model;
    model.coefficients = descent.parameters();
    model.intercept = model.coefficients.back();
    model.coefficients.pop_back();
    model.mean = std::move(run->problem.mean);
    model.scale = std::move(run->problem.scale);
    for (std::size_t j = 0; j < model.mean.size(); ++j) model.mean[j] += centre_[j];
    model.gradient = descent.gradient();
    model.evaluations = descent.evaluations();
    models.push_back(std::move(model));
  }
  return models;
}

std::vector<double> subject_probabilities(const ProbeSet& set, const BinaryModel& model) {
  std::vector<double> result(at(set.subjects()));
  const std::int64_t d = set.dimensions;
  std::vector<double> direction(at(d));
  for (std::int64_t j = 0; j < d; ++j)
    direction[at(j)] = model.coefficients[at(j)] / model.scale[at(j)];
  for (std::int64_t s = 0; s < set.subjects(); ++s) {
    double sum = 0;
    for (std::int64_t r = set.first[at(s)]; r < set.first[at(s) + 1]; ++r)
      sum +=
          logistic(model.intercept + dense::centred_dot(std::span(set.x).subspan(at(r * d), at(d)),
                                                        model.mean, direction));
    result[at(s)] = sum / static_cast<double>(set.first[at(s) + 1] - set.first[at(s)]);
  }
  return result;
}

}  // namespace wsp::train
