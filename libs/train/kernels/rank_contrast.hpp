#pragma once
#include <cstdint>

/// Plain C++: no Torch, no TBB type stands here.
namespace wsp::train {

/// One problem: embeddings z of 2n views (view 1 of all slices, then view 2), and a number y of
/// each slice. All row-major, borrowed for the call.
template <class T>
struct RankContrastProblem {
  const T* z = nullptr;  ///< [2n][dim], as they are: their length counts
  std::int64_t n = 0, dim = 0;
  const double* value = nullptr;  ///< [n]; NaN is unknown: neither an anchor nor another's view
  double temperature = 2;         ///< that of the published code
};

/// Rank-N-Contrast (Zha et al., NeurIPS 2023, arXiv 2210.01189) and (where grad is not null,
/// [2n][dim]) its gradient with respect to z. With s_ij = -|z_i - z_j| / temperature, over the
/// views of known y, M of them, the mean over the M (M - 1) ordered pairs of
///   log(sum of exp s_ik over all k != i with |y_i - y_k| >= |y_i - y_j|) - s_ij:
/// whoever is closer in y is to be closer in the embedding. 0 where nobody or one slice is known.
///
/// Time O(M^2 dim), and O(M) an anchor for the ranks after one sort of y in O(M log M), instead of
/// the O(M^3) of a mask per pair. Memory O(M (tile + dim)), never M x M; computed in double
/// whatever T is, float or double. The result does not depend on the number of threads; another
/// tile changes it by rounding only. Two equal embeddings have distance 0, whose gradient is taken
/// as 0, as in Torch. A z that is not finite gives a loss that is not. Throws Error (failure) where
/// a size, the temperature or the tile is not positive, and for an infinite y.
template <class T>
double rank_contrast_loss_cpu(const RankContrastProblem<T>& problem, std::int64_t tile, T* grad);

extern template double rank_contrast_loss_cpu<float>(const RankContrastProblem<float>&,
                                                     std::int64_t, float*);
extern template double rank_contrast_loss_cpu<double>(const RankContrastProblem<double>&,
                                                      std::int64_t, double*);

}  // namespace wsp::train
