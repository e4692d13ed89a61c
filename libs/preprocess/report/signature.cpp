#include "preprocess/report/signature.hpp"

#include <array>
#include <bit>
#include <cmath>

namespace wsp::qa {
namespace {

constexpr std::size_t kGrid = 16, kDepths = 8;
constexpr double kStepHu = 8;

// Mean HU of the cells of a grid of kGrid + 1 columns and kGrid rows, interpolated between the two
// slices next to `at`.
std::array<double, kGrid*(kGrid + 1)> grid_of(const ReducedCase& r, double at) {
  std::array<double, kGrid*(kGrid + 1)> cells{};
  std::array<int, kGrid*(kGrid + 1)> counts{};
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, r.slices() - 1);
  const double part = at - static_cast<double>(low);
  const auto a = r.image(low), b = r.image(high);
  const auto w = static_cast<std::size_t>(r.width), h = static_cast<std::size_t>(r.height);
  for (std::size_t y = 0; y < h; ++y)
    for (std::size_t x = 0; x < w; ++x) {
      const std::size_t cell = y * kGrid / h * (kGrid + 1) + x * (kGrid + 1) / w;
      cells[cell] += (1 - part) * a[y * w + x] + part * b[y * w + x];
      ++counts[cell];
    }
  for (std::size_t c = 0; c < cells.size(); ++c)
    if (counts[c] > 0) cells[c] /= counts[c];
  return cells;
}

}  // namespace

std::vector<std::uint64_t> signature_of(const ReducedCase& reduced) {
  std::vector<std::uint64_t> words;
  if (reduced.slices() == 0) return words;
  words.assign(2 * kDepths * kGrid * kGrid / 64, 0);
  std::size_t bit = 0;
  for (std::size_t d = 0; d < kDepths; ++d) {
    const double at =
        (static_cast<double>(d) + 0.5) / kDepths * static_cast<double>(reduced.slices() - 1);
    const auto cells = grid_of(reduced, at);
    for (std::size_t y = 0; y < kGrid; ++y)
      for (std::size_t x = 0; x < kGrid; ++x) {
        const double step = cells[y * (kGrid + 1) + x + 1] - cells[y * (kGrid + 1) + x];
        for (const bool set : {step > kStepHu, step < -kStepHu}) {
          if (set) words[bit / 64] |= std::uint64_t{1} << (bit % 64);
          ++bit;
        }
      }
  }
  return words;
}

double signature_distance(const std::vector<std::uint64_t>& a,
                          const std::vector<std::uint64_t>& b) {
  if (a.size() != b.size()) return 1;
  int both = 0, either = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += std::popcount(a[i] & b[i]);
    either += std::popcount(a[i] | b[i]);
  }
  return either == 0 ? 1 : 1 - static_cast<double>(both) / either;
}

}  // namespace wsp::qa
