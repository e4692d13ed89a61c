#include "train/kernels/contrastive_cuda.hpp"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "train/gpu/device_support.hpp"
#include "train/kernels/augment_cuda.hpp"
#include "train/kernels/contrastive_batch.hpp"
#include "train/kernels/contrastive_reference.hpp"
#include "train/kernels/half_bits.hpp"

namespace wsp::train::test {
namespace {

/// A batch on the card; its embeddings are rounded to `type`, on both sides.
class DeviceBatch {
 public:
  DeviceBatch(Batch batch, EmbeddingType type) : batch_(std::move(batch)), type_(type) {
    for (double& value : batch_.z) {
      const auto narrow = static_cast<float>(value);
      floats_.push_back(narrow);
      std::uint32_t wide = 0;
      std::memcpy(&wide, &narrow, sizeof wide);
      const auto upper = static_cast<std::uint16_t>(wide >> 16);
      halves_.push_back(type == EmbeddingType::bf16 ? upper : half_bits(narrow));
      value = static_cast<double>(type == EmbeddingType::f32    ? narrow
                                  : type == EmbeddingType::bf16 ? bfloat16_value(upper)
                                                                : half_value(halves_.back()));
    }
    z_ = on_device(floats_);
    half_z_ = on_device(halves_);
    depth_ = on_device(batch_.depth);
    label_ = on_device(batch_.label);
    discrete_ = on_device(batch_.discrete);
    continuous_ = on_device(batch_.continuous);
  }

  [[nodiscard]] const Batch& host() const { return batch_; }

  /// Loss and gradient of what `p`, a problem of host(), describes; as bits are wanted, unrounded.
  Evaluated evaluate(const ContrastiveProblem<double>& p, ContrastivePrecision precision) const {
    auto problem = with_embeddings(
        p, type_ == EmbeddingType::f32 ? static_cast<const void*>(z_.get()) : half_z_.get());
    if (p.label != nullptr) problem.label = label_.get();
    if (p.depth != nullptr) problem.depth = depth_.get();
    problem.discrete = discrete_.get();
    problem.continuous = continuous_.get();
    const auto entries = static_cast<std::size_t>(2 * p.n * p.dim);
    const auto workspace = on_device<unsigned char>(contrastive_cuda_workspace(problem, precision));
    const auto loss = on_device<double>(1);
    const auto grad = on_device<float>(entries);
    const int code = contrastive_cuda(problem, type_, precision, loss.get(), grad.get(),
                                      workspace.get(), nullptr);
    EXPECT_EQ(code, 0) << cuda_error_text(code);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    Evaluated result;
    result.loss = on_host(loss.get(), 1).front();
    const auto values = on_host(grad.get(), entries);
    result.grad.assign(values.begin(), values.end());
    return result;
  }

