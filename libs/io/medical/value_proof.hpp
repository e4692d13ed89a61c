#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/scan.hpp"

/// What the voxels themselves prove. A refusal needs a contradiction, values that no body has in
/// Hounsfield units; a volume that proves nothing (a crop without air, a piece of one organ) is
/// taken.
namespace wsp {

/// Where the air around a patient stands, in HU: -1000 by definition, up to -950 on old scanners.
inline constexpr double kAirLowHu = -1080, kAirHighHu = -920;
/// Where fat stands, and how far its peak may lie off (kVp, kernels, partial volume).
inline constexpr double kFatHu = -102, kFatToleranceHu = 45;
/// A share of the voxels by which air, and by which fat, is seen at all.
inline constexpr double kAirSeen = 0.02, kFatSeen = 0.06;

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
[[nodiscard]] std::string hu_contradiction(const ValueHistogram& values, const Surroundings& around);

/// USED: Hounsfield units, or nothing that says otherwise; LABEL_MAP or NOT_HU with its detail.
struct ValueVerdict {
  Code code = Code::USED;
  std::string detail;
};
/// Judge a canonical volume, or some of its slices, by its values and where they stand. Volumes of
/// under 4096 voxels prove nothing.
[[nodiscard]] ValueVerdict judge_values(const Volume& volume, const StoredStatistics& stored);

/// Whether these are labels: a few small whole numbers from 0 in large even regions.
[[nodiscard]] bool looks_like_labels(const LabelImage& image);
/// The same of a NIfTI or NRRD file; a voxel with a fraction is no label. Names decide nothing.
Outcome<bool> is_label_map(const std::filesystem::path& path);

/// Judge planes spread over every usable series of the scan, in parallel, and give those that are
/// no HU their code; with options.trust_hu NOT_HU is only flagged HU_OVERRULED.
void prove_values(Scan& scan, const ScanOptions& options);

}  // namespace wsp
