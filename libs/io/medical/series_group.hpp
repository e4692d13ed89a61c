#pragma once
#include <filesystem>
#include <vector>

#include "io/medical/dicom_header.hpp"
#include "io/medical/scan.hpp"
#include "io/medical/study.hpp"

/// From file headers to series. Internal to io/medical.
namespace wsp::dicom {

/// Planes closer than this along the normal lie at the same position.
inline constexpr double kSamePositionMm = 0.01;
/// Below this |z| of the normal a stack is not axial; a gantry tilt of 30 degrees leaves 0.87.
inline constexpr double kAxialNormal = 0.8;

/// Sort planes from feet to head along the normal and fill normal, z_mm, gaps, spacing, missing
/// slices, irregularity and tilt. Needs planes with positions, and the axes. Nothing is read from
/// SliceLocation, SpacingBetweenSlices, InstanceNumber or GantryDetectorTilt.
void measure_geometry(Series& series);

/// Greatest distance of a plane's origin from the straight line through the first and last one.
double track_deviation_mm(const Series& series);

/// Whether the stack is sheared beyond rounding: more than 1 degree, or half a pixel over its
/// length.
bool is_tilted(const Series& series);

/// Group the image planes of all headers (parallel to `files`) into series, split where images
/// differ in geometry or collide in position, give every series its code, flags and score, and
/// write the codes of files. Decodes only images that lie at the same position.
std::vector<Series> group_series(const std::filesystem::path& root,
                                 const std::vector<Header>& headers, std::vector<FileEntry>& files,
                                 const ScanOptions& options);

/// Header text that a score is drawn from; nothing of it may reach a ScoreReason.
struct ScoreInput {
  std::string description, kernel, manufacturer, contrast_agent, image_type, phase;
  std::optional<double> acquisition_seconds, bolus_seconds;
  std::string protocol, comments;
};
/// Fill series.phase, contrast, kernel_class, scanner, score and reasons.
void score_series(Series& series, const ScoreInput& input, const ScanOptions& options);

/// Undo a tilt: move every slice within its plane onto one upright (rectangular) grid whose third
/// axis is the normal, widened so that nothing is cut; z positions stay. Linear interpolation.
void resample_tilt(Volume& volume);

}  // namespace wsp::dicom
