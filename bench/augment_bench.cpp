// The fused augmentation and the losses on the CPU. Bytes counted once: the source read, the
// views written.
#include <benchmark/benchmark.h>
#include <tbb/global_control.h>

#include <random>
#include <vector>

#include "train/kernels/augment.hpp"
#include "train/kernels/contrastive.hpp"
#include "train/kernels/rank_contrast.hpp"

namespace {

using namespace wsp::train;

/// Arguments: side of the images, threads.
void augmentation(benchmark::State& state) {
  const std::int64_t size = state.range(0);
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(state.range(1)));
  const std::int64_t n = 16;
  const auto pixels = static_cast<std::size_t>(n * size * size);
  std::mt19937 random(1);
  std::uniform_int_distribution<int> value(-100, 400);
  std::vector<std::int16_t> hu(pixels);
  for (auto& v : hu) v = static_cast<std::int16_t>(value(random));
  std::vector<Affine> affine;
  for (int view = 0; view < 2; ++view)
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i)
      affine.push_back(compose_affine(draw_view({}, 1, 0, i, view), size));
  std::vector<float> out(2 * pixels);
  for (auto _ : state) {
    augment_cpu(hu.data(), affine.data(), n, 2, size, out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * 2 * n);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(pixels) * (2 + 2 * 4));
}
BENCHMARK(augmentation)
    ->ArgsProduct({{160, 512}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

/// Arguments: slices of the batch, tile.
void contrastive_loss(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const std::int64_t dim = 128;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  std::vector<float> z(static_cast<std::size_t>(2 * n * dim));
  for (auto& v : z) v = normal(random);
  std::vector<std::int64_t> label(static_cast<std::size_t>(n));
  std::vector<double> depth(static_cast<std::size_t>(n));
  for (auto& v : label) v = static_cast<std::int64_t>(random() % 4);
  for (auto& v : depth) v = uniform(random);
  ContrastiveProblem<float> problem;
  problem.z = z.data();
  problem.n = n;
  problem.dim = dim;
  problem.label = label.data();
  problem.depth = depth.data();
  std::vector<float> grad(z.size());
  for (auto _ : state)
    benchmark::DoNotOptimize(contrastive_loss_cpu(problem, state.range(1), grad.data()));
}
BENCHMARK(contrastive_loss)
    ->ArgsProduct({{64, 1024}, {64, 256}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

/// Arguments: slices of the batch; true: L^exp, false: Rank-N-Contrast, which takes the
/// representation of 512 numbers.
void loss_of_a_number(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const bool exponential = state.range(1) != 0;
  const std::int64_t dim = exponential ? 128 : 512;
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::vector<float> z(static_cast<std::size_t>(2 * n * dim));
  for (auto& v : z) v = static_cast<float>(normal(random));
  std::vector<double> value(static_cast<std::size_t>(n));
  for (auto& v : value) v = 60 + 10 * normal(random);
  const double sigma = 5;
  ContrastiveProblem<float> weighed;
  weighed.z = z.data();
  weighed.n = n;
  weighed.dim = dim;
  weighed.label_matters = false;
  weighed.continuous = value.data();
  weighed.continuous_sigma = &sigma;
  weighed.continuous_columns = 1;
  weighed.weighted_repulsion = true;
  const RankContrastProblem<float> ranked{z.data(), n, dim, value.data()};
  std::vector<float> grad(z.size());
  for (auto _ : state)
    benchmark::DoNotOptimize(exponential ? contrastive_loss_cpu(weighed, 64, grad.data())
                                         : rank_contrast_loss_cpu(ranked, 64, grad.data()));
}
BENCHMARK(loss_of_a_number)
    ->ArgsProduct({{64, 256, 1024}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
