#include "train/eval/binary_logistic.hpp"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <optional>

#include "io/core/error.hpp"
#include "train/kernels/vector_clones.hpp"

namespace wsp::train {
namespace {

constexpr std::size_t kMemory = 30;  // pairs that L-BFGS keeps
constexpr int kMostEvaluations = 3000;
constexpr int kRefresh = 15, kMostRefreshes = 3;  // passes before the Hessian is looked at again
constexpr std::int64_t kGroup = 4;  // rows that one pass over the coefficients serves

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Features of a network are float32; where all of a set are, they are kept so, which halves the memory
// that a pass reads. Sums are float64 either way. (target_clones knows no templates: hence overloads.)
// z[r] += x[r] . v for up to 4 rows of d features.
template <class T>
__attribute__((always_inline)) inline void products_of(const T* x, std::int64_t rows, std::int64_t d, const double* v, double* z) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * d;
    double lanes[16] = {};
    std::int64_t j = 0;
    for (; j + 16 <= d; j += 16)
#pragma GCC unroll 16
      for (std::int64_t l = 0; l < 16; ++l) lanes[l] += static_cast<double>(row[j + l]) * v[j + l];
    for (; j < d; ++j) lanes[j % 16] += static_cast<double>(row[j]) * v[j];
    for (const double lane : lanes) z[r] += lane;
  }
}

WSP_VECTOR_CLONES("avx2", "default")
void products(const float* x, std::int64_t rows, std::int64_t d, const double* v, double* z) {
  products_of(x, rows, d, v, z);
}
WSP_VECTOR_CLONES("avx2", "default")
void products(const double* x, std::int64_t rows, std::int64_t d, const double* v, double* z) {
  products_of(x, rows, d, v, z);
}

// g += sum over 4 rows of r[k] * x[k].
template <class T>
__attribute__((always_inline)) inline void add_rows_of(const T* x, std::int64_t d, const double* r,
                                                       double* g) {
  const T *x0 = x, *x1 = x + d, *x2 = x + 2 * d, *x3 = x + 3 * d;
  const double r0 = r[0], r1 = r[1], r2 = r[2], r3 = r[3];
  for (std::int64_t j = 0; j < d; ++j)
    g[j] += r0 * static_cast<double>(x0[j]) + r1 * static_cast<double>(x1[j]) +
            (r2 * static_cast<double>(x2[j]) + r3 * static_cast<double>(x3[j]));
}
WSP_VECTOR_CLONES("avx2", "default")
void add_rows(const float* x, std::int64_t d, const double* r, double* g) { add_rows_of(x, d, r, g); }
WSP_VECTOR_CLONES("avx2", "default")
void add_rows(const double* x, std::int64_t d, const double* r, double* g) {
  add_rows_of(x, d, r, g);
}

WSP_VECTOR_CLONES("avx2", "default")
void add_scaled(const double* x, double r, std::int64_t d, double* g) {
  for (std::int64_t j = 0; j < d; ++j) g[j] += r * x[j];
}

WSP_VECTOR_CLONES("avx2", "default")
void add_squares(const double* x, const double* mean, double w, std::int64_t d, double* sums) {
  for (std::int64_t j = 0; j < d; ++j) sums[j] += w * ((x[j] - mean[j]) * (x[j] - mean[j]));
}

// Mean and scale over the rows, each as often as its subject weighs; like StandardScaler.
void standardiser(const ProbeSet& set, std::span<const double> weight, std::vector<double>& mean,
                  std::vector<double>& scale) {
  const std::int64_t d = set.dimensions;
  std::vector<double> sum(at(d)), centre(at(d));
  double n = 0;
  const auto each_row = [&](auto&& visit) {
    for (std::int64_t s = 0; s < set.subjects(); ++s)
      if (weight[at(s)] > 0)
        for (std::int64_t r = set.first[at(s)]; r < set.first[at(s) + 1]; ++r)
          visit(set.x.data() + r * d, weight[at(s)]);
  };
  each_row([&](const double* x, double w) {
    n += w;
    add_scaled(x, w, d, sum.data());
  });
  for (double& m : sum) m /= n;
  mean = sum;
  std::vector<double> squares(at(d));
  each_row([&](const double* x, double w) {
    add_squares(x, mean.data(), w, d, squares.data());
  });
  // What rounding alone can leave of a constant is no scale.
  constexpr double eps = std::numeric_limits<double>::epsilon();
  scale.assign(at(d), 1);
  for (std::int64_t j = 0; j < d; ++j) {
    const double variance = squares[at(j)] / n, noise = n * eps * mean[at(j)];
    if (variance > n * eps * variance + noise * noise) scale[at(j)] = std::sqrt(variance);
  }
}

