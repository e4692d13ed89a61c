#include "io/medical/nrrd_grid.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include "io/medical/image_header.hpp"

namespace wsp::image {
namespace {

// The patient's directions of a space's first two axes, as signs towards left and posterior; all
// that NRRD defines have head as their third.
struct Space {
  double left, posterior;
  std::size_t axes;  // 4 with time
};

Outcome<Space> space_of(const NrrdText& text) {
  const std::string name = text.word("space");
  if (name.empty())
    return refuse_read(Code::NO_AFFINE,
                       text.field("spacedimension").empty()
                           ? "the field 'space' is missing"
                           : "'space dimension' alone names no patient directions");
  static const std::map<std::string, Space> kSpaces{
      {"right-anterior-superior", {-1, -1, 3}},      {"ras", {-1, -1, 3}},
      {"left-anterior-superior", {1, -1, 3}},        {"las", {1, -1, 3}},
      {"left-posterior-superior", {1, 1, 3}},        {"lps", {1, 1, 3}},
      {"right-anterior-superior-time", {-1, -1, 4}}, {"rast", {-1, -1, 4}},
      {"left-anterior-superior-time", {1, -1, 4}},   {"last", {1, -1, 4}},
      {"left-posterior-superior-time", {1, 1, 4}},   {"lpst", {1, 1, 4}}};
  const auto found = kSpaces.find(name);
  if (found != kSpaces.end()) return found->second;
  for (const char* other : {"scanner-xyz", "scannerxyz", "3d-right-handed", "3d-left-handed"})
    if (name.starts_with(other))
      return refuse_read(Code::NO_AFFINE, std::string("the space '") + other +
                                              "' does not say where left and head are");
  return refuse_read(Code::NO_AFFINE,
                     "the space is none of left/right-anterior/posterior-superior");
}

// Millimetres of each axis' unit, by `space units: "mm" "mm" "mm"`; where it is absent, mm.
Outcome<Vec3> units_of(const NrrdText& text) {
  Vec3 mm{1, 1, 1};
  std::vector<std::string> units;
  std::istringstream in(text.field("spaceunits"));
  for (std::string before, unit; std::getline(in, before, '"') && std::getline(in, unit, '"');)
    units.push_back(trim(unit));
  static const std::map<std::string, double> kLengths{
      {"", 1},          {"mm", 1},    {"millimeter", 1},   {"millimetre", 1},   {"cm", 10},
      {"m", 1000},      {"um", 1e-3}, {"\xc2\xb5m", 1e-3}, {"\xce\xbcm", 1e-3}, {"micron", 1e-3},
      {"microns", 1e-3}};
  for (std::size_t k = 0; k < std::min<std::size_t>(units.size(), 3); ++k) {
    const auto found = kLengths.find(units[k]);
    if (found == kLengths.end())
      return refuse_read(Code::BAD_HEADER, "a space unit that is none of mm, cm, m and um");
    mm[k] = found->second;
  }
  if (units.size() < 3 && !text.field("spaceunits").empty())
    return refuse_read(Code::BAD_HEADER, "'space units' does not name three units in quotes");
  return mm;
}

Vec3 to_lps(const std::vector<double>& v, const Space& space, const Vec3& mm) {
  return {space.left * mm[0] * v[0], space.posterior * mm[1] * v[1], mm[2] * v[2]};
}

}  // namespace

Outcome<NrrdAxes> nrrd_axes(const NrrdText& text) {
  NrrdAxes axes;
  double voxels = 1;
  for (const std::string& word : words(text.field("sizes"))) {
    const auto n = number<std::int64_t>(word);
    if (!n || *n < 1 || *n > 65536) return refuse_read(Code::BAD_HEADER, "a size is absurd");
    axes.sizes.push_back(*n);
    voxels *= static_cast<double>(*n);
  }
  const auto dimension = number<std::size_t>(text.field("dimension"));
  if (!dimension || *dimension != axes.sizes.size())
    return refuse_read(Code::BAD_HEADER, "'dimension' and 'sizes' do not agree");
  if (voxels > static_cast<double>(kMaxVoxels))
    return refuse_read(Code::BAD_HEADER, "the sizes are absurd");
  const auto kinds = words(text.word("kinds"));
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    if (i < axes.sizes.size() && axes.sizes[i] == 1) continue;
    if (kinds[i].find("complex") != std::string::npos)
      return refuse_read(Code::COMPLEX_VOXELS, "a NRRD axis of kind complex");
    for (const char* kind : {"rgb", "hsv", "xyz", "vector", "color", "matrix"})
      if (kinds[i].find(kind) != std::string::npos)
        return refuse_read(Code::RGB_VOXELS, std::string("a NRRD axis of kind ") + kind);
  }
  // Beyond three, an axis of one entry adds nothing: one time, one layer.
  std::size_t more = axes.sizes.size() < 3 ? 0 : axes.sizes.size() - 3;
  const auto directions = vectors(text.field("spacedirections"));
  for (std::size_t i = 0; i < axes.sizes.size(); ++i) {
    bool outside = i < kinds.size() && (kinds[i] == "time" || kinds[i] == "list");
    if (directions && i < directions->size()) {
      const auto& d = (*directions)[i];
      outside = outside || d.empty() || (d.size() == 4 && d[0] == 0 && d[1] == 0 && d[2] == 0);
    }
    if (more > 0 && axes.sizes[i] == 1 && outside)
      --more;
    else
      axes.spatial.push_back(i);
  }
  if (axes.spatial.size() == 3) return axes;
  if (text.pairs.contains("Segment0_ID"))
    return refuse_read(Code::NOT_3D,
                       "a segmentation in several layers, since its segments overlap; "
                       "save the liver as a label map");
  return refuse_read(Code::NOT_3D, std::to_string(axes.sizes.size()) + " dimensions");
}

Outcome<Geometry> nrrd_grid(const NrrdText& text, const NrrdAxes& axes) {
  const auto space = space_of(text);
  if (!space) return space.rejection();
  for (const char* field : {"spacedirections", "spaceorigin"})
    if (text.field(field).empty())
      return refuse_read(Code::NO_AFFINE, "'space directions' or 'space origin' is missing");
  const auto mm = units_of(text);
  if (!mm) return mm.rejection();
  const auto directions = vectors(text.field("spacedirections"));
  const auto origin = vectors(text.field("spaceorigin"));
  const std::size_t components = space.value().axes;
  if (!directions || !origin || directions->size() != axes.sizes.size() || origin->size() != 1 ||
      origin->front().size() != components)
    return refuse_read(Code::BAD_HEADER, "'space directions' or 'space origin' cannot be read");
  Geometry g;
  g.origin_mm = to_lps(origin->front(), space.value(), mm.value());
  for (std::size_t k = 0; k < 3; ++k) {
    const auto& direction = (*directions)[axes.spatial[k]];
    if (direction.empty()) return refuse_read(Code::NO_AFFINE, "an axis has no direction");
    if (direction.size() != components || (components == 4 && direction[3] != 0))
      return refuse_read(Code::BAD_HEADER, "a direction does not fit its space");
    const Vec3 column = to_lps(direction, space.value(), mm.value());
    g.size[k] = axes.sizes[axes.spatial[k]];
    g.spacing_mm[k] = norm(column);
    g.axis[k] = (1 / g.spacing_mm[k]) * column;
  }
  return check_geometry(g);
}

}  // namespace wsp::image
