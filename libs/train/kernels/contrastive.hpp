#pragma once
#include <cstdint>

/// Plain C++ and CUDA: no Torch, no TBB type stands here.
namespace wsp::train {

enum class KernelShape { rbf, laplacian };
/// `paper`: weights divided by the sum over the anchor's own positives, mean over the 2N anchors.
/// `reference`: what the published code computes: weights divided by the sum of their column, and
/// the sum over the 2N anchors divided by N; but its SupCon, a module of its own (here: a label, no
/// depth and no further column), takes the mean over the 2N anchors.
enum class Normalisation { paper, reference };

/// One problem: embeddings z of 2n views (view 1 of all slices, then view 2), and the n slices'
/// kernel inputs. All row-major, borrowed for the call.
///
/// An anchor's positives are the other view of its slice, with weight 1, and both views of every
/// slice that matches in all discrete columns, weighted by the product of the continuous kernels.
template <class T>
struct ContrastiveProblem {
  const T* z = nullptr;  ///< [2n][dim], unit length is not assumed
  std::int64_t n = 0, dim = 0;
  /// [n], -1 unknown: only its own other view; nullptr: every slice is its own class (SimCLR),
  /// unless !label_matters.
  const std::int64_t* label = nullptr;
  const double* depth = nullptr;  ///< [n]; nullptr: weights 1
  /// [discrete_columns][n]: further columns that must be equal; -1 is unknown and equals nothing.
  const std::int64_t* discrete = nullptr;
  std::int64_t discrete_columns = 0;
  const double* continuous =
      nullptr;  ///< [continuous_columns][n]: further Gaussian columns; NaN: unknown
  const double* continuous_sigma = nullptr;  ///< [continuous_columns]
  std::int64_t continuous_columns = 0;
  KernelShape shape = KernelShape::rbf;  ///< of the depth
  Normalisation normalisation = Normalisation::paper;
  double sigma = 0.1, temperature = 0.1;
  bool label_matters = true;   ///< false: depth-Aware, every pair is a candidate
  bool own_view_only = false;  ///< true: SimCLR, only the other view of the same slice
  /// true: L^exp, where a view repels the less the more it weighs; see contrastive_loss_cpu().
  bool weighted_repulsion = false;
};

/// Loss of Sarfati et al., equation 4, and (where grad is not null, [2n][dim]) its gradient with
/// respect to z, through the cosine's normalisation, in tiles of `tile` rows and columns: memory
/// O(n * dim + (tile + dim) * tile * threads), never n x n. T is float or double; everything is
/// computed in double. The result does not depend on the number of threads; another tile changes it
/// by rounding only. A row of z shorter than 1e-12 counts as divided by 1e-12, as in Torch.
/// A non-finite z gives a non-finite loss.
///
/// With weighted_repulsion the loss is L^exp of Barbano et al. (ISBI 2023, arXiv 2211.08326; arXiv
/// 2507.01794), as its authors' code computes it: with s = (cosine - 1) / temperature and
/// unnormalised weights w the logarithm of an anchor's denominator is that of the sum of exp(s_ti
/// (1 - w_ti)) over i != t, where all else has w = 0. Its weights are always divided by the sum
/// over the anchor's own positives and the mean taken over the 2N anchors. Throws Error (failure)
/// where a size, sigma, temperature or tile is not positive.
template <class T>
double contrastive_loss_cpu(const ContrastiveProblem<T>& problem, std::int64_t tile, T* grad);

extern template double contrastive_loss_cpu<float>(const ContrastiveProblem<float>&, std::int64_t,
                                                   float*);
extern template double contrastive_loss_cpu<double>(const ContrastiveProblem<double>&, std::int64_t,
                                                    double*);

}  // namespace wsp::train