double log1p_exp(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }
double sigmoid(double z) {
  const double e = std::exp(-std::abs(z));
  return z >= 0 ? 1 / (1 + e) : e / (1 + e);
}

// Value and gradient at parameters w [d + 1], the last the intercept. The features are standardised
// on the way: x [n][d] stays as it is in memory.
template <class T>
class Objective {
 public:
  Objective(const ProbeSet& set, const T* features, std::span<const double> weight,
            std::span<const std::uint8_t> positive, double c, const BinaryModel& model)
      : set_(set), x_(features), weight_(weight), positive_(positive), c_(c), model_(model) {}

  double operator()(const std::vector<double>& w, std::vector<double>& gradient) {
    const std::int64_t d = set_.dimensions;
    direction_.resize(at(d));
    double offset = w[at(d)];
    for (std::int64_t j = 0; j < d; ++j) {
      direction_[at(j)] = w[at(j)] / model_.scale[at(j)];
      offset -= direction_[at(j)] * model_.mean[at(j)];
    }
    raw_.assign(at(d), 0);
    double loss = 0, residuals = 0;
    for (std::int64_t s = 0; s < set_.subjects(); ++s) {
      if (!(weight_[at(s)] > 0)) continue;
      const double y = positive_[at(s)] != 0 ? 1 : 0;
      for (std::int64_t r = set_.first[at(s)]; r < set_.first[at(s) + 1]; r += kGroup) {
        const std::int64_t rows = std::min(kGroup, set_.first[at(s) + 1] - r);
        const T* x = x_ + r * d;
        double z[kGroup] = {offset, offset, offset, offset}, residual[kGroup];
        products(x, rows, d, direction_.data(), z);
        for (std::int64_t k = 0; k < rows; ++k) {
          loss += weight_[at(s)] * (log1p_exp(z[k]) - y * z[k]);
          residual[k] = weight_[at(s)] * (sigmoid(z[k]) - y);
          residuals += residual[k];
        }
        if (rows == kGroup)
          add_rows(x, d, residual, raw_.data());
        else
          for (std::int64_t k = 0; k < rows; ++k)
            for (std::int64_t j = 0; j < d; ++j)
              raw_[at(j)] += residual[k] * static_cast<double>(x[k * d + j]);
      }
    }
    double penalty = 0;
    gradient.resize(at(d) + 1);
    for (std::int64_t j = 0; j < d; ++j) {
      penalty += w[at(j)] * w[at(j)];
      gradient[at(j)] =
          c_ * (raw_[at(j)] - model_.mean[at(j)] * residuals) / model_.scale[at(j)] + w[at(j)];
    }
    gradient[at(d)] = c_ * residuals;
    return c_ * loss + penalty / 2;
  }

 private:
  const ProbeSet& set_;
  const T* x_;
  std::span<const double> weight_;
  std::span<const std::uint8_t> positive_;
  double c_;
  const BinaryModel& model_;
  std::vector<double> direction_, raw_;
};

double largest_of(const std::vector<double>& g) {
  double m = 0;
  for (const double v : g) m = std::isfinite(v) ? std::max(m, std::abs(v)) : v * v;
  return m;
}

struct Pair {
  std::vector<double> step, change;
  double inverse_curvature;
};

