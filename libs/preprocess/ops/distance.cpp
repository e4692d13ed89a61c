#include "preprocess/ops/distance.hpp"

#include <tbb/blocked_range.h>

#include <algorithm>
#include <limits>

#include "io/core/parallel.hpp"

namespace wsp {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

/// Lower envelope of parabolas: line[i] = min_j line[j] + (position[i] - position[j])^2.
class Envelope {
 public:
  explicit Envelope(std::span<const double> position)
      : position_(position), in_(position.size()), apex_(position.size()), from_(position.size()) {}

  /// `line[i * step]` for every position.
  template <class Real>
  void transform(Real* line, std::int64_t step) {
    const std::size_t n = position_.size();
    const auto at = [&](std::size_t i) -> Real& {
      return line[static_cast<std::int64_t>(i) * step];
    };
    std::size_t count = 0;  // parabolas of the envelope
    for (std::size_t q = 0; q < n; ++q) {
      in_[q] = static_cast<double>(at(q));
      if (in_[q] == kFar) continue;
      double cut = -kFar;
      while (count > 0 && (cut = crossing(apex_[count - 1], q)) <= from_[count - 1]) --count;
      if (count == 0) cut = -kFar;
      apex_[count] = q;
      from_[count++] = cut;
    }
    if (count == 0) return;
    std::size_t k = 0;
    for (std::size_t i = 0; i < n; ++i) {
      while (k + 1 < count && from_[k + 1] < position_[i]) ++k;
      const double away = position_[i] - position_[apex_[k]];
      at(i) = static_cast<Real>(in_[apex_[k]] + away * away);
    }
  }

 private:
  [[nodiscard]] double crossing(std::size_t p, std::size_t q) const {
    const double a = position_[p], b = position_[q];
    return ((in_[q] + b * b) - (in_[p] + a * a)) / (2 * (b - a));
  }
  std::span<const double> position_;
  std::vector<double> in_;
  std::vector<std::size_t> apex_;
  std::vector<double> from_;
};

}  // namespace

template <class Real>
void squared_distances(std::span<Real> field, const std::array<std::vector<double>, 3>& position) {
  std::array<std::int64_t, 3> size{};
  for (std::size_t k = 0; k < 3; ++k) size[k] = static_cast<std::int64_t>(position[k].size());
  const std::array<std::int64_t, 3> stride{1, size[0], size[0] * size[1]};
  constexpr std::int64_t kTile = 16;  // neighbouring lines, which share cache lines
  for (std::size_t k = 0; k < 3; ++k) {
    const std::size_t u = k == 0 ? 1 : 0, v = k == 2 ? 1 : 2;
    wsp::parallel_loop(tbb::blocked_range<std::int64_t>(0, size[v]), [&](const auto& range) {
      Envelope envelope(position[k]);
      std::vector<Real> tile(static_cast<std::size_t>(kTile * size[k]));
      for (std::int64_t j = range.begin(); j < range.end(); ++j) {
        Real* plane = field.data() + j * stride[v];
        if (k == 0) {
          for (std::int64_t i = 0; i < size[u]; ++i) envelope.transform(plane + i * stride[u], 1);
          continue;
        }
        for (std::int64_t first = 0; first < size[u]; first += kTile) {
          const std::int64_t lines = std::min(kTile, size[u] - first);
          for (std::int64_t t = 0; t < size[k]; ++t)
            std::copy_n(plane + t * stride[k] + first, lines, tile.data() + t * kTile);
          for (std::int64_t i = 0; i < lines; ++i) envelope.transform(tile.data() + i, kTile);
          for (std::int64_t t = 0; t < size[k]; ++t)
            std::copy_n(tile.data() + t * kTile, lines, plane + t * stride[k] + first);
        }
      }
    });
  }
}

template void squared_distances(std::span<float>, const std::array<std::vector<double>, 3>&);
template void squared_distances(std::span<double>, const std::array<std::vector<double>, 3>&);

}  // namespace wsp
