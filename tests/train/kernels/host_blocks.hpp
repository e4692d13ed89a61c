#pragma once
#include <array>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "train/kernels/contrastive_tile.hpp"

/// The blocks of contrastive_rows.hpp on the host, with the collectives of PTX (ISA, "Matrix
/// fragments for mma.m16n8k16", "ldmatrix") spelled out: the code of the CUDA kernels runs here
/// thread by thread.
namespace wsp::train::test {

using Words = std::array<std::uint32_t*, 32>;

/// ldmatrix.x4 of one warp: lane l names row l % 8 of matrix l / 8; word m of lane l gets elements
/// 2 (l % 4) and the next of row l / 4 of matrix m, transposed: of column l / 4.
inline void load_matrices_of_warp(const std::array<const std::uint16_t*, 32>& rows,
                                  const Words& words, MatrixOrder order) {
  for (std::size_t lane = 0; lane < 32; ++lane)
    for (std::size_t m = 0; m < 4; ++m) {
      const auto element = [&](std::size_t i) {
        const std::size_t pair = 2 * (lane % 4) + i;
        return order == MatrixOrder::transposed ? rows[8 * m + pair][lane / 4]
                                                : rows[8 * m + lane / 4][pair];
      };
      words[lane][m] = element(0) | static_cast<std::uint32_t>(element(1)) << 16;
    }
}

inline float half_of_word(std::uint32_t word, std::size_t i) {
  return half_value(static_cast<std::uint16_t>(word >> (16 * i)));
}

/// mma.m16n8k16 with halves and float32 sums, of one warp.
inline void multiply_of_warp(const std::array<float*, 32>& c,
                             const std::array<const std::uint32_t*, 32>& a,
                             const std::array<const std::uint32_t*, 32>& b) {
  float left[16][16], right[16][8];
  for (std::size_t lane = 0; lane < 32; ++lane)
    for (std::size_t word = 0; word < 4; ++word)
      for (std::size_t i = 0; i < 2; ++i) {
        const std::size_t k = 2 * (lane % 4) + i;
        left[lane / 4 + 8 * (word % 2)][k + 8 * (word / 2)] = half_of_word(a[lane][word], i);
        if (word < 2) right[k + 8 * word][lane / 4] = half_of_word(b[lane][word], i);
      }
  for (std::size_t lane = 0; lane < 32; ++lane)
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t k = 0; k < 16; ++k)
        c[lane][i] += left[lane / 4 + 8 * (i / 2)][k] * right[k][2 * (lane % 4) + i % 2];
}

/// One host thread runs all threads of a block, one after another between two calls of the block.
class SerialBlock {
 public:
  std::int64_t x = 0, y = 0, z = 0;

  template <class T>
  struct PerThread {
    std::vector<T> values = std::vector<T>(kBlockThreads);
    T& operator[](int thread) { return values[static_cast<std::size_t>(thread)]; }
  };

  template <class F>
  void each_thread(F&& f) {
    for (int thread = 0; thread < kBlockThreads; ++thread) f(thread);
  }
  void sync() {}

  template <class Get, class Set>
  void exchange(Get&& get, Set&& set, int mask) {
    std::array<float, kBlockThreads> values{};
    each_thread([&](int t) { values[static_cast<std::size_t>(t)] = get(t); });
    each_thread([&](int t) { set(t, values[static_cast<std::size_t>(t ^ mask)]); });
  }
  template <MatrixOrder kOrder, class Row, class W>
  void load_matrices(Row&& row, W&& words) {
    for (int warp = 0; warp < kWarps; ++warp)
      load_matrices_of_warp(lanes<const std::uint16_t*>(warp, row),
                            lanes<std::uint32_t*>(warp, words), kOrder);
  }
  template <class C, class A, class B>
  void multiply(C&& c, A&& a, B&& b) {
    for (int warp = 0; warp < kWarps; ++warp)
      multiply_of_warp(lanes<float*>(warp, c), lanes<const std::uint32_t*>(warp, a),
                       lanes<const std::uint32_t*>(warp, b));
  }

 private:
  template <class T, class F>
  static std::array<T, 32> lanes(int warp, F&& f) {
    std::array<T, 32> values{};
    for (int lane = 0; lane < 32; ++lane)
      values[static_cast<std::size_t>(lane)] = f(32 * warp + lane);
    return values;
  }
};

