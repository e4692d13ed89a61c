#pragma once
#include <cstdint>
#include <vector>

#include "io/medical/dicom_header.hpp"

/// Planes of one series, and where parts of it lie. Heights in mm along the normal. Internal to
/// io/medical.
namespace wsp::dicom {

/// One plane on its way into a series.
struct PlaneRef {
  std::size_t file = 0;
  const Header* header = nullptr;
  const FrameHeader* frame = nullptr;
  std::uint64_t pixels = 0;  ///< hash of the rescaled image; filled only where positions collide
};
using Planes = std::vector<PlaneRef>;

/// Position along the normal that points to the head.
double height(const PlaneRef& plane);
/// Runs of planes at one position, lowest first; within a run in the order of files.
std::vector<Planes> positions_of(const Planes& planes);
/// Whether several planes lie at one position.
bool collides(const Planes& planes);

/// Planes of one value, and where they lie.
struct Part {
  Planes planes;
  double low = 0, high = 0;
};
Part make_part(Planes planes);

/// Of all planes, ascending.
std::vector<double> heights(const Planes& planes);
/// The median distance of neighbours at different positions; 0 where there is one position.
double median_distance(const Planes& planes);
/// Whether all neighbours have the same distance, up to 2 % and 0.02 mm.
bool is_even(const Planes& planes);

/// Whether any two parts reach into each other.
bool any_overlap(const std::vector<Part>& parts);
/// Whether most planes lie in parts of several positions: else the parts are no stacks, and the key
/// is one that every slice has for itself.
bool are_stacks(const std::vector<Part>& parts);
/// Sort planes, and parts by their first plane, in the order of files: that of a value would carry
/// it into names.
void sort_parts(std::vector<Part>& parts);

}  // namespace wsp::dicom
