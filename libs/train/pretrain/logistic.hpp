#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace wsp::train {

/// Shift and scale of features, as scikit-learn's StandardScaler computes them: biased variance; a
/// constant feature is only shifted.
struct Standardiser {
  torch::Tensor mean, scale;  ///< [d] float64
  /// x: [n, d], n at least 1. Throws Error(failure) where a feature is not finite.
  static Standardiser fit(const torch::Tensor& x);
  /// Returns [m, d] float64.
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& x) const;
};

struct LogisticOptions {
  double c = 1.0;                    ///< inverse strength of the L2 penalty, scikit-learn's C
  double gradient_tolerance = 1e-8;  ///< on the largest element of the gradient, times max(1, c)
  int max_iterations = 100;          ///< Newton steps
};

/// An L2-regularised logistic regression.
struct LogisticModel {
  std::vector<std::int64_t> classes;  ///< the labels, ascending; at least two
  torch::Tensor coefficients;         ///< [1, d] for two classes, else [classes, d]; float64
  torch::Tensor intercepts;           ///< [1], of the second class's logit, or [classes], sum 0
  double gradient = 0;                ///< largest element of the gradient at the solution
  int iterations = 0;                 ///< Newton steps taken
  /// Probabilities [m, classes] for x [m, d]; float64.
  [[nodiscard]] torch::Tensor probabilities(const torch::Tensor& x) const;
};

/// Minimise c * sum_i log-loss_i + |coefficients|^2 / 2, the intercept free: scikit-learn's
/// objective with penalty l2; softmax over more than two classes. x: [n, d], any real type, used as
/// it is (standardise first); label: [n]. Truncated Newton (conjugate gradients on Hessian
/// products) with line search, in float64 on the CPU: memory O(n d), no d x d matrix. Reaches the
/// optimum of a strictly convex problem whatever the start. Throws Error(failure) for fewer than
/// two classes, features that are not finite, or where the tolerance is not reached.
LogisticModel fit_logistic(const torch::Tensor& x, const std::vector<std::int64_t>& label,
                           const LogisticOptions& options = {});

}  // namespace wsp::train
