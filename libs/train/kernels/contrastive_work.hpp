#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "train/kernels/contrastive_cuda.hpp"
#include "train/kernels/contrastive_element.hpp"
#include "train/kernels/contrastive_pair.hpp"

/// Arrays and sizes of the tiled loss, and how they lie in its workspace. Views t in [0, 2n) stand
/// as [view][slice], slices padded to kRowSlices, dimensions to kDimensionStep; what is padded is
/// zero and belongs to no class.
namespace wsp::train {

constexpr int kBlockThreads = 128;
constexpr int kWarps = kBlockThreads / 32;
constexpr int kRowSlices = 64;     ///< anchors' slices of a block, 16 per warp
constexpr int kColumnSlices = 32;  ///< others' slices of a tile
constexpr int kRows = 2 * kRowSlices;
constexpr int kColumns = 2 * kColumnSlices;
constexpr int kDimensionStep = 16;
constexpr int kOutputWidth = 128;  ///< dimensions of the gradient that one block computes

WSP_HOST_DEVICE inline std::int64_t padded(std::int64_t value, std::int64_t to) {
  return (value + to - 1) / to * to;
}

/// A column of distances: an exponent of base 2 is the square (or the magnitude) of a difference of
/// coordinates.
struct Coordinate {
  const double* column;  ///< [n]
  double factor;
};

struct ContrastiveWork {
  ContrastiveProblem<void> problem;
  EmbeddingType type;
  std::int64_t slices, dim;    ///< padded n and dim
  std::int64_t tiles, splits;  ///< of the columns; each split of them is another block
  Coordinate coordinate[kMostCoordinates];
  int coordinates;
  bool first_is_laplacian, by_column;
  double scale;    ///< of the loss: 1 / 2n or 1 / n
  float exponent;  ///< log2(e) / temperature: from a cosine to an exponent of base 2
  // Workspace
  int* key;              ///< [slices]: the first slice of the same class, -1 for none
  SplitFloat* at;        ///< [coordinates][slices]
  float* inverse_sum;    ///< [slices]: 1 / sum of a slice's weights over all views but itself
  float* anchor_weight;  ///< [slices]: q, the sum of an anchor's normalised weights
  float* norm;           ///< [2][slices]
  void* unit;            ///< [2][slices][dim]: unit rows, float32 or half
  SoftmaxPart* part;     ///< [splits][2][slices]
  float* end;            ///< [2][slices]: see pair_gradient
  double* of_anchor;     ///< [2][slices]
  float* partial;        ///< [splits][2][slices][dim]: gradients, not yet summed or projected
  // Results
  double* loss;  ///< [1]
  float* grad;   ///< [2n][problem.dim]
};

/// Columns are split among blocks until there are some 512, so that small batches fill a card too.
/// It depends on n alone: sums then have one order everywhere.
inline std::int64_t column_splits(std::int64_t row_blocks, std::int64_t tiles) {
  const std::int64_t wanted = 512 / row_blocks;
  const std::int64_t most = tiles < 16 ? tiles : 16;
  return wanted < 1 ? 1 : wanted < most ? wanted : most;
}

/// Fill in all of `work` but its pointers. False where the problem is out of range.
inline bool plan_contrastive(const ContrastiveProblem<void>& p, ContrastiveWork& work) {
  const std::int64_t coordinates = p.continuous_columns + (p.depth != nullptr ? 1 : 0);
  if (p.weighted_repulsion) return false;  // no such loss on the card
  if (p.n < 1 || p.n > (std::int64_t{1} << 29) || p.dim < 1 || p.dim > (std::int64_t{1} << 20) ||
      !(p.temperature > 0) || (p.depth != nullptr && !(p.sigma > 0)) || p.continuous_columns < 0 ||
      p.discrete_columns < 0 || coordinates > kMostCoordinates ||
      (p.discrete_columns > 0 && p.discrete == nullptr) ||
      (p.continuous_columns > 0 && (p.continuous == nullptr || p.continuous_sigma == nullptr)))
    return false;
  work = ContrastiveWork{};
  work.problem = p;
  work.slices = padded(p.n, kRowSlices);
  work.dim = padded(p.dim, kDimensionStep);
  work.tiles = padded(p.n, kColumnSlices) / kColumnSlices;
  work.splits = column_splits(work.slices / kRowSlices, work.tiles);
  work.by_column = p.normalisation == Normalisation::reference;
  work.scale = loss_scale(p);
  work.exponent = static_cast<float>(kLog2E / p.temperature);
  work.first_is_laplacian = p.depth != nullptr && p.shape == KernelShape::laplacian;
  const double gaussian = std::sqrt(kLog2E / 2);
  if (p.depth != nullptr)
    work.coordinate[work.coordinates++] = {
        p.depth, work.first_is_laplacian ? kLog2E / (2 * p.sigma * p.sigma) : gaussian / p.sigma};
  for (std::int64_t c = 0; c < p.continuous_columns; ++c) {
    if (!(p.continuous_sigma[c] > 0)) return false;
    work.coordinate[work.coordinates++] = {p.continuous + c * p.n,
                                           gaussian / p.continuous_sigma[c]};
  }
  return true;
}

/// Place the arrays one after another from `base` on; returns the bytes they take. Pointers are
/// only computed.
inline std::size_t lay_out(ContrastiveWork& work, ContrastivePrecision precision, void* base) {
  std::size_t used = 0;
  const auto take = [&](auto*& pointer, std::int64_t count, std::size_t element) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(
        reinterpret_cast<std::uintptr_t>(base) + used);
    used += (static_cast<std::size_t>(count) * element + 255) / 256 * 256;
  };
  const auto array = [&](auto*& pointer, std::int64_t count) {
    take(pointer, count, sizeof(*pointer));
  };
  const std::int64_t views = 2 * work.slices;
  array(work.key, work.slices);
  array(work.at, work.coordinates * work.slices);
  array(work.inverse_sum, work.slices);
  array(work.anchor_weight, work.slices);
  array(work.norm, views);
  take(work.unit, views * work.dim,
       precision == ContrastivePrecision::tensor ? sizeof(std::uint16_t) : sizeof(float));
  array(work.part, work.splits * views);
  array(work.end, views);
  array(work.of_anchor, views);
  array(work.partial, work.splits * views * work.dim);
  return used;
}

}  // namespace wsp::train
