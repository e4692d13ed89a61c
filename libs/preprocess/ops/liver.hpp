#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/core/volume.hpp"
#include "preprocess/ops/runs.hpp"

/// Pure functions over volumes and masks: liver extent, central slices, depth, clean-up, flags.
namespace wsp {

/// First and last slice (inclusive) that holds liver.
struct SliceRange {
  std::int64_t first = 0, last = 0;
  [[nodiscard]] std::int64_t count() const { return last - first + 1; }
};

/// Liver area of every slice on the mask's native grid, mm².
std::vector<double> liver_areas_mm2(const LiverMask& mask);
std::vector<double> liver_areas_mm2(const MaskRuns& mask);

/// From the first to the last slice with at least `min_area_mm2` of liver; empty where none has.
std::optional<SliceRange> liver_extent(const std::vector<double>& areas_mm2, double min_area_mm2);

/// Keep the central `permille`/1000 of an extent of L slices: n = max(1, permille·L div 1000)
/// slices starting at first + (L − n) div 2, in integers (DESIGN §2).
SliceRange central_slices(const SliceRange& extent, std::int64_t permille);

/// Scale z to [0, 1] between two slice positions; 0.5 where they coincide.
double normalised_depth(double z_mm, double lowest_mm, double highest_mm);

/// Keep the largest 26-connected component and fill holes per axial slice; adds MASK_CLEANED where
/// a voxel changed. For predicted masks; given masks are left alone unless asked for.
void clean_mask(LiverMask& mask);

/// Drop the components of a predicted mask that lie where none can be, where one of at least a
/// fifth of the largest's voxels lies well: `plausible` is asked by a component's first and last
/// slice. Adds MASK_CLEANED where a voxel changed, and takes the `probability` there away, if it is
/// given.
void drop_misplaced(LiverMask& mask, std::vector<std::uint8_t>& probability,
                    const std::function<bool(const SliceRange& slices)>& plausible);

/// Remarks on a mask: LIVER_TRUNCATED (touches the first or last slice), MASK_GAPS (a slice between
/// its first and last is empty), LIVER_SMALL (below `least_ml`), LIVER_FRAGMENTED (the second
/// largest component holds over a tenth of the mask). `sizes` are its component_sizes().
std::vector<Code> mask_flags(const MaskRuns& mask, double liver_ml,
                             const std::vector<std::int64_t>& sizes, double least_ml = 500);
std::vector<Code> mask_flags(const LiverMask& mask, double liver_ml);

/// Remove from each axial slice the 8-connected parts under 1 cm² and a tenth of the slice's
/// largest part: what hangs on a predicted liver by a neighbouring slice only. Adds MASK_CLEANED
/// where a voxel changed.
void remove_specks(LiverMask& mask);

/// The sides of the volume that a mask reaches: "right", "left", "anterior", "posterior", "foot",
/// "head".
std::vector<std::string> border_contact(const MaskRuns& mask);

/// Volume of a mask in ml, each slice weighted by half the distance to its neighbours (uneven
/// spacing). One slice alone counts with the grid's spacing.
double liver_volume_ml(const std::vector<double>& areas_mm2, const std::vector<double>& z_mm,
                       double spacing_mm);

/// Dice of two masks of one grid, voxels of 0 and 1; 1 where both are empty.
double dice_of(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b);

/// Sizes of the 26-connected components, largest first.
std::vector<std::int64_t> component_sizes(const MaskRuns& mask);

}  // namespace wsp
