#pragma once
#include "train/kernels/contrastive_rows.hpp"

/// The two matrix products of a tile, S = U_rows U_columns^T and dU_rows += G U_columns, in float32
/// and on tensor cores. In both a thread holds the same elements of S and dU, those of mma.m16n8's
/// accumulators: of each 16 x 8 block the rows lane / 4 (+ 8) and the columns 2 (lane % 4) (+ 1). A
/// warp's 16 slices of rows and the 8 slices of a block of columns occur in two views each, so that
/// a thread sees a pair of slices in all four pairs of views and weighs it once.
///
/// Beside what contrastive_rows.hpp lists, a block has, for whole warps (arguments are functions of
/// a thread):
/// - block.load_matrices<order>(row, words): ldmatrix.x4, 8x8 halves each; lane l names row l % 8
///   of matrix l / 8
/// - block.multiply(c, a, b): mma.m16n8k16, c += a b, halves in, float32 out
/// - block.exchange(get, set, mask): __shfl_xor_sync
namespace wsp::train {

/// How load_matrices() hands over what it reads: as it lies in memory, or transposed (ldmatrix's
/// .trans).
enum class MatrixOrder { as_stored, transposed };

/// A row's slice within its block and a column's within its tile, of accumulator element (half,
/// odd).
WSP_KERNEL_CODE int row_slice(int thread, int half) {
  return thread / 32 * 16 + thread % 32 / 4 + 8 * half;
}
WSP_KERNEL_CODE int column_slice(int thread, int eighth, int odd) {
  return 8 * eighth + 2 * (thread % 4) + odd;
}

/// What a block knows of the slices of its rows and of its tile.
struct SliceMemory {
  int row_key[kRowSlices], column_key[kColumnSlices];
  SplitFloat row_at[kMostCoordinates][kRowSlices], column_at[kMostCoordinates][kColumnSlices];
  float column_inverse[kColumnSlices];
  float column_end[kColumns];
};

/// The same with a block's rows and the columns of its tile.
template <class Element, int kRowElements, int kColumnElements>
struct alignas(16) ProductMemory : SliceMemory {
  alignas(16) Element rows[kRowElements];
  alignas(16) Element columns[kColumnElements];
};

/// S of a thread: [view of the row][view of the column][eight columns][2 * half + odd].
using Accumulators = float[2][2][kColumnSlices / 8][4];
/// dU of a thread: [view][eight dimensions][2 * half + odd].
using GradientSums = float[2][kOutputWidth / 8][4];

WSP_KERNEL_CODE void copy_16_bytes(void* to, const void* from) {
#if defined(__CUDA_ARCH__)
  *static_cast<uint4*>(to) = *static_cast<const uint4*>(from);
#else
  memcpy(to, from, 16);
#endif
}

/// Copy dimensions [kWidth * chunk, + width) of a block's rows, count / 2 slices from `first` on in
/// both views.
template <class Product, class Block>
WSP_KERNEL_CODE void load_rows(Block& block, const ContrastiveWork& work, std::int64_t first,
                               int count, int chunk, int width, typename Product::Element* to) {
  using Element = typename Product::Element;
  constexpr int kVector = 16 / sizeof(Element);
  constexpr int kLanes = Product::kWidth / kVector;  // of a row
  block.each_thread([&](int thread) {
    const int column = thread % kLanes * kVector;
    if (column >= width) return;
    for (int row = thread / kLanes; row < count; row += kBlockThreads / kLanes) {
      const int view = row >= count / 2 ? 1 : 0;
      const std::int64_t from = view * work.slices + first + row - view * (count / 2);
      copy_16_bytes(to + row * Product::kStride + column, static_cast<const Element*>(work.unit) +
                                                              from * work.dim +
                                                              chunk * Product::kWidth + column);
    }
  });
}

/// Float32, one fused multiply-add at a time.
struct ExactProduct {
  using Element = float;
  static constexpr ContrastivePrecision kPrecision = ContrastivePrecision::exact;
  static constexpr int kWidth = 32;           ///< dimensions in shared memory at once
  static constexpr int kStride = kWidth + 4;  ///< eight rows in eight different banks of 16 bytes
  static constexpr int kPairStride = kColumns + 4;
  static constexpr float kGradientScale = 1;
  /// In `rows` unit rows, then (after the first product) pair gradients.
  using Memory = ProductMemory<Element, kRows * kPairStride, kColumns * kStride>;
  static constexpr bool kPairsShared = true;
  struct Pairs {};

