#include "train/unet/augment.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "io/core/counter_rng.hpp"
#include "train/run/device.hpp"

namespace wsp::train {
namespace {

namespace F = torch::nn::functional;

/// Keeps these streams apart from those of draw_view() and of the samplers.
constexpr std::uint64_t kPairStream = 0x70616972, kContextStream = 0x63747874;

AugmentOptions affine_options(const UNetConfig& c) {
  AugmentOptions o;
  o.probability = c.augment_probability;
  o.flip_x = c.flip_x;
  o.flip_y = c.flip_y;
  o.max_angle_deg = c.max_angle_deg;
  o.max_shift = c.max_shift;
  o.min_crop_area = c.min_crop_area;
  o.max_crop_area = 1;
  return o;
}

/// Source positions in pixels of every output pixel, [m, s, s, 2] (x, y), on the CPU.
torch::Tensor source_positions(const std::vector<PairParameters>& parameters, std::int64_t side,
                               std::int64_t elastic_grid) {
  const auto m = static_cast<std::int64_t>(parameters.size());
  const torch::Tensor affine = torch::empty({m, 2, 3});
  const torch::Tensor control = torch::zeros({m, 2, elastic_grid, elastic_grid});
  bool elastic = false;
  for (std::int64_t i = 0; i < m; ++i) {
    const PairParameters& p = parameters[static_cast<std::size_t>(i)];
    const Affine a = compose_affine(p.affine, side);
    std::copy(a.begin(), a.end(), affine[i].data_ptr<float>());
    if (p.displacement.empty()) continue;
    elastic = true;
    std::copy(p.displacement.begin(), p.displacement.end(), control[i].data_ptr<float>());
  }
  const torch::Tensor line = torch::arange(side, torch::kFloat);
  torch::Tensor x = line.view({1, 1, side}).expand({m, side, side});
  torch::Tensor y = line.view({1, side, 1}).expand({m, side, side});
  if (elastic) {
    const torch::Tensor moved =
        torch::upsample_bicubic2d(control, {side, side}, /*align_corners=*/true) *
        static_cast<double>(side);
    x = x + moved.select(1, 0);
    y = y + moved.select(1, 1);
  }
  const auto row = [&](std::int64_t r) {
    const auto at = [&](std::int64_t c) {
      return affine.select(1, r).select(1, c).view({m, 1, 1});
    };
    return at(0) * x + at(1) * y + at(2);
  };
  return torch::stack({row(0), row(1)}, 3);
}

torch::Tensor noise_of(const PairParameters& p, at::IntArrayRef sizes) {
  return torch::randn(sizes, at::detail::createCPUGenerator(p.noise_seed)) * p.noise;
}

void change_intensities(torch::Tensor& images, const std::vector<PairParameters>& parameters) {
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const PairParameters& p = parameters[static_cast<std::size_t>(i)];
    torch::Tensor image = images[i];
    if (p.gamma != 1) image.pow_(p.gamma);
    if (p.gain != 1 || p.offset != 0) image.mul_(p.gain).add_(p.offset);
    if (p.noise > 0) image.add_(send(noise_of(p, image.sizes()), image.device()));
  }
  images.clamp_(0, 1);
}

}  // namespace

PairParameters draw_pair(const UNetConfig& c, std::uint64_t epoch, std::uint64_t sample) {
  PairParameters p;
  p.affine = draw_view(affine_options(c), c.seed, epoch, sample, 0);
  CounterRng random(c.seed, {kPairStream, epoch, sample});
  // Every number is drawn, used or not, so that one option never shifts the draws of another.
  const auto applied = [&] { return random.uniform() < c.augment_probability; };
  const auto within = [&](double range) { return random.uniform(-1, 1) * range; };
  if (const double gain = within(c.gain); applied()) p.gain = 1 + gain;
  if (const double offset = within(c.offset); applied()) p.offset = offset;
  if (const double gamma = within(c.gamma); applied()) p.gamma = std::exp(gamma);
  if (const double noise = random.uniform(0, c.noise); applied()) p.noise = noise;
  p.noise_seed = random.bits();
  if (!applied() || c.elastic == 0) return p;
  p.displacement.resize(static_cast<std::size_t>(2 * c.elastic_grid * c.elastic_grid));
  for (float& d : p.displacement) d = static_cast<float>(random.normal() * c.elastic);
  return p;
}

std::vector<std::int64_t> draw_context(std::vector<std::int64_t> offsets, const UNetConfig& c,
                                       std::uint64_t epoch, std::uint64_t sample) {
  CounterRng random(c.seed, {kContextStream, epoch, sample});
  const std::int64_t reach = offsets.back() + 1;  // slices that may be left: 0 to all
  const auto left = [&] {
    const double part = random.uniform();
    const bool cut = random.uniform() < c.cut_context;
    return cut ? static_cast<std::int64_t>(part * static_cast<double>(reach)) : reach;
  };
  const std::int64_t below = left(), above = left();
  for (std::int64_t& away : offsets) away = std::clamp(away, -below, above);
  return offsets;
}

AugmentedPair augment_pairs(const torch::Tensor& images, const torch::Tensor& masks,
                            const std::vector<PairParameters>& parameters,
                            std::int64_t elastic_grid) {
  const torch::NoGradGuard no_grad;
  const std::int64_t side = images.size(3);
  // Torch's sampler counts from -1 at the left edge of the first pixel to 1 at the right of the
  // last.
  const torch::Tensor grid = send(
      (source_positions(parameters, side, elastic_grid) * 2 + 1) / static_cast<double>(side) - 1,
      images.device());
  auto options = F::GridSampleFuncOptions().padding_mode(torch::kZeros).align_corners(false);
  AugmentedPair pair;
  pair.images = F::grid_sample(images, grid, options.mode(torch::kBilinear));
  pair.masks = F::grid_sample(masks, grid, options.mode(torch::kNearest));
  change_intensities(pair.images, parameters);
  return pair;
}

}  // namespace wsp::train
