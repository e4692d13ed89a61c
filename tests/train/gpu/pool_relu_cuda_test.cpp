#include "train/kernels/pool_relu_cuda.hpp"

#include <gtest/gtest.h>

#include "train/gpu/device_support.hpp"
#include "train/kernels/augment_cuda.hpp"
#include "train/kernels/pool_relu_batch.hpp"

namespace wsp::train::test {
namespace {

TEST(PoolReluCuda, RefusesSizesWithoutMeaning) {
  for (const PoolShape s : {PoolShape{0, 1, 4, 4}, PoolShape{1, 0, 4, 4}, PoolShape{1, 1, 1, 4},
                            PoolShape{1, 1, 4, 1}}) {
    EXPECT_NE(bias_relu_pool_cuda(s, PixelType::f32, nullptr, nullptr, nullptr, nullptr, nullptr),
              0);
    EXPECT_NE(bias_relu_pool_backward_cuda(s, PixelType::f32, nullptr, nullptr, nullptr, nullptr),
              0);
  }
}

template <PixelType kType>
void expect_the_reference(const PoolShape& s) {
  using Type = Stored<kType>;
  using Bits = typename Type::Bits;
  const PoolBatch<kType> batch(s, 3);
  const PoolExpected<kType> expected(batch);
  const std::size_t outputs = expected.out.size(), inputs = expected.conv_gradient.size();

  const auto conv = on_device(batch.conv), gradient = on_device(batch.gradient);
  const auto bias = on_device(batch.bias);
  const auto out = on_device<Bits>(outputs), conv_gradient = on_device<Bits>(inputs);
  const auto winner = on_device<std::uint8_t>(outputs);
  int code =
      bias_relu_pool_cuda(s, kType, conv.get(), bias.get(), out.get(), winner.get(), nullptr);
  ASSERT_EQ(code, 0) << cuda_error_text(code);
  code = bias_relu_pool_backward_cuda(s, kType, gradient.get(), winner.get(), conv_gradient.get(),
                                      nullptr);
  ASSERT_EQ(code, 0) << cuda_error_text(code);
  expected.expect(on_host(out.get(), outputs), on_host(winner.get(), outputs),
                  on_host(conv_gradient.get(), inputs));
}

TEST(PoolReluCuda, EqualsTheReferenceBitForBit) {
  WSP_SKIP_WITHOUT_CARD();
  auto shapes = pool_shapes();
  for (const bool channels_last : {false, true}) shapes.push_back({4, 16, 508, 508, channels_last});
  for (const PoolShape& s : shapes) {
    SCOPED_TRACE(testing::Message() << s.n << " x " << s.c << " x " << s.h << " x " << s.w
                                    << (s.channels_last ? ", channels last" : ""));
    expect_the_reference<PixelType::f32>(s);
    expect_the_reference<PixelType::bf16>(s);
    expect_the_reference<PixelType::f16>(s);
  }
}

}  // namespace
}  // namespace wsp::train::test
