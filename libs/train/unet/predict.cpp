#include <algorithm>
#include <optional>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "preprocess/ops/slices.hpp"
#include "train/run/device.hpp"
#include "train/run/on_its_way.hpp"
#include "train/unet/network.hpp"
#include "train/unet/unet.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kSlicesAtOnceOnACard = 16;
constexpr float kThreshold = 0.5F;

/// Where a pixel of the acquired slice lies between two of the stored one.
struct Between {
  std::int64_t low, high;
  float part;  ///< of `high`
};

std::vector<Between> stored_places(std::int64_t source, std::int64_t width, std::int64_t left) {
  std::vector<Between> places;
  const double scale = static_cast<double>(width) / static_cast<double>(source);
  for (std::int64_t i = 0; i < source; ++i) {
    const double at = std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0,
                                 static_cast<double>(width - 1));
    const auto low = static_cast<std::int64_t>(at);
    places.push_back({left + low, left + std::min(low + 1, width - 1),
                      static_cast<float>(at - static_cast<double>(low))});
  }
  return places;
}

/// Some slices of a volume as they are stored, [n, size, size] int16. Pinned for a card, so that
/// the copy to it does not wait.
torch::Tensor stored_slices(const Volume& volume, const InPlaneFit& fit,
                            const std::vector<std::int64_t>& wanted, bool pinned) {
  const auto n = std::ssize(wanted);
  torch::Tensor slices = torch::empty({n, fit.size, fit.size},
                                      torch::TensorOptions(torch::kShort).pinned_memory(pinned));
  auto* out = slices.data_ptr<std::int16_t>();
  wsp::parallel_loop(std::int64_t{0}, n, [&](std::int64_t i) {
    const auto pixels =
        resample_slice(volume.slice(wanted[static_cast<std::size_t>(i)]), fit, WindowHu{});
    std::copy(pixels.begin(), pixels.end(), out + i * fit.size * fit.size);
  });
  return slices;
}

/// Bring one slice's probabilities back to the acquired grid and cut them.
void cut(const float* probability, const InPlaneFit& fit, const std::vector<Between>& xs,
         const std::vector<Between>& ys, std::uint8_t* mask) {
  for (const Between& y : ys)
    for (const Between& x : xs) {
      const auto at = [&](std::int64_t row, std::int64_t column) {
        return probability[row * fit.size + column];
      };
      const float above = at(y.low, x.low) * (1 - x.part) + at(y.low, x.high) * x.part;
      const float below = at(y.high, x.low) * (1 - x.part) + at(y.high, x.high) * x.part;
      *mask++ = above * (1 - y.part) + below * y.part >= kThreshold;
    }
}

}  // namespace

struct LiverPredictor::State {
  TrainedUNet trained;
  torch::Device device;
  std::string precision;
};

LiverPredictor::LiverPredictor(const std::filesystem::path& source, const std::string& device,
                               int threads, const std::string& precision) {
  try {
    at::set_num_threads(std::max(1, threads));
    state_.reset(new State{load_trained_unet(source), choose_device(device, 0), ""});
    state_->precision = prediction_precision(precision, state_->trained.config, state_->device);
    place_for_prediction(state_->trained, state_->device, state_->precision);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

LiverPredictor::~LiverPredictor() = default;

LiverMask LiverPredictor::predict(const Volume& volume) try {
  const torch::NoGradGuard no_grad;
  const UNetConfig& config = state_->trained.config;
  const InPlaneFit fit = fit_in_plane(volume.geometry, config.stored_size);
  const auto xs = stored_places(fit.source_x, fit.width, fit.left);
  const auto ys = stored_places(fit.source_y, fit.height, fit.top);
  LiverMask mask;
  mask.geometry = volume.geometry;
  mask.voxels.resize(volume.hu.size());
  const std::int64_t depth = volume.geometry.size[2];
  const auto offsets =
      context_offsets(config.neighbours, config.context_mm, volume.geometry.spacing_mm[2]);
  const bool card = state_->device.is_cuda();
  const std::int64_t at_once = card ? kSlicesAtOnceOnACard : kSlicesAtOnce;
  // A card works on one piece while the one before is cut and the next is made here.
  std::optional<OnItsWay> probability;
  std::int64_t begun = 0;
  const auto finish = [&] {
    if (!probability) return;
    const auto* p = probability->get().data_ptr<float>();
    wsp::parallel_loop(begun, std::min(begun + at_once, depth), [&](std::int64_t z) {
      cut(p + (z - begun) * fit.size * fit.size, fit, xs, ys,
          mask.voxels.data() + z * volume.geometry.slice_voxels());
    });
  };
  for (std::int64_t first = 0; first < depth; first += at_once) {
    stop_if_interrupted("run the same command again");
    const std::int64_t last = std::min(first + at_once, depth);
    const SliceContext context = slice_context(first, last, depth, offsets);
    const torch::Tensor hu =
        stored_slices(volume, fit, context.slices, card).to(state_->device, /*non_blocking=*/true);
    const torch::Tensor input = with_context(network_intensity(hu), context, std::ssize(offsets));
    OnItsWay now(predicted_probability(*state_->trained.net, input,
                                       config.stored_size / config.image_size, state_->precision)
                     .contiguous());
    finish();
    probability = std::move(now);
    begun = first;
  }
  finish();
  return mask;
} catch (const Error&) {
  throw;
} catch (const std::exception& e) {
  throw readable_error(e);
}

}  // namespace wsp::train
