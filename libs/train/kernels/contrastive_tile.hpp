#pragma once
#include "train/kernels/contrastive_products.hpp"

/// The passes of the tiled loss over tiles of pairs, and the order of all passes. A block keeps
/// kRowSlices slices in both views and walks over a split of the others, kColumnSlices at a time:
/// no pair is ever in device memory. Forward: a softmax part per row. Backward: the similarities
/// once more, dL/ds of each pair in both directions, since both are symmetric: no two blocks write
/// to the same place.
namespace wsp::train {

/// What both passes do with shared memory.
template <class Product, class Block>
class Tile {
 public:
  using Memory = typename Product::Memory;

  WSP_KERNEL_CODE Tile(Block& block, Memory& memory, const ContrastiveWork& work)
      : block_(block), memory_(memory), work_(work), first_(block.x * kRowSlices) {
    block_.each_thread([&](int thread) {
      for (int i = thread; i < kRowSlices; i += kBlockThreads) {
        memory_.row_key[i] = work_.key[first_ + i];
        for (int c = 0; c < work_.coordinates; ++c)
          memory_.row_at[c][i] = work_.at[c * work_.slices + first_ + i];
      }
    });
  }

  WSP_KERNEL_CODE std::int64_t first() const { return first_; }
  WSP_KERNEL_CODE int chunks() const {
    return static_cast<int>((work_.dim + Product::kWidth - 1) / Product::kWidth);
  }
  WSP_KERNEL_CODE int width(int chunk) const {
    const std::int64_t rest = work_.dim - chunk * Product::kWidth;
    return rest < Product::kWidth ? static_cast<int>(rest) : Product::kWidth;
  }

  /// Go to a tile of columns; `ends` says whether their softmax is known.
  WSP_KERNEL_CODE void enter(std::int64_t tile, bool ends) {
    left_ = tile * kColumnSlices;
    own_column_ = static_cast<int>(first_ - left_);
    const std::int64_t rest = work_.problem.n - left_;
    columns_ = rest < kColumnSlices ? static_cast<int>(rest) : kColumnSlices;
    columns_chunk_ = -1;
    block_.sync();
    block_.each_thread([&](int thread) {
      for (int i = thread; i < kColumnSlices; i += kBlockThreads) {
        memory_.column_key[i] = work_.key[left_ + i];
        memory_.column_inverse[i] = work_.inverse_sum[left_ + i];
        for (int c = 0; c < work_.coordinates; ++c)
          memory_.column_at[c][i] = work_.at[c * work_.slices + left_ + i];
      }
      for (int i = thread; ends && i < kColumns; i += kBlockThreads)
        memory_.column_end[i] =
            work_.end[i / kColumnSlices * work_.slices + left_ + i % kColumnSlices];
    });
  }

  /// Cosines of the tile, in all dimensions. s: of a thread, an Accumulators.
  template <class S>
  WSP_KERNEL_CODE void cosines(S&& s) {
    block_.each_thread([&](int thread) {
      WSP_UNROLLED (v, 2)
        WSP_UNROLLED (u, 2)
          WSP_UNROLLED (j, kColumnSlices / 8)
            WSP_UNROLLED (i, 4) s(thread)[v][u][j][i] = 0;
    });
    for (int chunk = 0; chunk < chunks(); ++chunk) {
      if (chunk > 0) block_.sync();  // before the first, enter() has
      if (rows_chunk_ != chunk)
        load_rows<Product>(block_, work_, first_, kRows, chunk, width(chunk), memory_.rows);
      load_rows<Product>(block_, work_, left_, kColumns, chunk, width(chunk), memory_.columns);
      rows_chunk_ = columns_chunk_ = chunk;
      block_.sync();
      Product::similarities(block_, memory_, width(chunk), s);
    }
    if (Product::kPairsShared) rows_chunk_ = -1;  // they stand where the rows stood
  }

  /// Have these dimensions of the columns at hand, and pair gradients that stand in shared memory;
  /// what stood in the columns' place is no longer needed.
  WSP_KERNEL_CODE void need_columns(int chunk) {
    const bool load = columns_chunk_ != chunk;
    if (load) {
      block_.sync();
      load_rows<Product>(block_, work_, left_, kColumns, chunk, width(chunk), memory_.columns);
      columns_chunk_ = chunk;
    }
    if (load || Product::kPairsShared) block_.sync();
  }

  /// Weight of a pair of slices of the block and the tile; 1 for a slice with itself.
  WSP_KERNEL_CODE float weight(int row, int column) const {
    if (own_column_ + row == column) return 1;
    return slice_weight(work_, memory_.row_key[row], memory_.column_key[column],
                        &memory_.row_at[0][row], kRowSlices, &memory_.column_at[0][column],
                        kColumnSlices);
  }

