#pragma once
#include <cmath>

#include "train/kernels/contrastive.hpp"
#include "train/kernels/host_device.hpp"

namespace wsp::train {

/// True where slices a and b agree in all that must be equal: label and discrete columns, none
/// unknown. An equivalence among the slices for which candidates(p, a, a) holds; the others match
/// nothing.
template <class T>
WSP_HOST_DEVICE inline bool candidates(const ContrastiveProblem<T>& p, std::int64_t a,
                                       std::int64_t b) {
  if (p.own_view_only) return false;
  if (p.label_matters && (p.label == nullptr || p.label[a] != p.label[b] || p.label[a] == -1))
    return false;
  for (std::int64_t c = 0; c < p.discrete_columns; ++c) {
    const std::int64_t* column = p.discrete + c * p.n;
    if (column[a] != column[b] || column[a] == -1) return false;
  }
  return true;
}

/// What the sum over the 2n anchors is multiplied with; see Normalisation.
template <class T>
inline double loss_scale(const ContrastiveProblem<T>& p) {
  const bool supcon = p.label_matters && !p.own_view_only && p.label != nullptr &&
                      p.depth == nullptr && p.discrete_columns == 0 && p.continuous_columns == 0;
  const bool sum_over_anchors =
      p.normalisation == Normalisation::reference && !supcon && !p.weighted_repulsion;
  return 1 / static_cast<double>(sum_over_anchors ? p.n : 2 * p.n);
}

/// Composite kernel of two slices a, b in [0, n), before any normalisation: 1 for a == b, 0 where
/// they are no candidates or a depth or continuous value of either is unknown, NaN. Symmetric bit
/// for bit.
template <class T>
WSP_HOST_DEVICE inline double pair_weight(const ContrastiveProblem<T>& p, std::int64_t a,
                                          std::int64_t b) {
  if (a == b) return 1;
  if (!candidates(p, a, b)) return 0;
  double exponent = 0;
  if (p.depth != nullptr) {
    const double distance = std::fabs(p.depth[a] - p.depth[b]);
    exponent +=
        (p.shape == KernelShape::rbf ? distance * distance : distance) / (2 * p.sigma * p.sigma);
  }
  for (std::int64_t c = 0; c < p.continuous_columns; ++c) {
    const double* column = p.continuous + c * p.n;
    const double distance = (column[a] - column[b]) / p.continuous_sigma[c];
    exponent += distance * distance / 2;
  }
  if (exponent != exponent) return 0;  // NaN: unknown
  return exponent == 0 ? 1 : std::exp(-exponent);
}

}  // namespace wsp::train
