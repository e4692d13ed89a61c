// The threads of the CUDA kernels on the host, where what they index lies beyond 2^31 values and
// 2^32 bytes: the same results as near by.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "train/kernels/augment.hpp"
#include "train/kernels/augment_thread.hpp"
#include "train/kernels/contrastive_batch.hpp"
#include "train/kernels/contrastive_reference.hpp"
#include "train/kernels/far_memory.hpp"
#include "train/kernels/host_blocks.hpp"
#include "train/kernels/pool_relu_pixel.hpp"

namespace wsp::train::test {
namespace {

constexpr std::int64_t k2To31 = std::int64_t{1} << 31;

template <PixelType kType>
void expect_far_view() {
  using Bits = typename Stored<kType>::Bits;
  const std::int32_t size = 32768;  // the largest
  const std::int64_t pixels = std::int64_t{size} * size, image = 2, target = 3;
  const FarMemory source(static_cast<std::size_t>(3 * pixels) * sizeof(std::int16_t));
  const FarMemory out(static_cast<std::size_t>(4 * pixels) * sizeof(Bits));
  if (!source.there() || !out.there()) GTEST_SKIP() << "this system reserves no such memory";
  ASSERT_GE(image * pixels, k2To31);
  const Affine turned{0.5F, 0.25F, 8000, -0.25F, 0.5F, 20000};
  const FixedAffine map = to_fixed(turned.data());
  const std::uint32_t last = augment_runs<kType>(size) - 1;
  for (const std::uint32_t run : {std::uint32_t{0}, std::uint32_t{77777}, last}) {
    const std::int64_t first = std::int64_t{run} * kAugmentRun<kType>;
    const std::int64_t y = first / size, x = first % size;
    // The pixels that the run is drawn from are no zeros.
    const SourcePoint from = source_point(source_x(map, x, y), source_y(map, x, y));
    for (std::int64_t dy = -8; dy <= 8; ++dy)
      for (std::int64_t dx = -8; dx <= 8; ++dx)
        if (const std::int64_t sx = from.x + dx, sy = from.y + dy;
            sx >= 0 && sy >= 0 && sx < size && sy < size)
          source.as<std::int16_t>()[image * pixels + sy * size + sx] =
              static_cast<std::int16_t>(100 + 7 * dx + 3 * dy);
    augment_run<kType, true>(source.as<std::int16_t>(), image, size, map, run, out.as<Bits>(),
                             target);
    for (std::int64_t i = 0; i < kAugmentRun<kType>; ++i) {
      const float expected =
          augment_pixel(source.as<std::int16_t>() + image * pixels, size, map, x + i, y);
      EXPECT_EQ(out.as<Bits>()[target * pixels + first + i], Stored<kType>::bits(expected));
      EXPECT_NE(expected, 0) << "it must be seen that something was drawn";
    }
  }
}

TEST(FarAugmentation, AnImageBeyondTheFirst4GiB) {
  expect_far_view<PixelType::f32>();
  expect_far_view<PixelType::bf16>();
}

template <PixelType kType, int kVector>
void expect_far_pooling(bool channels_last) {
  using Bits = typename Stored<kType>::Bits;
  const PoolShape near{1, 16, 65, 64, channels_last};
  PoolShape far = near;
  far.n = 2 * k2To31 / (16 * 65 * 64) + 1;  // the last image begins where the halves pass 2^32
  const auto values = [](const PoolShape& s) { return s.n * s.c * s.h * s.w; };
  const auto outputs = [](const PoolShape& s) { return s.n * s.c * s.out_h() * s.out_w(); };
  const auto bytes = [](std::int64_t count, std::size_t each) {
    return static_cast<std::size_t>(count) * each;
  };
  const FarMemory conv(bytes(values(far), sizeof(Bits))), out(bytes(outputs(far), sizeof(Bits))),
      back(bytes(values(far), sizeof(Bits))), winner(bytes(outputs(far), 1));
  if (!conv.there() || !out.there() || !back.there() || !winner.there())
    GTEST_SKIP() << "this system reserves no such memory";
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<Bits> map(static_cast<std::size_t>(values(near)));
  for (Bits& value : map) value = Stored<kType>::bits(normal(random));
  std::vector<float> bias(16);
  for (float& value : bias) value = normal(random);
  const std::int64_t image = values(near), pooled = outputs(near);
  std::copy(map.begin(), map.end(), conv.as<Bits>() + (far.n - 1) * image);

  std::vector<Bits> near_out(static_cast<std::size_t>(pooled)), near_back(map.size());
  std::vector<std::uint8_t> near_winner(near_out.size());
  const auto run = [&](const PoolShape& s, const Bits* from, Bits* to, std::uint8_t* won,
                       Bits* gradient) {
    for (const bool backward : {false, true}) {
      const PoolGrid grid = pool_grid(s, kVector, backward);
      for (std::int64_t row = grid.rows - grid.rows / s.n; row < grid.rows; ++row)
        for (std::int64_t place = 0; place < grid.places; ++place)
          if (backward)
            bias_relu_pool_backward_at<kType, kVector>(s, row, place, to, won, gradient);
          else
            bias_relu_pool_at<kType, kVector>(s, row, place, from, bias.data(), to, won);
    }
  };
  run(near, map.data(), near_out.data(), near_winner.data(), near_back.data());
  run(far, conv.as<Bits>(), out.as<Bits>(), winner.as<std::uint8_t>(), back.as<Bits>());
  const auto same = [&](const auto& expected, const auto* found, std::int64_t each) {
    return std::equal(expected.begin(), expected.end(), found + (far.n - 1) * each);
  };
  EXPECT_TRUE(same(near_out, out.as<Bits>(), pooled));
  EXPECT_TRUE(same(near_winner, winner.as<std::uint8_t>(), pooled));
  EXPECT_TRUE(same(near_back, back.as<Bits>(), image));
  EXPECT_GT(std::count_if(near_back.begin(), near_back.end(), [](Bits b) { return b != 0; }), 0);
}

TEST(FarPooling, AnImageBeyondTheFirst4GiB) {
  expect_far_pooling<PixelType::bf16, 8>(true);
  expect_far_pooling<PixelType::bf16, 1>(false);
  expect_far_pooling<PixelType::f32, 4>(true);
}

/// The blocks of a grid that have rows below 64 in either view.
struct FarLaunch {
  const ContrastiveWork& work;