  /// True where the pair of views is none: an anchor with itself, or a column beyond the batch.
  WSP_KERNEL_CODE bool excluded(int row, int column, bool same_view) const {
    return column >= columns_ || (same_view && own_column_ + row == column);
  }

 private:
  Block& block_;
  Memory& memory_;
  const ContrastiveWork& work_;
  std::int64_t first_, left_ = 0;
  int own_column_ = 0;  // of the block's first slice, were the tile that wide
  int columns_ = 0;     // of the tile that belong to the batch
  int rows_chunk_ = -1, columns_chunk_ = -1;
};

/// Grid: row blocks x splits.
template <class Product>
struct ForwardTiles {
  using Memory = typename Product::Memory;
  struct State {
    Accumulators s;
    SoftmaxPart part[2][2];  // [view][half]
  };

  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory& memory, const ContrastiveWork& work) {
    Tile<Product, Block> tile(block, memory, work);
    typename Block::template PerThread<State> state;
    const std::int64_t last = work.tiles * (block.y + 1) / work.splits;
    for (std::int64_t t = work.tiles * block.y / work.splits; t < last; ++t) {
      tile.enter(t, false);
      tile.cosines([&](int thread) { return state[thread].s; });
      block.each_thread([&](int thread) {
        WSP_UNROLLED (half, 2) add(tile, memory, work, thread, half, state[thread]);
      });
    }
    WSP_UNROLLED (v, 2)
      WSP_UNROLLED (half, 2) write(block, work, state, tile.first(), v, half);
  }

 private:
  template <class T>
  WSP_KERNEL_CODE static void add(const T& tile, const Memory& memory, const ContrastiveWork& work,
                                  int thread, int half, State& state) {
    const int row = row_slice(thread, half);
    float top[2] = {state.part[0][half].top, state.part[1][half].top};
    WSP_UNROLLED (j, kColumnSlices / 8)
      WSP_UNROLLED (odd, 2) {
        const int column = column_slice(thread, j, odd);
        float weight = tile.weight(row, column);
        if (work.by_column) weight *= memory.column_inverse[column];
        WSP_UNROLLED (v, 2)
          WSP_UNROLLED (u, 2) {
            float& s = state.s[v][u][j][2 * half + odd];
            const bool excluded = tile.excluded(row, column, v == u);
            state.part[v][half].pull += excluded ? 0.0F : weight * s;
            s = excluded ? kMinusInfinity : s * work.exponent;
            top[v] = fmaxf(top[v], s);
          }
      }
    WSP_UNROLLED (v, 2) {
      SoftmaxPart& part = state.part[v][half];
      raise_top(part, top[v]);
      WSP_UNROLLED (u, 2)
        WSP_UNROLLED (j, kColumnSlices / 8)
          WSP_UNROLLED (odd, 2)
            part.sum += power_of_two(state.s[v][u][j][2 * half + odd] - base(top[v]));
    }
  }

  /// The four threads of a row put together what they have, and the first writes it.
  template <class Block, class S>
  WSP_KERNEL_CODE static void write(Block& block, const ContrastiveWork& work, S& state,
                                    std::int64_t first, int v, int half) {
    typename Block::template PerThread<SoftmaxPart> other;
    WSP_UNROLLED (bit, 2) {
      const int mask = 1 << bit;
      block.exchange([&](int t) { return state[t].part[v][half].top; },
                     [&](int t, float value) { other[t].top = value; }, mask);
      block.exchange([&](int t) { return state[t].part[v][half].sum; },
                     [&](int t, float value) { other[t].sum = value; }, mask);
      block.exchange([&](int t) { return state[t].part[v][half].pull; },
                     [&](int t, float value) { other[t].pull = value; }, mask);
      block.each_thread(
          [&](int t) { state[t].part[v][half] = merged(state[t].part[v][half], other[t]); });
    }
    block.each_thread([&](int thread) {
      if (thread % 4 == 0)
        work.part[(2 * block.y + v) * work.slices + first + row_slice(thread, half)] =
            state[thread].part[v][half];
    });
  }
};

