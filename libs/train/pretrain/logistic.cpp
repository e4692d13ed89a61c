#include "train/pretrain/logistic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

torch::Tensor features(const torch::Tensor& x) {
  if (x.dim() != 2 || x.size(0) < 1)
    throw Error(ErrorCode::failure, "features must be a matrix with at least one row");
  const torch::Tensor values = x.detach().to(torch::kCPU, torch::kFloat64).contiguous();
  if (!torch::isfinite(values).all().item<bool>())
    throw Error(ErrorCode::failure, "features hold values that are not finite");
  return values;
}

double scalar_product(const torch::Tensor& a, const torch::Tensor& b) {
  return (a * b).sum().item<double>();
}

// The objective over parameters W [outputs, d + 1], the last column the intercepts. One output is a
// sigmoid, more are a softmax.
class Objective {
 public:
  Objective(const torch::Tensor& x, torch::Tensor target, double c)
      : x_(torch::cat({x, torch::ones({x.size(0), 1}, x.options())}, 1)),
        target_(std::move(target)),
        penalty_(torch::ones({1, x.size(1) + 1}, x.options())),
        c_(c) {
    penalty_[0][x.size(1)] = 0;
  }
  [[nodiscard]] torch::Tensor start() const {
    return torch::zeros({target_.size(1), x_.size(1)}, x_.options());
  }
  // Value at w, whose gradient and Hessian products are asked for next.
  double move_to(const torch::Tensor& w) {
    w_ = w;
    const torch::Tensor logits = x_.matmul(w.t());
    torch::Tensor loss;
    if (binary()) {
      p_ = torch::sigmoid(logits);
      loss = torch::softplus(logits, 1, 700) - target_ * logits;
    } else {
      p_ = torch::softmax(logits, 1);
      loss = torch::logsumexp(logits, 1) - (target_ * logits).sum(1);
    }
    return c_ * loss.sum().item<double>() + scalar_product(penalty_ * w, w) / 2;
  }
  [[nodiscard]] torch::Tensor gradient() const {
    return c_ * (p_ - target_).t().matmul(x_) + penalty_ * w_;
  }
  [[nodiscard]] torch::Tensor hessian_times(const torch::Tensor& v) const {
    const torch::Tensor along = x_.matmul(v.t());
    const torch::Tensor curved =
        binary() ? p_ * (1 - p_) * along : p_ * (along - (p_ * along).sum(1, true));
    return c_ * curved.t().matmul(x_) + penalty_ * v;
  }
  // Diagonal of the Hessian, kept away from 0: the preconditioner.
  [[nodiscard]] torch::Tensor hessian_diagonal() const {
    const torch::Tensor d = c_ * (p_ * (1 - p_)).t().matmul(x_.square()) + penalty_;
    return d.clamp_min(1e-12 * std::max(1.0, d.max().item<double>()));
  }

 private:
  [[nodiscard]] bool binary() const { return target_.size(1) == 1; }
  torch::Tensor x_, target_, penalty_, w_, p_;
  double c_;
};

// Newton direction: H s = -g by preconditioned conjugate gradients to the relative residual
// `accuracy`.
torch::Tensor newton_direction(const Objective& objective, const torch::Tensor& g,
                               double accuracy) {
  const torch::Tensor inverse = 1 / objective.hessian_diagonal();
  const double goal = accuracy * accuracy * scalar_product(g, g);
  torch::Tensor s = torch::zeros_like(g);
  torch::Tensor residual = -g;
  torch::Tensor scaled = inverse * residual;
  torch::Tensor direction = scaled;
  double rho = scalar_product(residual, scaled);
  const std::int64_t limit = std::min<std::int64_t>(2 * g.numel(), 2000);
  for (std::int64_t i = 0; i < limit; ++i) {
    const torch::Tensor product = objective.hessian_times(direction);
    const double curvature = scalar_product(direction, product);
    // Only along a shift of all softmax intercepts is there none, and there the gradient is 0.
    if (!(curvature > 0)) break;
    const double step = rho / curvature;
    s = s + step * direction;
    residual = residual - step * product;
    if (scalar_product(residual, residual) <= goal) break;
    scaled = inverse * residual;
    const double next = scalar_product(residual, scaled);
    direction = scaled + (next / rho) * direction;
    rho = next;
  }
  return s;
}

struct Solution {
  torch::Tensor w;
  double gradient;
  int iterations;
};

