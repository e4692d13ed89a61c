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

std::int32_t narrow(std::int64_t x) { return static_cast<std::int32_t>(x); }

Resizer::Axis make_axis(std::int64_t from, std::int64_t to) {
  Resizer::Axis axis;
  axis.from = from;
  axis.to = to;
  axis.total = narrow(to < from ? from : to > from ? 2 * to : 1);
  std::vector<std::vector<std::int32_t>> weights;  // [to][its taps]
  for (std::int64_t o = 0; o < to; ++o) {
    auto& of_pixel = weights.emplace_back();
    axis.nearest.push_back(narrow((2 * o + 1) * from / (2 * to)));
    if (to == from) {
      axis.first.push_back(narrow(o));
      of_pixel = {1};
    } else if (to < from) {
      // In units in which an input pixel is `to` wide, output pixel o covers [o, o + 1) * from.
      const std::int64_t low = o * from, high = low + from;
      axis.first.push_back(narrow(low / to));
      for (std::int64_t i = low / to; i * to < high; ++i)
        of_pixel.push_back(narrow(std::min(high, (i + 1) * to) - std::max(low, i * to)));
    } else {
      // The centre of o lies at ((2o + 1) from - to) / 2to on the axis of input centres.
      const std::int64_t centre =
          std::clamp<std::int64_t>((2 * o + 1) * from - to, 0, (from - 1) * 2 * to);
      const std::int64_t part = centre % (2 * to);
      axis.first.push_back(narrow(centre / (2 * to)));
      of_pixel.push_back(narrow(2 * to - part));
      if (part != 0) of_pixel.push_back(narrow(part));
    }
    axis.taps = std::max(axis.taps, narrow(std::ssize(of_pixel)));
  }
  axis.weights.assign(static_cast<std::size_t>(axis.taps * to), 0);
  for (std::size_t o = 0; o < weights.size(); ++o)
    for (std::size_t k = 0; k < weights[o].size(); ++k)
      axis.weights[k * static_cast<std::size_t>(to) + o] = weights[o][k];
  return axis;
}

WSP_CLONES void set_row(const std::int16_t* row, std::int32_t weight, std::int64_t n,
                        std::int32_t* sum) {
  for (std::int64_t x = 0; x < n; ++x) sum[x] = weight * row[x];
}

WSP_CLONES void add_row(const std::int16_t* row, std::int32_t weight, std::int64_t n,
                        std::int32_t* sum) {
  for (std::int64_t x = 0; x < n; ++x) sum[x] += weight * row[x];
}

WSP_CLONES std::int32_t largest_magnitude(const std::int16_t* in, std::size_t n) {
  std::int16_t low = 0, high = 0;
  for (std::size_t i = 0; i < n; ++i) {
    low = std::min(low, in[i]);
    high = std::max(high, in[i]);
  }
  return std::max<std::int32_t>(high, -static_cast<std::int32_t>(low));
}

// Two functions and no template: clones of a template are not chosen at run time.
WSP_CLONES void add_taps(const std::int32_t* sum, const std::int32_t* first,
                         const std::int32_t* weights, std::int64_t n, std::int32_t* total) {
  for (std::int64_t o = 0; o < n; ++o) total[o] += weights[o] * sum[first[o]];
}

WSP_CLONES void add_taps(const std::int32_t* sum, const std::int32_t* first,
                         const std::int32_t* weights, std::int64_t n, std::int64_t* total) {
  for (std::int64_t o = 0; o < n; ++o)
    total[o] += static_cast<std::int64_t>(weights[o]) * sum[first[o]];
}

// A double holds the sum exactly, and its quotient lies on a half only where the exact one does.
// Adding 1.5 * 2^52 leaves no bits for a fraction: rounded half to even without a call.
constexpr double kRound = 6755399441055744.0;

WSP_CLONES void divide(const std::int32_t* total, std::int64_t n, double divisor,
                       std::int16_t* out) {
  for (std::int64_t o = 0; o < n; ++o)
    out[o] = static_cast<std::int16_t>(
        static_cast<std::int32_t>((static_cast<double>(total[o]) / divisor + kRound) - kRound));
}

WSP_CLONES void divide(const std::int64_t* total, std::int64_t n, double divisor,
                       std::int16_t* out) {
  for (std::int64_t o = 0; o < n; ++o)
    out[o] = static_cast<std::int16_t>(
        static_cast<std::int32_t>((static_cast<double>(total[o]) / divisor + kRound) - kRound));
}

template <class Total>
void finish_row(const std::int32_t* sum, const Resizer::Axis& axis, double divisor, Total* total,
                std::int16_t* out) {
  std::fill_n(total, axis.to, Total{0});
  for (std::int32_t k = 0; k < axis.taps; ++k)
    add_taps(sum + k, axis.first.data(), axis.weights.data() + k * axis.to, axis.to, total);
  divide(total, axis.to, divisor, out);
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
  // Sums of windowed HU fit 32 bits, which is twice as fast; the result is the same.
  const bool narrow_sums = largest_magnitude(in.data(), in.size()) * divisor < 2147483647.0;
  const std::int64_t width = columns_.from;
  // Taps of weight 0 may reach past the row's end.
  const auto padded = static_cast<std::size_t>(width + columns_.taps);
  scratch.resize(padded + static_cast<std::size_t>(columns_.to));
  std::fill(scratch.begin(), scratch.end(), 0);
  std::vector<std::int64_t> wide(narrow_sums ? 0 : static_cast<std::size_t>(columns_.to));
  for (std::int64_t y = 0; y < rows_.to; ++y) {
    const auto o = static_cast<std::size_t>(y);
    for (std::int32_t k = 0; k < rows_.taps; ++k) {
      const std::int32_t weight = rows_.weights[static_cast<std::size_t>(k * rows_.to + y)];
      const std::int16_t* row = in.data() + (rows_.first[o] + k) * width;
      if (k == 0)
        set_row(row, weight, width, scratch.data());
      else if (weight != 0)
        add_row(row, weight, width, scratch.data());
    }
    std::int16_t* to = out.data() + y * columns_.to;
    if (narrow_sums)
      finish_row(scratch.data(), columns_, divisor, scratch.data() + padded, to);
    else
      finish_row(scratch.data(), columns_, divisor, wide.data(), to);
  }
}

void Resizer::mask(std::span<const std::uint8_t> in, std::span<std::uint8_t> out) const {
  std::uint8_t* to = out.data();
  for (const std::int32_t row : rows_.nearest)
    for (const std::int32_t column : columns_.nearest)
      *to++ = in[static_cast<std::size_t>(row * columns_.from + column)];
}

}  // namespace wsp::train