  template <class Block, class S>
  WSP_KERNEL_CODE static void similarities(Block& block, const Memory& memory, int width, S&& s) {
    block.each_thread([&](int thread) {
      for (int k = 0; k < width; k += 4) {
        const float* row[2][2];
        WSP_UNROLLED (v, 2)
          WSP_UNROLLED (half, 2)
            row[v][half] = memory.rows + (v * kRowSlices + row_slice(thread, half)) * kStride + k;
        WSP_UNROLLED (u, 2)
          WSP_UNROLLED (j, kColumnSlices / 8)
            WSP_UNROLLED (odd, 2) {
              const float* column =
                  memory.columns + (u * kColumnSlices + column_slice(thread, j, odd)) * kStride + k;
              WSP_UNROLLED (v, 2)
                WSP_UNROLLED (half, 2)
                  WSP_UNROLLED (i, 4)
                    s(thread)[v][u][j][2 * half + odd] += row[v][half][i] * column[i];
            }
      }
    });
  }

  /// Hand the pair gradients over to the threads that need them: all of a row's to each of its
  /// four.
  template <class Block, class S, class P>
  WSP_KERNEL_CODE static void keep_pairs(Block& block, Memory& memory, S&& s, P&&) {
    block.sync();
    block.each_thread([&](int thread) {
      WSP_UNROLLED (v, 2)
        WSP_UNROLLED (u, 2)
          WSP_UNROLLED (j, kColumnSlices / 8)
            WSP_UNROLLED (i, 4)
              memory.rows[(v * kRowSlices + row_slice(thread, i / 2)) * kPairStride +
                          u * kColumnSlices + column_slice(thread, j, i % 2)] =
                  s(thread)[v][u][j][i];
    });
  }

  /// Add to the sums of dimensions [kWidth * piece, + width) of the output.
  template <class Block, class P, class G>
  WSP_KERNEL_CODE static void pull(Block& block, const Memory& memory, int piece, int width, P&&,
                                   G&& sums) {
    block.each_thread([&](int thread) {
      for (int c = 0; c < kColumns; ++c) {
        float pair[2][2];
        WSP_UNROLLED (v, 2)
          WSP_UNROLLED (half, 2)
            pair[v][half] =
                memory.rows[(v * kRowSlices + row_slice(thread, half)) * kPairStride + c];
        const float* column = memory.columns + c * kStride + 2 * (thread % 4);
        WSP_UNROLLED (j, kWidth / 8) {
          if (8 * j >= width) continue;
          WSP_UNROLLED (v, 2)
            WSP_UNROLLED (i, 4)
              sums(thread)[v][piece * (kWidth / 8) + j][i] +=
                  pair[v][i / 2] * column[8 * j + i % 2];
        }
      }
    });
  }
};

/// Tensor cores: halves in, float32 sums.
struct TensorProduct {
  using Element = std::uint16_t;
  static constexpr ContrastivePrecision kPrecision = ContrastivePrecision::tensor;
  static constexpr int kWidth = 128;
  static constexpr int kStride = kWidth + 8;
  /// Pair gradients of 1 / 2n stay normal numbers of half precision, those of 64 finite.
  static constexpr float kGradientScale = 1024;
  using Memory = ProductMemory<Element, kRows * kStride, kColumns * kStride>;
  static constexpr bool kPairsShared = false;
  /// Pair gradients as left operands: [view of the row][view of the column][16 columns].
  struct Pairs {
    std::uint32_t word[2][2][kColumnSlices / 16][4];
  };
  struct Operands {
    std::uint32_t left[2][4], right[4];
  };