  template <class Pass>
  int pass(std::int64_t x, std::int64_t y, std::int64_t z) const {
    const auto memory = std::make_unique<typename Pass::Memory>();
    const std::int64_t near = std::max<std::int64_t>(1, x * kRowSlices / work.slices);
    SerialBlock block;
    for (block.z = 0; block.z < z; ++block.z)
      for (block.y = 0; block.y < y; ++block.y)
        for (block.x = 0; block.x < x; ++block.x) {
          if (x > 64 && block.x == near) block.x = x / 2;
          if (x > 64 && block.x == x / 2 + near) break;
          Pass::run(block, *memory, work);
        }
    return 0;
  }
};

TEST(FarContrastive, RowsBeyondTheFirst2To31Values) {
  const std::int64_t n = 40, dim = 1024;
  Batch batch(5, n, dim, 3);
  const std::vector<float> z(batch.z.begin(), batch.z.end());
  const auto problem = with_embeddings(batch.problem(), z.data());
  for (const auto precision : {ContrastivePrecision::exact, ContrastivePrecision::tensor}) {
    double near_loss = 0;
    std::vector<float> near_grad;
    for (const bool far : {false, true}) {
      ContrastiveWork work{};
      ASSERT_TRUE(plan_contrastive(problem, work));
      if (far) work.slices = k2To31 / dim;  // the second view begins there
      const FarMemory workspace(lay_out(work, precision, nullptr));
      if (!workspace.there()) GTEST_SKIP() << "this system reserves no such memory";
      lay_out(work, precision, workspace.as<void>());
      std::vector<float> grad(static_cast<std::size_t>(2 * n * dim), -7);
      double loss = 0;
      work.type = EmbeddingType::f32;
      work.loss = &loss;
      work.grad = grad.data();
      const FarLaunch launch{work};
      ASSERT_EQ(precision == ContrastivePrecision::tensor
                    ? run_contrastive<TensorProduct>(work, launch)
                    : run_contrastive<ExactProduct>(work, launch),
                0);
      if (far) {
        EXPECT_NEAR(loss, near_loss, 1e-12 * near_loss);  // summed by other threads
        EXPECT_EQ(grad, near_grad);
      }
      near_loss = loss;
      near_grad = grad;
    }
    EXPECT_GT(near_loss, 0.1);
  }
}

}  // namespace
}  // namespace wsp::train::test
