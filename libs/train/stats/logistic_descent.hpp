#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "train/stats/dense.hpp"

namespace wsp::train {

/// A Hessian of a logistic regression without the terms between coefficients and intercept,
/// factored.
struct LogisticHessian {
  dense::Cholesky coefficients;
  double intercept;
  /// v [dimensions + 1] := inverse Hessian times v.
  void solve(std::vector<double>& v) const;
};

/// L-BFGS around a Hessian, as a procedure that asks: evaluate the objective at next() and give()
/// the result, until ended(). Several can so share one pass over the data.
class LogisticDescent {
 public:
  struct Options {
    double tolerance;                ///< largest element of the gradient at the end
    const LogisticHessian* at_zero;  ///< shared by all fits with this C
    /// The Hessian at parameters [dimensions + 1]: asked for where the descent takes long; or none.
    std::function<LogisticHessian(const std::vector<double>&)> hessian_at{};
  };
  /// start: [dimensions + 1], the last the intercept.
  LogisticDescent(std::vector<double> start, Options options);
  [[nodiscard]] bool ended() const { return ended_; }
  /// Where value and gradient are wanted.
  [[nodiscard]] const std::vector<double>& next() const { return trial_; }
  void give(double value, std::vector<double> gradient);

  [[nodiscard]] const std::vector<double>& parameters() const { return w_; }
  [[nodiscard]] double gradient() const { return largest_; }  ///< its largest element
  [[nodiscard]] int evaluations() const { return evaluations_; }

 private:
  struct Pair {
    std::vector<double> step, change, image;  // image: of the change, by the inverse Hessian
    double inverse_curvature;
  };
  void begin_step();
  void look_at(double t);
  void accept(double value, std::vector<double> gradient);
  void direct();
  [[nodiscard]] std::vector<double> solved(std::vector<double> v) const;

  Options options_;
  std::vector<double> w_, g_, image_, s_, trial_;  // image_: of the gradient; s_: direction
  double value_ = 0, largest_ = 0, gamma_ = 1, slope_ = 0;
  double t_ = 1, low_ = 0, high_ = 0, low_slope_ = 0;  // of the line search
  int attempts_ = 0, evaluations_ = 0, refreshes_ = 0, refresh_at_;
  bool ended_ = false;
  std::deque<Pair> memory_;
  std::unique_ptr<LogisticHessian> nearer_;
};

}  // namespace wsp::train