  /// Add the products of each view's left operand with both halves of the right one.
  template <class Block, class O, class C, class A>
  WSP_KERNEL_CODE static void multiply_views(Block& block, O& operands, C&& sums, A&& left) {
    WSP_UNROLLED (v, 2)
      WSP_UNROLLED (next, 2)
        block.multiply([&](int thread) { return sums(thread, v, next); },
                       [&](int thread) { return left(thread, v); },
                       [&](int thread) { return operands[thread].right + 2 * next; });
  }

  template <class Block, class S>
  WSP_KERNEL_CODE static void similarities(Block& block, const Memory& memory, int width, S&& s) {
    typename Block::template PerThread<Operands> operands;
    for (int k = 0; k < width; k += 16) {
      WSP_UNROLLED (v, 2)
        block.template load_matrices<MatrixOrder::as_stored>(
            [&](int thread) {
              const int lane = thread % 32;
              const int row = v * kRowSlices + thread / 32 * 16 + lane / 8 % 2 * 8 + lane % 8;
              return memory.rows + row * kStride + k + lane / 16 * 8;
            },
            [&](int thread) { return operands[thread].left[v]; });
      WSP_UNROLLED (u, 2)
        WSP_UNROLLED (m, kColumnSlices / 16) {
          const int j = 2 * m;
          block.template load_matrices<MatrixOrder::as_stored>(
              [&](int thread) {
                const int lane = thread % 32;
                const int row = u * kColumnSlices + 8 * j + lane / 16 * 8 + lane % 8;
                return memory.columns + row * kStride + k + lane / 8 % 2 * 8;
              },
              [&](int thread) { return operands[thread].right; });
          multiply_views(
              block, operands,
              [&](int thread, int v, int next) { return s(thread)[v][u][j + next]; },
              [&](int thread, int v) { return operands[thread].left[v]; });
        }
    }
  }

  /// Two accumulators side by side are the left operand of the next product.
  template <class Block, class S, class P>
  WSP_KERNEL_CODE static void keep_pairs(Block& block, Memory&, S&& s, P&& pairs) {
    block.each_thread([&](int thread) {
      WSP_UNROLLED (v, 2)
        WSP_UNROLLED (u, 2)
          WSP_UNROLLED (j, kColumnSlices / 8)
            WSP_UNROLLED (half, 2)
              pairs(thread).word[v][u][j / 2][j % 2 * 2 + half] =
                  half_pair(within_half(s(thread)[v][u][j][2 * half] * kGradientScale),
                            within_half(s(thread)[v][u][j][2 * half + 1] * kGradientScale));
    });
  }

  template <class Block, class P, class G>
  WSP_KERNEL_CODE static void pull(Block& block, const Memory& memory, int, int width, P&& pairs,
                                   G&& sums) {
    typename Block::template PerThread<Operands> operands;
    WSP_UNROLLED (u, 2)
      WSP_UNROLLED (m, kColumnSlices / 16)
        WSP_UNROLLED (d, kWidth / 16) {
          if (16 * d >= width) continue;
          block.template load_matrices<MatrixOrder::transposed>(
              [&](int thread) {
                const int lane = thread % 32;
                const int row = u * kColumnSlices + 16 * m + lane / 8 % 2 * 8 + lane % 8;
                return memory.columns + row * kStride + 16 * d + lane / 16 * 8;
              },
              [&](int thread) { return operands[thread].right; });
          multiply_views(
              block, operands,
              [&](int thread, int v, int next) { return sums(thread)[v][2 * d + next]; },
              [&](int thread, int v) { return pairs(thread).word[v][u][m]; });
        }
  }
};

}  // namespace wsp::train