 private:
  Batch batch_;
  EmbeddingType type_;
  std::vector<float> floats_;
  std::vector<std::uint16_t> halves_;
  OnDevice<float> z_;
  OnDevice<std::uint16_t> half_z_;
  OnDevice<double> depth_, continuous_;
  OnDevice<std::int64_t> label_, discrete_;
};

void expect_close(const Evaluated& found, const Evaluated& expected, double of_loss,
                  double of_grad) {
  EXPECT_NEAR(found.loss, expected.loss, of_loss * (1 + std::abs(expected.loss)));
  double largest = 1e-3;
  double worst = 0;
  for (std::size_t i = 0; i < expected.grad.size(); ++i) {
    ASSERT_TRUE(std::isfinite(found.grad[i])) << "entry " << i;
    largest = std::max(largest, std::abs(expected.grad[i]));
    worst = std::max(worst, std::abs(found.grad[i] - expected.grad[i]));
  }
  EXPECT_LE(worst, of_grad * largest);
}

constexpr double kLossTolerance[] = {1e-5, 1e-3};  // of exact and tensor
constexpr double kGradTolerance[] = {1e-5, 1e-2};

TEST(ContrastiveCuda, RefusesWhatHasNoMeaning) {
  ContrastiveProblem<void> p;
  EXPECT_EQ(contrastive_cuda_workspace(p, ContrastivePrecision::exact), 0);
  EXPECT_NE(contrastive_cuda(p, EmbeddingType::f32, ContrastivePrecision::exact, nullptr, nullptr,
                             nullptr, nullptr),
            0);
}

TEST(ContrastiveCuda, EqualsTheReferenceOverTheFamily) {
  WSP_SKIP_WITHOUT_CARD();
  struct Size {
    std::int64_t n, dim;
  };
  for (const Size size : {Size{1, 3}, Size{5, 6}, Size{64, 128}, Size{70, 130}, Size{130, 20},
                          Size{300, 512}, Size{777, 64}})
    for (int number = 0; number < kVariants; ++number)
      for (const auto normalisation : {Normalisation::paper, Normalisation::reference})
        for (const auto type : {EmbeddingType::f32, EmbeddingType::bf16, EmbeddingType::f16}) {
          if (size.n > 130 && type != EmbeddingType::bf16) continue;
          const DeviceBatch batch(
              Batch(static_cast<std::uint32_t>(31 * size.n + number), size.n, size.dim, 3), type);
          auto p = variant(batch.host(), number);
          p.normalisation = normalisation;
          const Evaluated expected = evaluate(p, 64, 16);
          for (const auto precision : {ContrastivePrecision::exact, ContrastivePrecision::tensor}) {
            const bool tensor = precision == ContrastivePrecision::tensor;
            if (number == 8 && tensor)
              continue;  // a temperature of 0.001 is not for half precision
            SCOPED_TRACE("n " + std::to_string(size.n) + " dim " + std::to_string(size.dim) +
                         " variant " + std::to_string(number) + (tensor ? " tensor" : " exact"));
            const double wider = number == 8 ? 50 : 1;  // similarities reach 1,000
            expect_close(batch.evaluate(p, precision), expected, wider * kLossTolerance[tensor],
                         wider * kGradTolerance[tensor]);
          }
        }
}

/// Views at the ends and at the seams of blocks, and others spread over the batch.
std::vector<std::int64_t> some_views(std::int64_t n) {
  std::vector<std::int64_t> views = {0, 63, 64, n - 1, n, n + 64, 2 * n - 65, 2 * n - 1};
  std::mt19937 random(11);
  std::uniform_int_distribution<std::int64_t> any(0, 2 * n - 1);
  while (views.size() < 64) views.push_back(any(random));
  return views;
}

class LargeBatch : public testing::TestWithParam<std::int64_t> {};
INSTANTIATE_TEST_SUITE_P(ContrastiveCuda, LargeBatch, testing::Values(4096, 8192, 16384),
                         [](const auto& test) { return std::to_string(2 * test.param) + "Rows"; });

TEST_P(LargeBatch, EqualsTheReferenceAndRepeatsBitForBit) {
  WSP_SKIP_WITHOUT_CARD();
  constexpr std::size_t kDim = 128;
  const std::int64_t n = GetParam();
  const DeviceBatch batch(Batch(7, n, kDim, 4), EmbeddingType::bf16);
  auto p = batch.host().problem();
  p.sigma = 0.1;
  p.temperature = 0.1;
  // Minutes in float64 for every entry of the largest: the loss of all, the gradient of some views.
  const auto views = some_views(n);
  const Evaluated expected = evaluate_at(p, views, 16);
  for (const auto precision : {ContrastivePrecision::exact, ContrastivePrecision::tensor}) {
    const bool tensor = precision == ContrastivePrecision::tensor;
    const Evaluated once = batch.evaluate(p, precision);
    // Entries are of the order of 1 / n: relative to the largest, not to 1e-3.
    double largest = 0, worst = 0;
    for (std::size_t row = 0; row < views.size(); ++row)
      for (std::size_t k = 0; k < kDim; ++k) {
        const double entry = expected.grad[row * kDim + k];
        largest = std::max(largest, std::abs(entry));
        worst = std::max(
            worst, std::abs(once.grad[static_cast<std::size_t>(views[row]) * kDim + k] - entry));
      }
    EXPECT_NEAR(once.loss, expected.loss, kLossTolerance[tensor] * expected.loss);
    EXPECT_LE(worst, kGradTolerance[tensor] * largest);
    EXPECT_TRUE(std::all_of(once.grad.begin(), once.grad.end(), [&](double entry) {
      return std::abs(entry) <= 4 * largest;  // none of the others is wild
    }));
    std::cout << "n " << n << (tensor ? " tensor" : " exact") << ": loss off by "
              << std::abs(once.loss - expected.loss) << ", gradient by " << worst / largest
              << " of its largest entry\n";
    const Evaluated again = batch.evaluate(p, precision);
    EXPECT_EQ(once.loss, again.loss);
    EXPECT_EQ(once.grad, again.grad);
  }
}

TEST(ContrastiveCuda, ANaNIsNotHidden) {
  WSP_SKIP_WITHOUT_CARD();
  Batch batch(3, 40, 24, 2);
  batch.z[7] = std::numeric_limits<double>::quiet_NaN();
  const DeviceBatch on_card(batch, EmbeddingType::f32);
  for (const auto precision : {ContrastivePrecision::exact, ContrastivePrecision::tensor})
    EXPECT_FALSE(std::isfinite(on_card.evaluate(on_card.host().problem(), precision).loss));
}

}  // namespace
}  // namespace wsp::train::test