/// A host thread for each thread of a block, as on a card; sync() is a barrier of all, a collective
/// one of the warp. For ThreadSanitizer: it sees what a forgotten sync() leaves unordered.
class ParallelBlock {
 public:
  struct Shared {
    std::barrier<> all{kBlockThreads};
    std::array<std::barrier<>, kWarps> of_warp{std::barrier<>{32}, std::barrier<>{32},
                                               std::barrier<>{32}, std::barrier<>{32}};
    std::array<const std::uint16_t*, kBlockThreads> row{};
    std::array<std::uint32_t*, kBlockThreads> words{};
    std::array<float*, kBlockThreads> c{};
    std::array<const std::uint32_t*, kBlockThreads> a{}, b{};
    std::array<float, kBlockThreads> value{};
  };

  std::int64_t x, y, z;
  ParallelBlock(Shared& shared, int thread, std::int64_t grid_x, std::int64_t grid_y,
                std::int64_t grid_z)
      : x(grid_x), y(grid_y), z(grid_z), shared_(shared), thread_(thread) {}

  template <class T>
  struct PerThread {
    std::unique_ptr<T> value = std::make_unique<T>();
    T& operator[](int) { return *value; }
  };

  template <class F>
  void each_thread(F&& f) {
    f(thread_);
  }
  void sync() { shared_.all.arrive_and_wait(); }

  template <class Get, class Set>
  void exchange(Get&& get, Set&& set, int mask) {
    at(shared_.value) = get(thread_);
    together([] {});
    const float other = shared_.value[static_cast<std::size_t>(thread_ ^ mask)];
    together([] {});
    set(thread_, other);
  }
  template <MatrixOrder kOrder, class Row, class W>
  void load_matrices(Row&& row, W&& words) {
    at(shared_.row) = row(thread_);
    at(shared_.words) = words(thread_);
    together([&] { load_matrices_of_warp(lanes(shared_.row), lanes(shared_.words), kOrder); });
  }
  template <class C, class A, class B>
  void multiply(C&& c, A&& a, B&& b) {
    at(shared_.c) = c(thread_);
    at(shared_.a) = a(thread_);
    at(shared_.b) = b(thread_);
    together([&] { multiply_of_warp(lanes(shared_.c), lanes(shared_.a), lanes(shared_.b)); });
  }

 private:
  template <class T>
  T& at(std::array<T, kBlockThreads>& values) {
    return values[static_cast<std::size_t>(thread_)];
  }
  template <class T>
  std::array<T, 32> lanes(const std::array<T, kBlockThreads>& values) const {
    std::array<T, 32> own{};
    std::copy_n(values.begin() + thread_ / 32 * 32, 32, own.begin());
    return own;
  }
  /// Wait for the warp, let its first thread work, wait again.
  template <class F>
  void together(F&& work) {
    std::barrier<>& warp = shared_.of_warp[static_cast<std::size_t>(thread_ / 32)];
    warp.arrive_and_wait();
    if (thread_ % 32 == 0) work();
    warp.arrive_and_wait();
  }

  Shared& shared_;
  int thread_;
};

/// Run passes block by block; memory starts with what is no number.
struct SerialLaunch {
  const ContrastiveWork& work;

  template <class Pass>
  int pass(std::int64_t x, std::int64_t y, std::int64_t z) const {
    const auto memory = std::make_unique<typename Pass::Memory>();
    SerialBlock block;
    for (block.z = 0; block.z < z; ++block.z)
      for (block.y = 0; block.y < y; ++block.y)
        for (block.x = 0; block.x < x; ++block.x) {
          std::memset(static_cast<void*>(memory.get()), 0xff, sizeof(*memory));
          Pass::run(block, *memory, work);
        }
    return 0;
  }
};

struct ParallelLaunch {
  const ContrastiveWork& work;

  template <class Pass>
  int pass(std::int64_t x, std::int64_t y, std::int64_t z) const {
    const auto memory = std::make_unique<typename Pass::Memory>();
    ParallelBlock::Shared shared;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kBlockThreads; ++thread)
      threads.emplace_back([&, thread] {
        for (std::int64_t i = 0; i < x * y * z; ++i) {
          ParallelBlock block(shared, thread, i % x, i / x % y, i / x / y);
          Pass::run(block, *memory, work);
          block.sync();
        }
      });
    for (std::thread& thread : threads) thread.join();
    return 0;
  }
};

}  // namespace wsp::train::test
