#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Where things stand on the Hounsfield scale, told by a histogram of values alone. The reader of
/// images and the QA report judge by the same.
namespace wsp {

/// Where the air around a patient stands, in HU: -1000 by definition, up to -950 on old scanners.
inline constexpr double kAirLowHu = -1090, kAirHighHu = -920;
/// Where fat stands, and how far its peak may lie off (kVp, kernels, partial volume).
inline constexpr double kFatHu = -102, kFatToleranceHu = 45;
/// A share of the voxels by which air, and by which fat, is seen at all.
inline constexpr double kAirSeen = 0.02, kFatSeen = 0.06;

/// Padding, and the end of a 12-bit scale: a voxel there says nothing.
inline constexpr double kFloorHu = -1024;
/// So wide a part of a body is never of one tissue, in mm.
inline constexpr double kField = 200;

/// Counts of values in bins of `width` from `low`; the outer bins take what lies beyond.
struct ValueHistogram {
  int low = 0, width = 1;
  std::vector<std::int64_t> counts;

  [[nodiscard]] std::int64_t total() const;
  [[nodiscard]] double centre(std::size_t bin) const;
  [[nodiscard]] std::size_t bin(double value) const;
  /// The voxels in the bins from that of `first` up to, without, that of `last`.
  [[nodiscard]] std::int64_t count(double first, double last) const;
};

/// The peak of fat: the highest between -250 and 0 HU, bins averaged over three, and the share of
/// the voxels of `body` within 40 HU of it. No peak where there is only the shoulder of tissue.
struct FatPeak {
  double hu = 0, share = 0;
};
[[nodiscard]] std::optional<FatPeak> fat_peak(const ValueHistogram& body);

/// What is known beside the values.
struct Surroundings {
  double field_mm = 0;            ///< shorter side of the image, 0 where it is not known
  std::optional<double> outside;  ///< where most of what lies around the body stands
};
/// Say what in the histogram (air and body together, bins of 10) no body has, or nothing.
[[nodiscard]] std::string hu_contradiction(const ValueHistogram& values,
                                           const Surroundings& around);

}  // namespace wsp
