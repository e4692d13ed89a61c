#include "train/unet/augment.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "io/core/error.hpp"
#include "train/unet/loss.hpp"
#include "train/unet/schedule.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kSide = 64;

UNetConfig geometry_only() {
  UNetConfig config;
  config.augment_probability = 1;
  config.gain = config.offset = config.gamma = config.noise = 0;
  config.max_angle_deg = 40;
  config.seed = 7;
  return config;
}

std::vector<PairParameters> drawn(const UNetConfig& config, std::int64_t n,
                                  std::uint64_t epoch = 0) {
  std::vector<PairParameters> parameters;
  for (std::int64_t i = 0; i < n; ++i)
    parameters.push_back(draw_pair(config, epoch, static_cast<std::uint64_t>(i)));
  return parameters;
}

/// An L-shape: neither a flip nor a turn brings it onto itself.
torch::Tensor shape() {
  torch::Tensor mask = torch::zeros({1, 1, kSide, kSide});
  mask.slice(2, 16, 48).slice(3, 16, 28).fill_(1);
  mask.slice(2, 36, 48).slice(3, 16, 44).fill_(1);
  return mask;
}

TEST(AugmentPairs, MoveImageAndMaskAlike) {
  const UNetConfig config = geometry_only();
  const std::int64_t n = 12;
  const torch::Tensor masks = shape().repeat({n, 1, 1, 1});
  const AugmentedPair pair =
      augment_pairs(masks.repeat({1, 3, 1, 1}), masks, drawn(config, n), config.elastic_grid);
  ASSERT_EQ(pair.images.sizes(), (std::vector<std::int64_t>{n, 3, kSide, kSide}));
  // Bilinear at one half and nearest agree but on the outline's own pixels.
  for (std::int64_t c = 0; c < 3; ++c) {
    const torch::Tensor differs =
        (pair.images.select(1, c) > 0.5) != (pair.masks.select(1, 0) > 0.5);
    EXPECT_LT(differs.sum().item<std::int64_t>(), n * 12) << "channel " << c;
  }
  EXPECT_TRUE(((pair.masks == 0) | (pair.masks == 1)).all().item<bool>());
  for (std::int64_t i = 0; i < n; ++i)
    EXPECT_GT((pair.masks[i] != masks[i]).sum().item<std::int64_t>(), 30) << "sample " << i;
}

TEST(AugmentPairs, AreAFunctionOfSeedEpochAndSampleAlone) {
  UNetConfig config;
  config.augment_probability = 1;
  torch::manual_seed(1);
  const torch::Tensor images = torch::rand({6, 3, kSide, kSide});
  const torch::Tensor masks = (torch::rand({6, 1, kSide, kSide}) > 0.5).to(torch::kFloat);
  const auto parameters = drawn(config, 6);
  const AugmentedPair all = augment_pairs(images, masks, parameters, config.elastic_grid);
  torch::manual_seed(99);
  const AugmentedPair part = augment_pairs(images.narrow(0, 2, 2), masks.narrow(0, 2, 2),
                                           {parameters[2], parameters[3]}, config.elastic_grid);
  EXPECT_TRUE(torch::equal(all.images.narrow(0, 2, 2), part.images));
  EXPECT_TRUE(torch::equal(all.masks.narrow(0, 2, 2), part.masks));
  at::set_num_threads(1);
  EXPECT_TRUE(torch::equal(all.images,
                           augment_pairs(images, masks, parameters, config.elastic_grid).images));
  for (const auto& other : {drawn(config, 6, 1), [&] {
                              UNetConfig seeded = config;
                              seeded.seed = 1;
                              return drawn(seeded, 6);
                            }()})
    EXPECT_FALSE(
        torch::equal(all.images, augment_pairs(images, masks, other, config.elastic_grid).images));
  EXPECT_GE(all.images.min().item<float>(), 0);
  EXPECT_LE(all.images.max().item<float>(), 1);
}

TEST(AugmentPairs, WithProbabilityZeroGiveBackWhatTheyGot) {
  UNetConfig config;
  config.augment_probability = 0;
  const torch::Tensor images = torch::rand({3, 1, kSide, kSide});
  const torch::Tensor masks = (images > 0.3).to(torch::kFloat);
  const AugmentedPair pair = augment_pairs(images, masks, drawn(config, 3), config.elastic_grid);
  EXPECT_LT((pair.images - images).abs().max().item<double>(), 1e-4);
  EXPECT_TRUE(torch::equal(pair.masks, masks));
}

TEST(AugmentPairs, ShiftByWholePixelsToTheSideThatTheParametersSay) {
  PairParameters p;
  p.affine.shift_x = 8.0F / kSide;
  const torch::Tensor mask = shape();
  const AugmentedPair pair = augment_pairs(mask, mask, {p}, 6);
  EXPECT_TRUE(torch::equal(pair.masks.slice(3, 8), mask.slice(3, 0, kSide - 8)));
  PairParameters elastic;  // the same shift, as a displacement of every control point
  elastic.displacement.assign(72, 0);
  std::fill_n(elastic.displacement.begin(), 36, -8.0F / kSide);
  EXPECT_TRUE(torch::equal(augment_pairs(mask, mask, {elastic}, 6).masks, pair.masks));
}

