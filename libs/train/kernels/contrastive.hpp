#pragma once
#include <cstdint>

/// Plain C++ and CUDA: no Torch, no TBB type stands here.
namespace wsp::train {

enum class KernelShape { rbf, laplacian };
/// `paper`: weights divided by the sum over the anchor's own positives, mean over the 2N anchors.
/// `reference`: what the published code computes: divided by the column's sum, sum over 2N / N.
enum class Normalisation { paper, reference };

/// One problem: embeddings z of 2n views (view 1 of all slices, then view 2), and the n slices' kernel
/// inputs. All row-major.
template <class T>
struct ContrastiveProblem {
  const T* z = nullptr;  ///< [2n][dim], unit length is not assumed
  std::int64_t n = 0, dim = 0;
  const std::int64_t* label = nullptr;     ///< [n], -1 unknown; nullptr: every slice its own class unless depth_only
  const double* depth = nullptr;           ///< [n]; nullptr: weights 1
  const std::int64_t* discrete = nullptr;  ///< [discrete_columns][n]: further columns that must be equal
  std::int64_t discrete_columns = 0;
  const double* continuous = nullptr;      ///< [continuous_columns][n]: further Gaussian columns
  const double* continuous_sigma = nullptr;
  std::int64_t continuous_columns = 0;
  KernelShape shape = KernelShape::rbf;
  Normalisation normalisation = Normalisation::paper;
  double sigma = 0.1, temperature = 0.1;
  bool label_matters = true;  ///< false: depth-Aware, every pair is a candidate
  bool own_view_only = false; ///< true: SimCLR, only the other view of the same slice
};

/// Loss and (where grad is not null, [2n][dim]) its gradient, in tiles of `tile` rows and columns: memory
/// O(n * dim + tile^2 * threads), never n x n. T is float or double; sums are in double.
/// The result does not depend on the number of threads.
template <class T>
double contrastive_loss_cpu(const ContrastiveProblem<T>& problem, std::int64_t tile, T* grad);

extern template double contrastive_loss_cpu<float>(const ContrastiveProblem<float>&, std::int64_t, float*);
extern template double contrastive_loss_cpu<double>(const ContrastiveProblem<double>&, std::int64_t, double*);

}  // namespace wsp::train