// A Hessian without the terms between coefficients and intercept.
struct Preconditioner {
  dense::Cholesky coefficients;
  double intercept;
  void apply(std::vector<double>& v) const {
    coefficients.solve(std::span(v).first(v.size() - 1));
    v.back() /= intercept;
  }
};

// At a model under fit. float32 does for what only precedes the solution.
Preconditioner hessian_at(const ProbeSet& set, std::span<const double> weight, double c,
                          const BinaryModel& model) {
  const std::int64_t d = set.dimensions;
  std::vector<double> direction(at(d)), inverse(at(d));
  double offset = model.intercept, intercept = 0;
  for (std::int64_t j = 0; j < d; ++j) {
    inverse[at(j)] = 1 / model.scale[at(j)];
    direction[at(j)] = model.coefficients[at(j)] * inverse[at(j)];
    offset -= direction[at(j)] * model.mean[at(j)];
  }
  std::vector<float> rows(at(set.rows() * d));
  std::int64_t used = 0;
  for (std::int64_t s = 0; s < set.subjects(); ++s) {
    if (!(weight[at(s)] > 0)) continue;
    for (std::int64_t r = set.first[at(s)]; r < set.first[at(s) + 1]; ++r, ++used) {
      const double* x = set.x.data() + r * d;
      double logit = offset;
      products(x, 1, d, direction.data(), &logit);
      const double p = sigmoid(logit), curvature = c * weight[at(s)] * p * (1 - p);
      intercept += curvature;
      const double root = std::sqrt(curvature);
      float* row = rows.data() + used * d;
      for (std::int64_t j = 0; j < d; ++j)
        row[j] = static_cast<float>(root * inverse[at(j)] * (x[j] - model.mean[at(j)]));
    }
  }
  std::vector<double> hessian = dense::gram(std::span<const float>(rows).first(at(used * d)), used, d);
  for (std::int64_t j = 0; j < d; ++j) hessian[at(j * d + j)] += 1;
  return {dense::Cholesky(std::move(hessian), d), std::max(intercept, 1e-12)};
}

}  // namespace

struct LogisticFits::Prepared {
  double c;
  Preconditioner at_zero;
};

double BinaryModel::probability(std::span<const double> x) const {
  double z = intercept;
  for (std::size_t j = 0; j < x.size(); ++j) z += coefficients[j] * ((x[j] - mean[j]) / scale[j]);
  return sigmoid(z);
}

LogisticFits::LogisticFits(const ProbeSet& set, double tolerance)
    : set_(set), tolerance_(tolerance) {
  if (set.rows() < 1 || set.dimensions < 1)
    throw Error(ErrorCode::failure, "a probe needs at least one slice with one feature");
  for (const double v : set.x)
    if (!std::isfinite(v))
      throw Error(ErrorCode::failure, "features hold values that are not finite: embed again, and "
                                      "look at the encoder's training loss");
  if (std::all_of(set.x.begin(), set.x.end(),
                  [](double v) { return static_cast<double>(static_cast<float>(v)) == v; }))
    narrow_.assign(set.x.begin(), set.x.end());
  const std::vector<double> all(at(set.subjects()), 1.0);
  standardiser(set, all, mean_, scale_);
  // Slices of a subject are alike: every few of them show the Hessian's shape at 0 well enough.
  const std::int64_t d = set.dimensions, n = set.rows();
  const std::int64_t stride = std::max<std::int64_t>(1, n / std::max<std::int64_t>(2048, 3 * d));
  std::vector<float> z;
  std::int64_t used = 0;
  for (std::int64_t r = 0; r < n; r += stride, ++used)
    for (std::int64_t j = 0; j < d; ++j)
      z.push_back(static_cast<float>((set.x[at(r * d + j)] - mean_[at(j)]) / scale_[at(j)]));
  gram_ = dense::gram(std::span<const float>(z), used, d);
  for (double& v : gram_) v *= static_cast<double>(n) / static_cast<double>(used);
}

LogisticFits::~LogisticFits() = default;

