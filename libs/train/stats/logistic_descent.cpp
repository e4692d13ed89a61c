#include "train/stats/logistic_descent.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace wsp::train {
namespace {

constexpr std::size_t kMemory = 30;  // pairs that L-BFGS keeps
constexpr int kMostEvaluations = 3000, kMostAttempts = 40;
constexpr int kRefresh = 15, kMostRefreshes = 3;  // passes before the Hessian is looked at again

void add_scaled(const std::vector<double>& x, double r, std::vector<double>& g) {
  for (std::size_t j = 0; j < g.size(); ++j) g[j] += r * x[j];
}

double largest_of(const std::vector<double>& g) {
  double m = 0;
  for (const double v : g) m = std::isfinite(v) ? std::max(m, std::abs(v)) : v * v;
  return m;
}

}  // namespace

void LogisticHessian::solve(std::vector<double>& v) const {
  coefficients.solve(std::span(v).first(v.size() - 1));
  v.back() /= intercept;
}

LogisticDescent::LogisticDescent(std::vector<double> start, Options options)
    : options_(std::move(options)), w_(std::move(start)), trial_(w_), refresh_at_(kRefresh) {}

std::vector<double> LogisticDescent::solved(std::vector<double> v) const {
  (nearer_ ? *nearer_ : *options_.at_zero).solve(v);
  return v;
}

void LogisticDescent::give(double value, std::vector<double> gradient) {
  if (++evaluations_ == 1) {
    value_ = value;
    g_ = std::move(gradient);
    image_ = solved(g_);
    largest_ = largest_of(g_);
    return begin_step();
  }
  // A step of 1 where it goes down, else by the secant of the slopes. Near the optimum the value no
  // longer changes within rounding, but the slope still tells.
  const double trial_slope = dense::dot(gradient, s_);
  const double rounding = 1e-13 * (1 + std::abs(value_));
  const bool down = value <= value_ + 1e-4 * t_ * slope_ ||
                    (value <= value_ + rounding && trial_slope <= -0.9 * slope_);
  if (down && trial_slope >= 0.9 * slope_) {
    accept(value, std::move(gradient));
    return begin_step();
  }
  double t;
  if (down && trial_slope < 0) {  // not far enough
    low_ = t_;
    low_slope_ = trial_slope;
    t = high_ > 0 ? (low_ + high_) / 2 : 2 * t_;
  } else {
    high_ = t_;
    const double width = high_ - low_,
                 secant = low_ + width * low_slope_ / (low_slope_ - trial_slope);
    t = std::isfinite(secant) ? std::clamp(secant, low_ + 0.1 * width, low_ + 0.9 * width)
                              : low_ + width / 2;
  }
  if (++attempts_ < kMostAttempts) return look_at(t);
  if (memory_.empty()) {
    ended_ = true;
    return;
  }
  memory_.clear();  // start the curvature anew
  begin_step();
}

void LogisticDescent::accept(double value, std::vector<double> gradient) {
  Pair pair{std::vector<double>(w_.size()), std::vector<double>(w_.size()), solved(gradient), 0};
  for (std::size_t j = 0; j < w_.size(); ++j) {
    pair.step[j] = trial_[j] - w_[j];
    pair.change[j] = gradient[j] - g_[j];
    std::swap(pair.image[j], image_[j]);
    pair.image[j] = image_[j] - pair.image[j];
  }
  w_ = trial_;
  g_ = std::move(gradient);
  value_ = value;
  largest_ = largest_of(g_);
  const double curvature = dense::dot(pair.step, pair.change);
  if (!(curvature > 0)) return;
  pair.inverse_curvature = 1 / curvature;
  gamma_ = curvature /
           dense::dot(pair.change, pair.image);  // how much flatter it is here, along the last step
  memory_.push_back(std::move(pair));
  if (memory_.size() > kMemory) memory_.pop_front();
}

void LogisticDescent::begin_step() {
  if (!(largest_ > options_.tolerance) || evaluations_ >= kMostEvaluations) {
    ended_ = true;
    return;
  }
  // Where it takes long, the Hessian at 0 says too little of the one here.
  if (options_.hessian_at && evaluations_ >= refresh_at_ && refreshes_ < kMostRefreshes &&
      largest_ > 1e2 * options_.tolerance) {
    nearer_ = std::make_unique<LogisticHessian>(options_.hessian_at(w_));
    image_ = solved(g_);
    memory_.clear();
    gamma_ = 1;
    ++refreshes_;
    refresh_at_ = evaluations_ + 2 * kRefresh;
  }
  direct();
  if (!(slope_ < 0) && !memory_.empty()) {
    memory_.clear();
    direct();
  }
  if (!(slope_ < 0)) {
    ended_ = true;
    return;
  }
  low_ = high_ = 0;
  low_slope_ = slope_;
  attempts_ = 0;
  look_at(1);
}

// The two loops of L-BFGS around the Hessian, whose images of the gradient and of every change are
// at hand.
void LogisticDescent::direct() {
  std::vector<double> rest(g_.size());
  s_.resize(g_.size());
  for (std::size_t j = 0; j < g_.size(); ++j) {
    rest[j] = -g_[j];
    s_[j] = -gamma_ * image_[j];
  }
  std::vector<double> alpha(memory_.size());
  for (std::size_t k = memory_.size(); k-- > 0;) {
    alpha[k] = memory_[k].inverse_curvature * dense::dot(memory_[k].step, rest);
    add_scaled(memory_[k].change, -alpha[k], rest);
    add_scaled(memory_[k].image, -gamma_ * alpha[k], s_);
  }
  for (std::size_t k = 0; k < memory_.size(); ++k) {
    const double beta = memory_[k].inverse_curvature * dense::dot(memory_[k].change, s_);
    add_scaled(memory_[k].step, alpha[k] - beta, s_);
  }
  slope_ = dense::dot(g_, s_);
}

void LogisticDescent::look_at(double t) {
  t_ = t;
  for (std::size_t j = 0; j < w_.size(); ++j) trial_[j] = w_[j] + t * s_[j];
}

}  // namespace wsp::train
