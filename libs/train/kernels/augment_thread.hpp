#pragma once
#include "train/kernels/augment_pixel.hpp"
#include "train/kernels/pixel_type.hpp"

/// What one thread of augment.cu does, for host and device: a run of output pixels side by side, as
/// many as 16 bytes hold, which it stores at once where rows begin at such places. The runs of a
/// view are counted row by row, so that a block has several rows and no thread of it is idle but at
/// the view's end.
namespace wsp::train {

template <PixelType kType>
constexpr int kAugmentRun = 16 / static_cast<int>(sizeof(typename Stored<kType>::Bits));

/// Runs of a view, fewer than 2^28.
template <PixelType kType>
WSP_HOST_DEVICE inline std::uint32_t augment_runs(std::int32_t size) {
  constexpr std::uint32_t kRun = kAugmentRun<kType>;
  const auto side = static_cast<std::uint32_t>(size);
  return side * ((side + kRun - 1) / kRun);
}

/// Whether every run may be stored at once.
template <PixelType kType>
inline bool augment_packs(std::int64_t size, const void* out) {
  return size % kAugmentRun<kType> == 0 && reinterpret_cast<std::uintptr_t>(out) % 16 == 0;
}

/// Run number `run` of the view that is image `target` of `out`, drawn from image `image` of `hu`.
/// Beyond the views' last run nothing is done.
template <PixelType kType, bool kPacked>
WSP_HOST_DEVICE inline void augment_run(const std::int16_t* hu, std::int64_t image,
                                        std::int32_t size, const FixedAffine& map,
                                        std::uint32_t run, typename Stored<kType>::Bits* out,
                                        std::int64_t target) {
  constexpr int kRun = kAugmentRun<kType>;
  if (run >= augment_runs<kType>(size)) return;
  const std::uint32_t of_row = (static_cast<std::uint32_t>(size) + kRun - 1) / kRun;
  const auto y = static_cast<std::int32_t>(run / of_row);
  const auto x = static_cast<std::int32_t>(run % of_row) * kRun;
  const std::int64_t pixels = std::int64_t{size} * size;
  const std::int16_t* source = hu + image * pixels;
  std::int64_t at_x = source_x(map, x, y), at_y = source_y(map, x, y);
  Packed<typename Stored<kType>::Bits, kRun> values;
  WSP_UNROLLED (i, kRun) {
    values.value[i] = Stored<kType>::bits(sample_anywhere(source, size, source_point(at_x, at_y)));
    at_x += map.xx;
    at_y += map.yx;
  }
  auto* to = out + target * pixels + (y * size + x);
  if constexpr (kPacked) {
    *reinterpret_cast<decltype(values)*>(to) = values;
  } else {
    WSP_UNROLLED (i, kRun)
      if (x + i < size) to[i] = values.value[i];
  }
}

}  // namespace wsp::train