void LogisticFits::prepare(double c) {
  if (!(c > 0) || !std::isfinite(c))
    throw Error(ErrorCode::usage, fmt::format("C is {}: expected a number above 0", c));
  for (const auto& known : prepared_)
    if (known->c == c) return;
  const std::int64_t d = set_.dimensions;
  std::vector<double> hessian(gram_.size());
  for (std::size_t i = 0; i < gram_.size(); ++i) hessian[i] = gram_[i] * c / 4;
  for (std::int64_t j = 0; j < d; ++j) hessian[at(j * d + j)] += 1;
  prepared_.push_back(std::make_unique<Prepared>(
      Prepared{c, {dense::Cholesky(std::move(hessian), d), c * static_cast<double>(set_.rows()) / 4}}));
}

BinaryModel LogisticFits::fit(double c, std::span<const double> weight,
                              std::span<const std::uint8_t> positive,
                              const BinaryModel* start) const {
  const std::int64_t d = set_.dimensions;
  const auto prepared = std::find_if(prepared_.begin(), prepared_.end(),
                                     [&](const auto& p) { return p->c == c; });
  if (prepared == prepared_.end()) throw Error(ErrorCode::failure, "a fit was not prepared");
  double count[2] = {0, 0};
  for (std::int64_t s = 0; s < set_.subjects(); ++s)
    count[positive[at(s)] != 0 ? 1 : 0] += weight[at(s)];
  if (!(count[0] > 0 && count[1] > 0))
    throw Error(ErrorCode::failure,
                fmt::format("a logistic regression needs both classes among its subjects: found {} "
                            "negative and {} positive",
                            count[0], count[1]));
  BinaryModel model;
  standardiser(set_, weight, model.mean, model.scale);
  Objective<float> narrow(set_, narrow_.data(), weight, positive, c, model);
  Objective<double> wide(set_, set_.x.data(), weight, positive, c, model);
  const auto objective = [&](const std::vector<double>& point, std::vector<double>& gradient) {
    return narrow_.empty() ? wide(point, gradient) : narrow(point, gradient);
  };

  std::vector<double> w(at(d) + 1), g, trial(w.size()), trial_g, s(w.size());
  if (start != nullptr) {
    std::copy(start->coefficients.begin(), start->coefficients.end(), w.begin());
    w.back() = start->intercept;
  } else {
    w.back() = std::log(count[1] / count[0]);
  }
  const double tolerance = tolerance_ * std::max(1.0, c);
  double value = objective(w, g);
  int evaluations = 1;
  std::deque<Pair> memory;
  double gamma = 1;
  std::optional<Preconditioner> nearer;
  const auto precondition = [&](std::vector<double>& v) {
    (nearer ? *nearer : (*prepared)->at_zero).apply(v);
  };
  int refresh_at = kRefresh, refreshes = 0;
  double largest = largest_of(g);
  while (largest > tolerance && evaluations < kMostEvaluations) {
    // 0. Where it takes long, the Hessian at 0 says too little of the one here.
    if (evaluations >= refresh_at && refreshes < kMostRefreshes && largest > 1e2 * tolerance) {
      model.coefficients.assign(w.begin(), w.end() - 1);
      model.intercept = w.back();
      nearer.emplace(hessian_at(set_, weight, c, model));
      memory.clear();
      gamma = 1;
      ++refreshes;
      refresh_at = evaluations + 2 * kRefresh;
    }
    // 1. Direction: the two loops of L-BFGS around the Hessian at 0.
    for (std::size_t j = 0; j < s.size(); ++j) s[j] = -g[j];
    std::vector<double> alpha(memory.size());
    for (std::size_t k = memory.size(); k-- > 0;) {
      alpha[k] = memory[k].inverse_curvature * dense::dot(memory[k].step, s);
      add_scaled(memory[k].change.data(), -alpha[k], d + 1, s.data());
    }
    precondition(s);
    for (double& v : s) v *= gamma;
    for (std::size_t k = 0; k < memory.size(); ++k) {
      const double beta = memory[k].inverse_curvature * dense::dot(memory[k].change, s);
      add_scaled(memory[k].step.data(), alpha[k] - beta, d + 1, s.data());
    }
    const double slope = dense::dot(g, s);
    // 2. Step: 1 where it goes down, else by the secant of the slopes. Near the optimum the value no
    // longer changes within rounding, but the slope still tells.
    bool moved = false;
    double low = 0, high = 0, low_slope = slope;
    double t = 1;
    for (int attempt = 0; attempt < 40 && !moved && slope < 0; ++attempt) {
      for (std::size_t j = 0; j < w.size(); ++j) trial[j] = w[j] + t * s[j];
      const double trial_value = objective(trial, trial_g);
      ++evaluations;
      const double trial_slope = dense::dot(trial_g, s);
      const double rounding = 1e-13 * (1 + std::abs(value));
      const bool down = trial_value <= value + 1e-4 * t * slope ||
                        (trial_value <= value + rounding && trial_slope <= -0.9 * slope);
      if (down && trial_slope >= 0.9 * slope) {
        moved = true;
        value = trial_value;
      } else if (down && trial_slope < 0) {  // not far enough
        low = t;
        low_slope = trial_slope;
        t = high > 0 ? (low + high) / 2 : 2 * t;
      } else {
        high = t;
        const double secant = low + (high - low) * low_slope / (low_slope - trial_slope);
        t = std::isfinite(secant) ? std::clamp(secant, low + 0.1 * (high - low), low + 0.9 * (high - low))
                                  : (low + high) / 2;
      }
    }
    if (!moved) {
      if (memory.empty()) break;
      memory.clear();  // start the curvature anew
      continue;
    }
    Pair pair{std::vector<double>(w.size()), std::vector<double>(w.size()), 0};
    for (std::size_t j = 0; j < w.size(); ++j) {
      pair.step[j] = trial[j] - w[j];
      pair.change[j] = trial_g[j] - g[j];
    }
    const double curvature = dense::dot(pair.step, pair.change);
    w.swap(trial);
    g.swap(trial_g);
    largest = largest_of(g);
    if (!(curvature > 0)) continue;
    pair.inverse_curvature = 1 / curvature;
    // How much flatter it is here than at 0, along the last step.
    std::vector<double> image = pair.change;
    precondition(image);
    gamma = curvature / dense::dot(pair.change, image);
    memory.push_back(std::move(pair));
    if (memory.size() > kMemory) memory.pop_front();
  }
  // What rounding leaves of a gradient that is a sum over all slices.
  const double reachable = std::max(tolerance, 1e-12 * c * (count[0] + count[1]) * static_cast<double>(set_.rows()));
  if (!(largest <= reachable))
    throw Error(ErrorCode::failure,
                fmt::format("logistic regression: gradient {:.1e} after {} passes, wanted {:.1e}; try "
                            "a smaller C",
                            largest, evaluations, tolerance));
  model.intercept = w.back();
  w.pop_back();
  model.coefficients = std::move(w);
  model.gradient = largest;
  model.evaluations = evaluations;
  return model;
}

std::vector<double> subject_probabilities(const ProbeSet& set, const BinaryModel& model) {
  std::vector<double> result(at(set.subjects()));
  const std::int64_t d = set.dimensions;
  std::vector<double> direction(at(d));
  double offset = model.intercept;
  for (std::int64_t j = 0; j < d; ++j) {
    direction[at(j)] = model.coefficients[at(j)] / model.scale[at(j)];
    offset -= direction[at(j)] * model.mean[at(j)];
  }
  for (std::int64_t s = 0; s < set.subjects(); ++s) {
    double sum = 0;
    for (std::int64_t r = set.first[at(s)]; r < set.first[at(s) + 1]; ++r)
      sum += sigmoid(offset + dense::dot(std::span(set.x).subspan(at(r * d), at(d)), direction));
    result[at(s)] = sum / static_cast<double>(set.first[at(s) + 1] - set.first[at(s)]);
  }
  return result;
}

}  // namespace wsp::train
