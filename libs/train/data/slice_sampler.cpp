#include "train/data/slice_sampler.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <numeric>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"

namespace wsp::train {
namespace {

/// Keeps these streams apart from those of the augmentation, which are keyed by epoch too.
constexpr std::uint64_t kSliceStream = 0x736c69636573;

// Subjects in random order, again and again: none twice before all were there once.
class Rounds {
 public:
  Rounds(std::size_t count, CounterRng& random) : order_(count), at_(count), random_(random) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }
  std::size_t next() {
    if (at_ == order_.size()) {
      for (std::size_t i = order_.size(); i > 1; --i)
        std::swap(order_[i - 1], order_[random_.below(i)]);
      at_ = 0;
    }
    return order_[at_++];
  }

 private:
  std::vector<std::size_t> order_;
  std::size_t at_;
  CounterRng& random_;
};

}  // namespace

SliceSampler::SliceSampler(const std::vector<MaskedVolume>& volumes,
                           const SliceSamplerOptions& options)
    : volumes_(volumes),
      options_(options),
      liver_(group(&MaskedVolume::liver)),
      background_(group(&MaskedVolume::background)) {
  if (options.batch < 1 || options.samples_per_epoch < options.batch)
    throw Error(ErrorCode::usage,
                fmt::format("--batch is {} and --samples-per-epoch {}: expected 1 or more, and at "
                            "least one batch",
                            options.batch, options.samples_per_epoch));
  const double share = options.liver_share;
  if (!(share >= 0 && share <= 1) || (share > 0 && liver_.subjects.empty()) ||
      (share < 1 && background_.subjects.empty()))
    throw Error(ErrorCode::usage,
                fmt::format("--liver-share is {}: expected 0 to 1, and slices of each kind that is "
                            "to be drawn; there are {} subjects with liver and {} with background",
                            share, liver_.subjects.size(), background_.subjects.size()));
}

SliceSampler::Kind SliceSampler::group(std::vector<std::uint32_t> MaskedVolume::*rows) const {
  std::map<std::string, std::vector<std::uint32_t>> by_subject;
  for (std::size_t v = 0; v < volumes_.size(); ++v)
    if (!(volumes_[v].*rows).empty())
      by_subject[volumes_[v].subject].push_back(static_cast<std::uint32_t>(v));
  Kind kind{rows, {}};
  for (auto& [name, list] : by_subject) kind.subjects.push_back(std::move(list));
  return kind;
}

std::vector<DrawnSlice> SliceSampler::batch(std::int64_t epoch, std::int64_t step) const {
  CounterRng random(options_.seed, {kSliceStream, static_cast<std::uint64_t>(epoch),
                                    static_cast<std::uint64_t>(step)});
  // The part beyond whole slices is drawn, so that the share holds on average.
  const double wanted = options_.liver_share * static_cast<double>(options_.batch);
  const double rest = wanted - std::floor(wanted);
  const auto liver = static_cast<std::int64_t>(wanted) + (random.uniform() < rest ? 1 : 0);
  Rounds liver_subjects(liver_.subjects.size(), random);
  Rounds background_subjects(background_.subjects.size(), random);
  std::vector<DrawnSlice> drawn;
  drawn.reserve(static_cast<std::size_t>(options_.batch));
  for (std::int64_t i = 0; i < options_.batch; ++i) {
    const Kind& kind = i < liver ? liver_ : background_;
    const auto& volumes = kind.subjects[(i < liver ? liver_subjects : background_subjects).next()];
    const std::uint32_t v = volumes[random.below(volumes.size())];
    const auto& rows = volumes_[v].*kind.rows;
    drawn.push_back({v, rows[random.below(rows.size())]});
  }
  return drawn;
}

}  // namespace wsp::train