TEST(AugmentPairs, ChangeIntensitiesAsTheySay) {
  PairParameters p;
  p.gamma = 2;
  p.gain = 1.5;
  p.offset = -0.1;
  const torch::Tensor image = torch::full({1, 2, 8, 8}, 0.6), mask = torch::ones({1, 1, 8, 8});
  const AugmentedPair pair = augment_pairs(image, mask, {p}, 6);
  EXPECT_LT((pair.images - (0.36 * 1.5 - 0.1)).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(torch::equal(pair.masks, mask));
  PairParameters noisy;
  noisy.noise = 0.05;
  noisy.noise_seed = 3;
  const torch::Tensor large = torch::full({1, 1, 128, 128}, 0.5);
  const torch::Tensor noise =
      augment_pairs(large, torch::ones_like(large), {noisy}, 6).images - 0.5;
  EXPECT_NEAR(noise.std().item<double>(), 0.05, 0.002);
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.002);
}

// What is left on a side is uniform from nothing to all, in that part of the draws and no other.
TEST(DrawContext, CutsEachSideAsOftenAsAskedAndAnywhere) {
  UNetConfig config;
  const std::vector<std::int64_t> offsets{-10, -4, -1, 0, 1, 4, 10};
  for (std::uint64_t sample = 0; sample < 50; ++sample)
    ASSERT_EQ(draw_context(offsets, config, 1, sample), offsets);
  config.cut_context = 0.4;
  constexpr std::uint64_t kDraws = 20000;
  std::map<std::int64_t, int> lowest, highest;
  int both = 0;
  for (std::uint64_t sample = 0; sample < kDraws; ++sample) {
    const auto seen = draw_context(offsets, config, 3, sample);
    ASSERT_EQ(seen, draw_context(offsets, config, 3, sample));
    for (std::size_t i = 0; i < offsets.size(); ++i)
      ASSERT_EQ(seen[i], std::clamp(offsets[i], seen.front(), seen.back()));
    ++lowest[-seen.front()];
    ++highest[seen.back()];
    both += seen.front() > -10 && seen.back() < 10 ? 1 : 0;
  }
  for (auto& side : {lowest, highest}) {
    ASSERT_EQ(side.size(), 11U);
    for (const auto& [left, count] : side)  // 0 to 9 are cuts, 10 is none or a cut of nothing
      EXPECT_NEAR(count / double{kDraws}, left < 10 ? 0.4 / 11 : 0.6 + 0.4 / 11, 0.015) << left;
  }
  EXPECT_NEAR(both / double{kDraws}, std::pow(0.4 * 10 / 11, 2), 0.015);
}

TEST(SegmentationLoss, EqualsItsDefinition) {
  torch::manual_seed(2);
  const torch::Tensor logits = torch::randn({3, 1, 5, 7}, torch::requires_grad());
  const torch::Tensor masks = (torch::rand({3, 1, 5, 7}) > 0.6).to(torch::kFloat);
  double entropy = 0, both = 0, sum = 0;
  const auto* z = logits.data_ptr<float>();
  const auto* t = masks.data_ptr<float>();
  const std::int64_t n = logits.numel();
  for (std::int64_t i = 0; i < n; ++i) {
    const double p = 1 / (1 + std::exp(-static_cast<double>(z[i])));
    entropy -= t[i] > 0 ? std::log(p) : std::log(1 - p);
    both += p * static_cast<double>(t[i]);
    sum += p + static_cast<double>(t[i]);
  }
  const double dice = 1 - (2 * both + 1) / (sum + 1);
  EXPECT_NEAR(dice_loss(logits, masks).item<double>(), dice, 1e-6);
  EXPECT_NEAR(segmentation_loss(logits, masks, 0.7).item<double>(),
              entropy / static_cast<double>(n) + 0.7 * dice, 1e-6);
  segmentation_loss(logits, masks, 1).backward();
  EXPECT_GT(logits.grad().abs().min().item<double>(), 0);
  // Nothing to find and nothing found is no loss.
  EXPECT_NEAR(dice_loss(torch::full({1, 1, 4, 4}, -50), torch::zeros({1, 1, 4, 4})).item<double>(),
              0, 1e-6);
}

TEST(DecayedRate, FollowsPolyAndCosine) {
  EXPECT_DOUBLE_EQ(decayed_rate("poly", 2, 0, 100, 0), 2);
  EXPECT_DOUBLE_EQ(decayed_rate("poly", 2, 50, 100, 0), 2 * std::pow(0.5, 0.9));
  EXPECT_DOUBLE_EQ(decayed_rate("cosine", 2, 50, 100, 0), 1);
  EXPECT_DOUBLE_EQ(decayed_rate("poly", 2, 4, 100, 10), 1);
  EXPECT_DOUBLE_EQ(decayed_rate("poly", 2, 55, 100, 10), 2 * std::pow(0.5, 0.9));
  EXPECT_GT(decayed_rate("poly", 2, 99, 100, 0), 0);
}

}  // namespace
}  // namespace wsp::train
