#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp::train {

struct ProbeSet;

/// Sums over each subject's slices, computed once: mean and scale of any weighting of the subjects
/// follow from them in O(subjects * dimensions), without a look at the slices.
class SubjectMoments {
 public:
  /// Reads the slices in parallel; the sums do not depend on the number of threads. The set must
  /// outlive this.
  explicit SubjectMoments(const ProbeSet& set);
  /// Mean and scale [dimensions] over the slices, each as often as its subject weighs (weight:
  /// [subjects]), as scikit-learn's StandardScaler: population deviation, 1 for a feature that is
  /// constant but for rounding.
  void standardiser(std::span<const double> weight, std::vector<double>& mean,
                    std::vector<double>& scale) const;

 private:
  // Mean and variance of one feature from the slices themselves.
  [[nodiscard]] double by_slices(std::span<const double> weight, std::int64_t feature,
                                 double& mean) const;
  const ProbeSet& set_;
  std::vector<double> centre_;          ///< [dimensions]: mean of all slices
  std::vector<double> sums_, squares_;  ///< [subjects][dimensions]: of deviations from the centre
};

}  // namespace wsp::train