/// Grid: row blocks x splits x dimensions / kOutputWidth.
template <class Product>
struct BackwardTiles {
  using Memory = typename Product::Memory;
  struct State {
    Accumulators s;
    GradientSums sums;
    typename Product::Pairs pairs;
    float end[2][2], inverse[2];  // of the thread's rows: [view][half], [half]
  };
  static constexpr int kPieces = kOutputWidth / Product::kWidth;

  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory& memory, const ContrastiveWork& work) {
    Tile<Product, Block> tile(block, memory, work);
    typename Block::template PerThread<State> state;
    block.each_thread([&](int thread) { begin(work, tile.first(), thread, state[thread]); });
    const auto s = [&](int thread) { return state[thread].s; };
    const auto sums = [&](int thread) { return state[thread].sums; };
    const auto pairs = [&](int thread) -> auto& { return state[thread].pairs; };
    const int first_piece = static_cast<int>(block.z) * kPieces;
    const std::int64_t last = work.tiles * (block.y + 1) / work.splits;
    for (std::int64_t t = work.tiles * block.y / work.splits; t < last; ++t) {
      tile.enter(t, true);
      tile.cosines(s);
      block.each_thread([&](int thread) {
        WSP_UNROLLED (half, 2) differentiate(tile, memory, work, thread, half, state[thread]);
      });
      Product::keep_pairs(block, memory, s, pairs);
      WSP_UNROLLED (piece, kPieces) {
        if (first_piece + piece >= tile.chunks()) continue;
        tile.need_columns(first_piece + piece);
        Product::pull(block, memory, piece, tile.width(first_piece + piece), pairs, sums);
      }
    }
    block.each_thread([&](int thread) {
      write(work, tile.first(), block.y, block.z * kOutputWidth, thread, state[thread]);
    });
  }

 private:
  WSP_KERNEL_CODE static void begin(const ContrastiveWork& work, std::int64_t first, int thread,
                                    State& state) {
    WSP_UNROLLED (half, 2) {
      const std::int64_t slice = first + row_slice(thread, half);
      state.inverse[half] = work.inverse_sum[slice];
      WSP_UNROLLED (v, 2) state.end[v][half] = work.end[v * work.slices + slice];
    }
    WSP_UNROLLED (v, 2)
      WSP_UNROLLED (d, kOutputWidth / 8)
        WSP_UNROLLED (i, 4) state.sums[v][d][i] = 0;
  }

  template <class T>
  WSP_KERNEL_CODE static void differentiate(const T& tile, const Memory& memory,
                                            const ContrastiveWork& work, int thread, int half,
                                            State& state) {
    const int row = row_slice(thread, half);
    WSP_UNROLLED (j, kColumnSlices / 8)
      WSP_UNROLLED (odd, 2) {
        const int column = column_slice(thread, j, odd);
        const float weights =
            tile.weight(row, column) * (state.inverse[half] + memory.column_inverse[column]);
        WSP_UNROLLED (v, 2)
          WSP_UNROLLED (u, 2) {
            float& s = state.s[v][u][j][2 * half + odd];
            s = tile.excluded(row, column, v == u)
                    ? 0.0F
                    : pair_gradient(s * work.exponent, state.end[v][half],
                                    memory.column_end[u * kColumnSlices + column], weights);
          }
      }
  }

  WSP_KERNEL_CODE static void write(const ContrastiveWork& work, std::int64_t first,
                                    std::int64_t split_number, std::int64_t from, int thread,
                                    const State& state) {
    WSP_UNROLLED (v, 2)
      WSP_UNROLLED (d, kOutputWidth / 8)
        WSP_UNROLLED (i, 4) {
          const std::int64_t k = from + 8 * d + 2 * (thread % 4) + i % 2;
          if (k < work.dim)
            work.partial[((2 * split_number + v) * work.slices + first + row_slice(thread, i / 2)) *
                             work.dim +
                         k] = state.sums[v][d][i];
        }
  }
};

/// All passes in order. launch.template pass<P>(blocks_x, blocks_y, blocks_z) runs one and returns
/// 0 or an error, which ends the sequence.
template <class Product, class Launch>
int run_contrastive(const ContrastiveWork& work, Launch&& launch) {
  const std::int64_t row_blocks = work.slices / kRowSlices;
  int error =
      launch.template pass<PrepareSlices>(padded(work.slices, kBlockThreads) / kBlockThreads, 1, 1);
  const auto next = [&](auto pass) {
    if (error == 0) error = pass();
  };
  next([&] { return launch.template pass<SumWeights>(work.slices / kWarps, 1, 1); });
  if (work.by_column)
    next([&] { return launch.template pass<SumAnchorWeights>(work.slices / kWarps, 1, 1); });
  next([&] {
    return launch.template pass<NormaliseRows<typename Product::Element>>(2 * work.slices / kWarps,
                                                                          1, 1);
  });
  next([&] { return launch.template pass<ForwardTiles<Product>>(row_blocks, work.splits, 1); });
  next([&] { return launch.template pass<FinishRows>(2 * work.slices / kBlockThreads, 1, 1); });
  next([&] { return launch.template pass<SumLoss>(1, 1, 1); });
  if (work.grad == nullptr) return error;
  next([&] {
    return launch.template pass<BackwardTiles<Product>>(
        row_blocks, work.splits, padded(work.dim, kOutputWidth) / kOutputWidth);
  });
  next([&] {
    return launch.template pass<ProjectRows<Product>>(padded(2 * work.problem.n, kWarps) / kWarps,
                                                      1, 1);
  });
  return error;
}

}  // namespace wsp::train