Solution minimise(Objective objective, const LogisticOptions& options) {
  const double tolerance = options.gradient_tolerance * std::max(1.0, options.c);
  torch::Tensor w = objective.start();
  double value = objective.move_to(w);
  torch::Tensor g = objective.gradient();
  double largest = g.abs().max().item<double>();
  int iteration = 0;
  for (; largest > tolerance && iteration < options.max_iterations; ++iteration) {
    const double norm = std::sqrt(scalar_product(g, g));
    const torch::Tensor s = newton_direction(objective, g, std::min(0.1, std::sqrt(norm)));
    const double slope = scalar_product(g, s);
    bool moved = false;
    for (double step = 1; step > 1e-10 && !moved; step /= 2) {
      const torch::Tensor trial = w + step * s;
      const double trial_value = objective.move_to(trial);
      const torch::Tensor trial_g = objective.gradient();
      // Near the optimum the value no longer changes within rounding, but the gradient still falls.
      const double rounding = 1e-12 * (1 + std::abs(value));
      if (trial_value <= value + 1e-4 * step * slope ||
          (trial_value <= value + rounding && scalar_product(trial_g, trial_g) < norm * norm)) {
        w = trial;
        value = trial_value;
        g = trial_g;
        moved = true;
      }
    }
    if (!moved) break;
    largest = g.abs().max().item<double>();
  }
  if (!(largest <= tolerance))
    throw Error(
        ErrorCode::failure,
        fmt::format("logistic regression: gradient {:.1e} after {} steps, wanted {:.1e}; are "
                    "the features standardised?",
                    largest, iteration, tolerance));
  return {w, largest, iteration};
}

}  // namespace

Standardiser Standardiser::fit(const torch::Tensor& x) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor values = features(x);
  const auto n = static_cast<double>(values.size(0));
  const torch::Tensor mean = values.mean(0);
  const torch::Tensor variance = (values - mean).square().mean(0);
  // What rounding alone can leave of a constant.
  constexpr double eps = std::numeric_limits<double>::epsilon();
  const torch::Tensor bound = n * eps * variance + (n * eps * mean).square();
  return {mean, torch::where(variance <= bound, torch::ones_like(variance), variance.sqrt())};
}

torch::Tensor Standardiser::apply(const torch::Tensor& x) const {
  const torch::NoGradGuard no_grad;
  return (x.detach().to(torch::kCPU, torch::kFloat64) - mean) / scale;
}

torch::Tensor LogisticModel::probabilities(const torch::Tensor& x) const {
  const torch::NoGradGuard no_grad;
  const torch::Tensor logits =
      x.detach().to(torch::kCPU, torch::kFloat64).matmul(coefficients.t()) + intercepts;
  if (classes.size() > 2) return torch::softmax(logits, 1);
  return torch::cat({torch::sigmoid(-logits), torch::sigmoid(logits)}, 1);
}

LogisticModel fit_logistic(const torch::Tensor& x, const std::vector<std::int64_t>& label,
                           const LogisticOptions& options) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor values = features(x);
  if (static_cast<std::int64_t>(label.size()) != values.size(0))
    throw Error(ErrorCode::failure,
                fmt::format("{} labels for {} rows of features", label.size(), values.size(0)));
  if (!(options.c > 0)) throw Error(ErrorCode::usage, "the C of a logistic regression must be > 0");
  LogisticModel model;
  model.classes = label;
  std::sort(model.classes.begin(), model.classes.end());
  model.classes.erase(std::unique(model.classes.begin(), model.classes.end()), model.classes.end());
  const auto classes = static_cast<std::int64_t>(model.classes.size());
  if (classes < 2)
    throw Error(ErrorCode::failure,
                fmt::format("a logistic regression needs two classes, found only "
                            "label {}",
                            model.classes.front()));
  const std::int64_t outputs = classes == 2 ? 1 : classes;
  torch::Tensor target = torch::zeros({values.size(0), outputs}, torch::kFloat64);
  auto cell = target.accessor<double, 2>();
  for (std::size_t i = 0; i < label.size(); ++i) {
    const auto at = std::lower_bound(model.classes.begin(), model.classes.end(), label[i]) -
                    model.classes.begin();
    const auto row = static_cast<std::int64_t>(i);
    if (outputs > 1)
      cell[row][at] = 1;
    else
      cell[row][0] = static_cast<double>(at);
  }
  const Solution solution = minimise(Objective(values, target, options.c), options);
  const std::int64_t d = values.size(1);
  model.coefficients = solution.w.slice(1, 0, d).contiguous();
  model.intercepts = solution.w.select(1, d).contiguous();
  // Softmax does not feel a shift of all intercepts: of all solutions the one whose intercepts sum
  // to 0.
  if (outputs > 1) model.intercepts = model.intercepts - model.intercepts.mean();
  model.gradient = solution.gradient;
  model.iterations = solution.iterations;
  return model;
}

}  // namespace wsp::train
