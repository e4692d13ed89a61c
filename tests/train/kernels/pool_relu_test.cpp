#include "train/kernels/pool_relu.hpp"

#include <gtest/gtest.h>

#include "train/kernels/pool_relu_batch.hpp"
#include "train/kernels/pool_relu_pixel.hpp"
#include "train/kernels/pooled_conv.hpp"

namespace wsp::train::test {
namespace {

// A card's grid on the host: every thread once, what it writes seen.
template <PixelType kType, int kVector>
void run_on_host(const PoolBatch<kType>& batch, std::vector<typename Stored<kType>::Bits>& out,
                 std::vector<std::uint8_t>& winner,
                 std::vector<typename Stored<kType>::Bits>& conv_gradient) {
  const PoolShape& s = batch.shape;
  PoolGrid grid = pool_grid(s, kVector, false);
  for (std::int64_t row = 0; row < grid.rows; ++row)
    for (std::int64_t place = 0; place < grid.places; ++place)
      bias_relu_pool_at<kType, kVector>(s, row, place, batch.conv.data(), batch.bias.data(),
                                        out.data(), winner.data());
  grid = pool_grid(s, kVector, true);
  for (std::int64_t row = 0; row < grid.rows; ++row)
    for (std::int64_t place = 0; place < grid.places; ++place)
      bias_relu_pool_backward_at<kType, kVector>(s, row, place, batch.gradient.data(),
                                                 winner.data(), conv_gradient.data());
}

template <PixelType kType>
void expect_the_reference(const PoolShape& s, std::uint32_t seed) {
  using Type = Stored<kType>;
  SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(kType) << ", " << s.n << " x "
                                  << s.c << " x " << s.h << " x " << s.w
                                  << (s.channels_last ? ", channels last" : ""));
  const PoolBatch<kType> batch(s, seed);
  const PoolExpected<kType> expected(batch);
  const std::size_t outputs = expected.out.size(), inputs = expected.conv_gradient.size();

  for (const bool packed : {false, true}) {
    constexpr int kMost = kType == PixelType::f32 ? 4 : 8;
    if (packed && pool_vector(s, kType, true) == 1) continue;
    // Not a number where nothing was written: every value must be.
    const auto unwritten = Type::bits(std::numeric_limits<float>::quiet_NaN());
    std::vector<typename Type::Bits> out(outputs, unwritten), gradient(inputs, unwritten);
    std::vector<std::uint8_t> winner(outputs, 99);
    if (packed)
      run_on_host<kType, kMost>(batch, out, winner, gradient);
    else
      run_on_host<kType, 1>(batch, out, winner, gradient);
    expected.expect(out, winner, gradient);
  }
}

TEST(BiasReluPool, AThreadsWorkIsTheReference) {
  std::uint32_t seed = 1;
  int packed = 0;
  for (const PoolShape& s : pool_shapes()) {
    expect_the_reference<PixelType::f32>(s, ++seed);
    expect_the_reference<PixelType::bf16>(s, ++seed);
    expect_the_reference<PixelType::f16>(s, ++seed);
    packed += pool_vector(s, PixelType::bf16, true) > 1;
  }
  EXPECT_EQ(packed, 2);
  EXPECT_EQ(pool_vector({1, 16, 4, 4, true}, PixelType::f32, true), 4);
  EXPECT_EQ(pool_vector({1, 16, 4, 4, true}, PixelType::f32, false), 1);
  EXPECT_EQ(pool_vector({1, 16, 4, 4, false}, PixelType::f32, true), 1);
}

TEST(BiasReluPool, HandMadeWindows) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const PoolShape s{1, 1, 2, 10};
  const std::vector<float> conv{1, 3, -1, -2, 2, 2, nan, 9, -4, -4,  //
                                2, 0, -3, -1, 2, 2, 5,   1, -4, -3};
  const float bias = 0.5F;
  std::vector<float> out(5), gradient(20);
  std::vector<std::uint8_t> winner(5);
  bias_relu_pool_cpu(s, conv.data(), &bias, out.data(), winner.data());
  EXPECT_EQ(winner, (std::vector<std::uint8_t>{1, 4, 0, 0, 4}));
  EXPECT_EQ(out[0], 3.5F);
  EXPECT_EQ(out[1], 0);
  EXPECT_EQ(out[2], 2.5F);
  EXPECT_TRUE(std::isnan(out[3]));
  EXPECT_EQ(out[4], 0);
  const std::vector<float> of_out{10, 20, 30, 40, 50};
  bias_relu_pool_backward_cpu(s, of_out.data(), winner.data(), gradient.data());
  EXPECT_EQ(gradient, (std::vector<float>{0, 10, 0, 0, 30, 0, 40, 0, 0, 0,  //
                                          0, 0,  0, 0, 0,  0, 0,  0, 0, 0}));
}

// The CPU's own pooling, made for AVX2, has no bias; otherwise it is the same function.
TEST(BiasReluPool, IsThePoolingOfTheCpuPath) {
  PooledConv layer;
  layer.n = 2;
  layer.in_h = 15;
  layer.in_w = 18;
  layer.in_c = 16;
  layer.out_c = 32;
  if (!pooled_conv_served(layer)) GTEST_SKIP() << "this processor has no AVX2";
  const PoolShape s{layer.n, layer.out_c, layer.conv_h(), layer.conv_w(), true};
  PoolBatch<PixelType::f32> batch(s, 5);
  const auto count = static_cast<std::size_t>(s.out_values());
  std::vector<float> ours(count), theirs(count);
  std::vector<std::uint8_t> our_winner(count), their_winner(count);
  const std::vector<float> none(static_cast<std::size_t>(s.c), 0.0F);
  bias_relu_pool_cpu(s, batch.conv.data(), none.data(), ours.data(), our_winner.data());
  pool_relu(layer, 0, layer.n, batch.conv.data(), theirs.data(), their_winner.data());
  EXPECT_EQ(our_winner, their_winner);
  for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(same_number(ours[i], theirs[i])) << i;
}

}  // namespace
}  // namespace wsp::train::test
