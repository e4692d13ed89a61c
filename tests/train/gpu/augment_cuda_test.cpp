#include "train/kernels/augment_cuda.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "train/gpu/device_support.hpp"
#include "train/kernels/augment.hpp"
#include "train/kernels/half_bits.hpp"

namespace wsp::train::test {
namespace {

TEST(AugmentCuda, RefusesCountsWithoutMeaning) {
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{32769}})
    EXPECT_NE(augment_cuda(nullptr, nullptr, 1, 2, size, PixelType::f32, nullptr, nullptr), 0);
  EXPECT_NE(augment_cuda(nullptr, nullptr, 0, 2, 8, PixelType::f32, nullptr, nullptr), 0);
}

TEST(AugmentCuda, EqualsTheCpuBitForBitAndItsRounding) {
  WSP_SKIP_WITHOUT_CARD();
  const std::int64_t n = 5;
  const std::int64_t views = 2;
  for (const std::int64_t size : {1, 7, 160, 513}) {
    const auto pixels = static_cast<std::size_t>(n * size * size);
    std::mt19937 random(static_cast<std::uint32_t>(size));
    std::uniform_int_distribution<int> value(-100, 400);
    std::vector<std::int16_t> hu(pixels);
    for (auto& v : hu) v = static_cast<std::int16_t>(value(random));
    std::vector<Affine> affine;
    for (int view = 0; view < views; ++view)
      for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i)
        affine.push_back(compose_affine(draw_view({}, 1, 0, i, view), size));
    std::vector<float> expected(2 * pixels);
    augment_cpu(hu.data(), affine.data(), n, views, size, expected.data());

    const auto device_hu = on_device(pixels, hu.data());
    const auto device_affine = on_device(affine.size() * 6, affine.data()->data());
    const auto device_out = on_device<float>(2 * pixels);
    const auto draw = [&](PixelType type, void* out, std::size_t bytes) {
      const int code = augment_cuda(device_hu.get(), device_affine.get(), n, views, size, type,
                                    device_out.get(), nullptr);
      ASSERT_EQ(code, 0) << cuda_error_text(code);
      ASSERT_EQ(cudaMemcpy(out, device_out.get(), bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    };

    std::vector<float> exact(2 * pixels);
    draw(PixelType::f32, exact.data(), exact.size() * sizeof(float));
    EXPECT_EQ(exact, expected);
    std::vector<std::uint16_t> half(2 * pixels);
    draw(PixelType::bf16, half.data(), half.size() * sizeof(std::uint16_t));
    for (std::size_t i = 0; i < half.size(); ++i)
      ASSERT_NEAR(bfloat16_value(half[i]), expected[i], std::ldexp(expected[i], -8));
    draw(PixelType::f16, half.data(), half.size() * sizeof(std::uint16_t));
    for (std::size_t i = 0; i < half.size(); ++i)
      ASSERT_NEAR(half_value(half[i]), expected[i], std::ldexp(expected[i], -11) + 1e-7F);
  }
}

}  // namespace
}  // namespace wsp::train::test
