#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "train/stats/binary_logistic.hpp"

namespace wsp::train {

/// One weighted and standardised logistic regression on a set: minimise C * sum_i weight_i *
/// log-loss_i + |coefficients|^2 / 2, the intercept free.
struct LogisticProblem {
  double c;
  std::span<const double> weight;          ///< [subjects]: how often each slice of a subject counts
  std::span<const std::uint8_t> positive;  ///< [subjects]
  std::vector<double> mean, scale;         ///< [dimensions]: of the standardiser
};

/// Where a problem's value and gradient are wanted, and what they are there.
struct LogisticPoint {
  const LogisticProblem* problem;
  const std::vector<double>* at;  ///< [dimensions + 1], the last the intercept
  double value = 0;
  std::vector<double> gradient{};  ///< [dimensions + 1]
};

/// Values and gradients of several problems in one reading of the features, which memory bounds.
/// The features are standardised on the way: they stay as they are in memory. Results depend
/// neither on the number of threads nor on what else is evaluated with them.
class LogisticPass {
 public:
  /// narrow: the features as float32 where that loses nothing (halves what is read), else empty.
  /// Both must outlive this.
  LogisticPass(const ProbeSet& set, std::span<const float> narrow);
  void operator()(std::span<LogisticPoint> points) const;

 private:
  struct Block;
  struct Sums;
  void add(const Block& block, std::span<const LogisticPoint> points,
           std::span<const double> directions, std::span<Sums> sums) const;
  static void add_tile(const double* x, std::int64_t rows, std::int64_t d, const double* direction,
                       double weight, double y, Sums& sums);
  const ProbeSet& set_;
  std::span<const float> narrow_;
};

/// Probability of logit z, without overflow.
double logistic(double z);

}  // namespace wsp::train
