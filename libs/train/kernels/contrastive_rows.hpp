#pragma once
#include "train/kernels/contrastive_work.hpp"
#include "train/kernels/half_bits.hpp"

/// The passes of the tiled loss over slices and over rows; the passes over tiles are in
/// contrastive_tile.hpp. A pass is what one block of kBlockThreads threads does, written for any
/// kind of block (see contrastive.cu and the tests):
///   block.x, y, z                   its place in the grid
///   block.each_thread(f)            f(thread) for each thread of the block
///   block.sync()                    nothing before is overtaken by anything after
///   Block::template PerThread<T>    one T for each thread, by number
/// Every sum has a fixed order.
namespace wsp::train {

/// One number of each thread, to be summed by 32.
struct SumMemory {
  float part[kBlockThreads];
};

WSP_KERNEL_CODE float sum_of_warp(const SumMemory& memory, int thread) {
  float sum = 0;
  for (int lane = 0; lane < 32; ++lane) sum += memory.part[thread / 32 * 32 + lane];
  return sum;
}

/// Weight of two different slices, each of some array of keys and coordinates.
WSP_KERNEL_CODE float slice_weight(const ContrastiveWork& work, int key_a, int key_b,
                                   const SplitFloat* at_a, std::int64_t stride_a,
                                   const SplitFloat* at_b, std::int64_t stride_b) {
  if (key_a != key_b || key_a < 0) return 0;
  float exponent = 0;
  for (int c = 0; c < work.coordinates; ++c) {
    const float distance = difference(at_a[c * stride_a], at_b[c * stride_b]);
    exponent += c == 0 && work.first_is_laplacian ? fabsf(distance) : distance * distance;
  }
  return power_of_two(-exponent);
}

WSP_KERNEL_CODE float slice_weight(const ContrastiveWork& work, std::int64_t a, std::int64_t b) {
  return slice_weight(work, work.key[a], work.key[b], work.at + a, work.slices, work.at + b,
                      work.slices);
}

/// A thread per slice: its class and its coordinates.
struct PrepareSlices {
  struct Memory {};
  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory&, const ContrastiveWork& work) {
    block.each_thread([&](int thread) {
      const std::int64_t a = block.x * kBlockThreads + thread;
      if (a >= work.slices) return;
      const bool real = a < work.problem.n;
      bool known = real && candidates(work.problem, a, a);
      for (int c = 0; c < work.coordinates; ++c) {
        const double x = real ? work.coordinate[c].column[a] * work.coordinate[c].factor : 0;
        known = known && fabs(x) < 1e30;
        work.at[c * work.slices + a] = split(x);
      }
      std::int64_t first = 0;
      while (known && first < a && !candidates(work.problem, first, a)) ++first;
      work.key[a] = known ? static_cast<int>(first) : -1;
    });
  }
};

/// A warp per slice: take(a, sum of weight(a, b) over the other slices b), by the warp's first
/// thread.
template <class Block, class Weight, class Take>
WSP_KERNEL_CODE void sum_over_others(Block& block, SumMemory& memory, std::int64_t slices,
                                     Weight&& weight, Take&& take) {
  block.each_thread([&](int thread) {
    const std::int64_t a = block.x * kWarps + thread / 32;
    float sum = 0;
    for (std::int64_t b = thread % 32; b < slices; b += 32)
      if (b != a) sum += weight(a, b);
    memory.part[thread] = sum;
  });
  block.sync();
  block.each_thread([&](int thread) {
    if (thread % 32 == 0) take(block.x * kWarps + thread / 32, sum_of_warp(memory, thread));
  });
}

/// A warp per slice: the sum of its weights over all views but itself. The kernel is symmetric, so
/// that the sum of a column is that of the row.
struct SumWeights {
  using Memory = SumMemory;
  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory& memory, const ContrastiveWork& work) {
    sum_over_others(
        block, memory, work.problem.n,
        [&](std::int64_t a, std::int64_t b) { return slice_weight(work, a, b); },
        [&](std::int64_t a, float sum) {
          work.inverse_sum[a] = 1 / (1 + 2 * sum);
          work.anchor_weight[a] = 1;
        });
  }
};

/// A warp per slice, for weights normalised by column: the sum of an anchor's.
struct SumAnchorWeights {
  using Memory = SumMemory;
  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory& memory, const ContrastiveWork& work) {
    sum_over_others(
        block, memory, work.problem.n,
        [&](std::int64_t a, std::int64_t b) {
          return slice_weight(work, a, b) * work.inverse_sum[b];
        },
        [&](std::int64_t a, float sum) { work.anchor_weight[a] = work.inverse_sum[a] + 2 * sum; });
  }
};

WSP_KERNEL_CODE float embedding(const ContrastiveWork& work, std::int64_t index) {
  if (work.type == EmbeddingType::f32) return static_cast<const float*>(work.problem.z)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(work.problem.z)[index];
  return work.type == EmbeddingType::bf16 ? bfloat16_value(bits) : half_value(bits);
}

WSP_KERNEL_CODE float divisor(float norm) {
  return norm < 1e-12F ? 1e-12F : norm;  // a NaN stays one
}

WSP_KERNEL_CODE void store(float* to, float value) { *to = value; }
WSP_KERNEL_CODE void store(std::uint16_t* to, float value) { *to = half_bits(value); }

