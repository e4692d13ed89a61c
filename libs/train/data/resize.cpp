#include "train/data/resize.hpp"

#include <algorithm>
#include <string>

#include "io/core/error.hpp"

// One build of the inner loops per instruction set, chosen when the program starts. Sanitizers
// cannot run before the resolver of such functions does.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define WSP_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define WSP_CLONES
#endif

namespace wsp::train {
namespace {

// Sums stay below 2^31: |HU| <= 2^15, and weights of one axis sum to at most 2 * 8192.
constexpr std::int64_t kLargestSide = 8192;

void check_side(const char* what, std::int64_t side) {
  if (side < 1 || side > kLargestSide)
    throw Error(ErrorCode::usage, std::string(what) + " is " + std::to_string(side) +
                                      ": expected 1 to " + std::to_string(kLargestSide));
}

Resizer::Axis make_axis(std::int64_t from, std::int64_t to) {
  const auto narrow = [](std::int64_t x) { return static_cast<std::int32_t>(x); };
  Resizer::Axis axis;
  axis.from = from;
  axis.to = to;
  axis.total = narrow(to < from ? from : to > from ? 2 * to : 1);
  axis.begin.push_back(0);
  for (std::int64_t o = 0; o < to; ++o) {
    axis.nearest.push_back(narrow((2 * o + 1) * from / (2 * to)));
    if (to <= from) {
      // In units in which an input pixel is `to` wide, output pixel o covers [o, o + 1) * from.
      const std::int64_t low = o * from, high = low + from;
      axis.first.push_back(narrow(low / to));
      if (to == from) {
        axis.weights.push_back(1);
      } else {
        for (std::int64_t i = low / to; i * to < high; ++i)
          axis.weights.push_back(narrow(std::min(high, (i + 1) * to) - std::max(low, i * to)));
      }
    } else {
      // The centre of o lies at ((2o + 1) from - to) / 2to on the axis of input centres.
      const std::int64_t centre =
          std::clamp<std::int64_t>((2 * o + 1) * from - to, 0, (from - 1) * 2 * to);
      const std::int64_t i = centre / (2 * to), part = centre % (2 * to);
      axis.first.push_back(narrow(i));
      axis.weights.push_back(narrow(2 * to - part));
      if (part != 0) axis.weights.push_back(narrow(part));
    }
    axis.begin.push_back(narrow(static_cast<std::int64_t>(axis.weights.size())));
  }
  return axis;
}

WSP_CLONES void add_row(const std::int16_t* row, std::int32_t weight, std::int64_t n,
                        std::int32_t* sum) {
  for (std::int64_t x = 0; x < n; ++x) sum[x] += weight * row[x];
}

WSP_CLONES void finish_row(const std::int32_t* sum, const Resizer::Axis& axis, double divisor,
                           std::int16_t* out) {
  const std::int32_t* first = axis.first.data();
  const std::int32_t* begin = axis.begin.data();
  const std::int32_t* weights = axis.weights.data();
  // A double holds the sum exactly, and its quotient lies on a half only where the exact one does.
  // Adding 1.5 * 2^52 leaves no bits for a fraction: rounded half to even without a call.
  constexpr double kRound = 6755399441055744.0;
  for (std::int64_t o = 0; o < axis.to; ++o) {
    const std::int32_t* from = sum + first[o];
    std::int64_t total = 0;
    const std::int32_t b = begin[o], n = begin[o + 1] - b;
    for (std::int32_t k = 0; k < n; ++k)
      total += static_cast<std::int64_t>(weights[b + k]) * from[k];
    out[o] = static_cast<std::int16_t>((static_cast<double>(total) / divisor + kRound) - kRound);
  }
}

}  // namespace

Resizer::Resizer(std::int64_t height, std::int64_t width, std::int64_t size) {
  check_side("the height of the stored slices", height);
  check_side("the width of the stored slices", width);
  check_side("the image size", size);
  rows_ = make_axis(height, size);
  columns_ = make_axis(width, size);
  identity_ = height == size && width == size;
}

void Resizer::image(std::span<const std::int16_t> in, std::span<std::int16_t> out,
                    std::vector<std::int32_t>& scratch) const {
  if (identity_) {
    std::copy(in.begin(), in.end(), out.begin());
    return;
  }
  const double divisor = static_cast<double>(rows_.total) * columns_.total;
  const std::int64_t width = columns_.from;
  scratch.resize(static_cast<std::size_t>(width));
  for (std::int64_t y = 0; y < rows_.to; ++y) {
    std::fill(scratch.begin(), scratch.end(), 0);
    const auto o = static_cast<std::size_t>(y);
    for (std::int32_t k = rows_.begin[o]; k < rows_.begin[o + 1]; ++k) {
      const std::int64_t row = rows_.first[o] + (k - rows_.begin[o]);
      add_row(in.data() + row * width, rows_.weights[static_cast<std::size_t>(k)], width,
              scratch.data());
    }
    finish_row(scratch.data(), columns_, divisor, out.data() + y * columns_.to);
  }
}

void Resizer::mask(std::span<const std::uint8_t> in, std::span<std::uint8_t> out) const {
  std::uint8_t* to = out.data();
  for (const std::int32_t row : rows_.nearest)
    for (const std::int32_t column : columns_.nearest)
      *to++ = in[static_cast<std::size_t>(row * columns_.from + column)];
}

}  // namespace wsp::train
