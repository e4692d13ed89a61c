#include <algorithm>
#include <cmath>
#include <numbers>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "train/kernels/augment.hpp"

namespace wsp::train {
namespace {

/// Keeps these streams apart from the sampler's, which are keyed by (seed; epoch, ...) too.
constexpr std::uint64_t kViewStream = 0x7669657773;

void check(const AugmentOptions& o) {
  const auto require = [](bool ok, const char* what) {
    if (!ok) throw Error(ErrorCode::usage, std::string("augmentation: ") + what);
  };
  require(o.probability >= 0 && o.probability <= 1, "the probability must lie in [0, 1]");
  require(o.max_angle_deg >= 0 && o.max_angle_deg <= 180, "the angle must lie in [0, 180] degrees");
  require(o.max_shift >= 0 && o.max_shift <= 1, "the translation must lie in [0, 1]");
  require(o.min_crop_area > 0 && o.min_crop_area <= o.max_crop_area && o.max_crop_area <= 1,
          "the crop areas must satisfy 0 < smallest <= largest <= 1");
  require(o.max_crop_aspect >= 1 && o.max_crop_aspect <= 100,
          "the crop's aspect must lie in [1, 100]");
}

}  // namespace

ViewParameters draw_view(const AugmentOptions& options, std::uint64_t seed, std::uint64_t epoch,
                         std::uint64_t sample, int view) {
  check(options);
  CounterRng random(seed, {kViewStream, epoch, sample, static_cast<std::uint64_t>(view)});
  // Every number is drawn, used or not, so that one option never shifts the draws of another.
  const auto applied = [&] { return random.uniform() < options.probability; };
  ViewParameters p;
  p.flip_x = applied() && options.flip_x;
  p.flip_y = applied() && options.flip_y;

  const bool rotate = applied();
  const double angle = random.uniform(-1, 1) * options.max_angle_deg * std::numbers::pi / 180;
  if (rotate) p.angle_rad = static_cast<float>(angle);

  const bool shift = applied();
  const double shift_x = random.uniform(-1, 1) * options.max_shift;
  const double shift_y = random.uniform(-1, 1) * options.max_shift;
  if (shift) {
    p.shift_x = static_cast<float>(shift_x);
    p.shift_y = static_cast<float>(shift_y);
  }

  const bool crop = applied();
  const double area = random.uniform(options.min_crop_area, options.max_crop_area);
  // Width and height are at most 1 exactly when the aspect lies in [area, 1 / area].
  const double limit = std::log(std::min(options.max_crop_aspect, 1 / area));
  const double aspect = std::exp(random.uniform(-1, 1) * limit);
  const double width = std::min(1.0, std::sqrt(area * aspect));
  const double height = std::min(1.0, std::sqrt(area / aspect));
  const double left = random.uniform() * (1 - width);
  const double top = random.uniform() * (1 - height);
  if (crop) {
    p.crop_w = static_cast<float>(width);
    p.crop_h = static_cast<float>(height);
    p.crop_x = static_cast<float>(left);
    p.crop_y = static_cast<float>(top);
  }
  return p;
}

Affine compose_affine(const ViewParameters& view, std::int64_t size) {
  // Positions relative to the centre; from the output back: flips, rotation, translation, crop.
  const double extent = static_cast<double>(size);
  const double centre = (extent - 1) / 2;
  const double flip_x = view.flip_x ? -1 : 1;
  const double flip_y = view.flip_y ? -1 : 1;
  const double cosine = std::cos(static_cast<double>(view.angle_rad));
  const double sine = std::sin(static_cast<double>(view.angle_rad));
  const double width = view.crop_w;
  const double height = view.crop_h;

  const double xx = width * cosine * flip_x;
  const double xy = -width * sine * flip_y;
  const double yx = height * sine * flip_x;
  const double yy = height * cosine * flip_y;
  const double crop_x = extent * (view.crop_x + width / 2 - 0.5);
  const double crop_y = extent * (view.crop_y + height / 2 - 0.5);
  const double x0 = centre - (xx + xy) * centre - width * view.shift_x * extent + crop_x;
  const double y0 = centre - (yx + yy) * centre - height * view.shift_y * extent + crop_y;
  return {static_cast<float>(xx), static_cast<float>(xy), static_cast<float>(x0),
          static_cast<float>(yx), static_cast<float>(yy), static_cast<float>(y0)};
}

}  // namespace wsp::train