/// A warp per padded row [view][slice]: its length, and the unit row in the products' type.
template <class Element>
struct NormaliseRows {
  using Memory = SumMemory;
  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory& memory, const ContrastiveWork& work) {
    const std::int64_t dim = work.problem.dim;
    block.each_thread([&](int thread) {
      const std::int64_t row = block.x * kWarps + thread / 32;
      const std::int64_t slice = row % work.slices;
      float square = 0;
      if (slice < work.problem.n)
        for (std::int64_t k = thread % 32; k < dim; k += 32) {
          const float value =
              embedding(work, (row / work.slices * work.problem.n + slice) * dim + k);
          square += value * value;
        }
      memory.part[thread] = square;
    });
    block.sync();
    block.each_thread([&](int thread) {
      const std::int64_t row = block.x * kWarps + thread / 32;
      const std::int64_t slice = row % work.slices;
      const float norm = sqrtf(sum_of_warp(memory, thread));
      if (thread % 32 == 0) work.norm[row] = norm;
      const bool real = slice < work.problem.n;
      const std::int64_t from = (row / work.slices * work.problem.n + slice) * dim;
      Element* unit = static_cast<Element*>(work.unit) + row * work.dim;
      for (std::int64_t k = thread % 32; k < work.dim; k += 32)
        store(unit + k, real && k < dim ? embedding(work, from + k) / divisor(norm) : 0);
    });
  }
};

/// A thread per padded row: the softmax of all columns, from its parts.
struct FinishRows {
  struct Memory {};
  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory&, const ContrastiveWork& work) {
    block.each_thread([&](int thread) {
      const std::int64_t row = block.x * kBlockThreads + thread;
      const std::int64_t views = 2 * work.slices;
      const std::int64_t slice = row % work.slices;
      SoftmaxPart all;
      for (std::int64_t i = 0; i < work.splits; ++i) all = merged(all, work.part[i * views + row]);
      const float q = work.anchor_weight[slice];
      const float lse = all.top + log2f(all.sum);
      const bool real = slice < work.problem.n;
      work.end[row] = real ? lse - log2f(q) : 0;
      const double pull = static_cast<double>(all.pull) *
                          static_cast<double>(work.by_column ? 1 : work.inverse_sum[slice]);
      work.of_anchor[row] = real ? static_cast<double>(q) * static_cast<double>(lse) / kLog2E -
                                       pull / work.problem.temperature
                                 : 0;
    });
  }
};

/// One block: the loss.
struct SumLoss {
  struct Memory {
    double part[kBlockThreads];
  };
  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory& memory, const ContrastiveWork& work) {
    block.each_thread([&](int thread) {
      double sum = 0;
      for (std::int64_t row = thread; row < 2 * work.slices; row += kBlockThreads)
        sum += work.of_anchor[row];
      memory.part[thread] = sum;
    });
    block.sync();
    block.each_thread([&](int thread) {
      if (thread != 0) return;
      double sum = 0;
      for (int i = 0; i < kBlockThreads; ++i) sum += memory.part[i];
      *work.loss = work.scale * sum;
    });
  }
};

/// A warp per view: the sum of its partial gradients, through the normalisation of its row: the
/// length of a unit row is fixed, so that what points along it has no effect. `gradient_scale`:
/// what the products carried.
template <class Product>
struct ProjectRows {
  using Memory = SumMemory;
  template <class Block>
  WSP_KERNEL_CODE static void run(Block& block, Memory& memory, const ContrastiveWork& work) {
    const std::int64_t dim = work.problem.dim;
    const std::int64_t views = 2 * work.problem.n;
    block.each_thread([&](int thread) {
      const std::int64_t view = block.x * kWarps + thread / 32;
      float along = 0;
      if (view < views) {
        const std::int64_t row = padded_row(work, view);
        for (std::int64_t k = thread % 32; k < dim; k += 32) {
          float sum = 0;
          for (std::int64_t i = 0; i < work.splits; ++i)
            sum += work.partial[(i * 2 * work.slices + row) * work.dim + k];
          sum /= Product::kGradientScale;
          work.grad[view * dim + k] = sum;
          along += sum * (embedding(work, view * dim + k) / divisor(work.norm[row]));
        }
      }
      memory.part[thread] = along;
    });
    block.sync();
    block.each_thread([&](int thread) {
      const std::int64_t view = block.x * kWarps + thread / 32;
      if (view >= views) return;
      const float norm = work.norm[padded_row(work, view)];
      const float along = norm < 1e-12F ? 0 : sum_of_warp(memory, thread);
      const float factor =
          static_cast<float>(work.scale / work.problem.temperature) / divisor(norm);
      for (std::int64_t k = thread % 32; k < dim; k += 32) {
        const float unit = embedding(work, view * dim + k) / divisor(norm);
        work.grad[view * dim + k] = factor * (work.grad[view * dim + k] - unit * along);
      }
    });
  }

 private:
  WSP_KERNEL_CODE static std::int64_t padded_row(const ContrastiveWork& work, std::int64_t view) {
    return view < work.problem.n ? view : work.slices + view - work.problem.n;
  }
};

}  // namespace wsp::train
