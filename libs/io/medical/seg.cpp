#include <algorithm>
#include <cmath>

#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_mask.hpp"

namespace wsp {
namespace {

using namespace dicom;

constexpr double kRoundedMm = 0.02;  // 0.01 mm after rounding: SEG positions often have 2 decimals

Rejection refuse(Code code, std::string detail) { return {"", "mask", code, std::move(detail)}; }

Outcome<int> liver_segment(DcmDataset& data, const MaskOptions& options) {
  std::vector<LiverCandidate> candidates;
  for (DcmItem* segment : items(data, DCM_SegmentSequence))
    if (const auto number = bits16(*segment, DCM_SegmentNumber))
      candidates.push_back(
          {*number,
           is_liver_code(*segment, DCM_SegmentedPropertyTypeCodeSequence),
           {text(*segment, DCM_SegmentLabel), text(*segment, DCM_SegmentDescription)}});
  return choose_liver(candidates, options.liver_roi);
}

// The pixels of all frames, one after another; bits run on over frame borders.
struct Frames {
  std::size_t rows = 0, columns = 0, count = 0;
  int allocated = 0;
  std::vector<std::uint8_t> bytes;

  [[nodiscard]] std::size_t pixels() const { return rows * columns; }
  [[nodiscard]] int value(std::size_t frame, std::size_t i) const {
    const std::size_t at = frame * pixels() + i;
    if (allocated == 1) return bytes[at / 8] >> (at % 8) & 1;
    if (allocated == 8) return bytes[at];
    return bytes[2 * at] | bytes[2 * at + 1] << 8;
  }
};

Outcome<Frames> read_frames(DcmDataset& data, std::size_t described) {
  const auto rows = bits16(data, DCM_Rows);
  const auto columns = bits16(data, DCM_Columns);
  const auto allocated = bits16(data, DCM_BitsAllocated);
  const auto count = number(data, DCM_NumberOfFrames);
  if (!rows || !columns || !allocated || !count || *rows == 0 || *columns == 0 || described == 0)
    return refuse(Code::MASK_UNREADABLE, "rows, columns or frames are missing");
  if (*count != static_cast<double>(described))
    return refuse(Code::MASK_UNREADABLE,
                  std::to_string(described) + " of " +
                      std::to_string(static_cast<std::int64_t>(std::clamp(*count, -1e9, 1e9))) +
                      " frames are described");
  if (*allocated != 1 && *allocated != 8 && *allocated != 16)
    return refuse(Code::MASK_UNREADABLE, std::to_string(*allocated) + " bits allocated");
  Frames frames{*rows, *columns, described, *allocated, {}};
  if (data.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad())
    return refuse(Code::MASK_UNREADABLE, "the pixels cannot be decompressed");
  DcmElement* element = nullptr;
  if (data.findAndGetElement(DCM_PixelData, element).good() && element != nullptr) {
    // As bytes, whichever of OB and OW they were written as.
    Uint8* as8 = nullptr;
    Uint16* as16 = nullptr;
    if (element->getUint8Array(as8).good() && as8 != nullptr)
      frames.bytes.assign(as8, as8 + element->getLength());
    else if (element->getUint16Array(as16).good() && as16 != nullptr)
      for (std::size_t i = 0; i < element->getLength() / 2; ++i) {
        frames.bytes.push_back(static_cast<std::uint8_t>(as16[i] & 0xFF));
        frames.bytes.push_back(static_cast<std::uint8_t>(as16[i] >> 8));
      }
  }
  if (frames.bytes.size() * 8 < frames.pixels() * described * *allocated)
    return refuse(Code::MASK_UNREADABLE, "the pixel data is shorter than its frames");
  return frames;
}

struct FramePlane {
  Vec3 position{}, row{1, 0, 0}, column{0, 1, 0};
  double dx = 0, dy = 0;
  bool placed = false, oriented = false;

  /// Take what a functional group says; the per-frame one after the shared one.
  void update(DcmItem& group) {
    for (DcmItem* item : items(group, DCM_PlanePositionSequence))
      if (const auto p = numbers(*item, DCM_ImagePositionPatient, 3)) {
        position = {(*p)[0], (*p)[1], (*p)[2]};
        placed = true;
      }
    for (DcmItem* item : items(group, DCM_PlaneOrientationSequence))
      if (const auto o = numbers(*item, DCM_ImageOrientationPatient, 6)) {
        row = {(*o)[0], (*o)[1], (*o)[2]};
        column = {(*o)[3], (*o)[4], (*o)[5]};
        oriented = true;
      }
    for (DcmItem* item : items(group, DCM_PixelMeasuresSequence))
      if (const auto s = numbers(*item, DCM_PixelSpacing, 2)) {
        dy = (*s)[0];
        dx = (*s)[1];
      }
  }
  [[nodiscard]] bool complete() const { return placed && oriented && dx > 0 && dy > 0; }
  [[nodiscard]] bool parallel_to(const Geometry& g) const {
    const Vec3 mine = cross(row, column), theirs = cross(g.axis[0], g.axis[1]);
    return std::abs(dot(mine, theirs)) > 0.9998 * norm(mine) * norm(theirs);  // 1 degree
  }
};

// Set the voxels of one slice whose nearest pixel of the frame is inside. Returns how many.
template <class Inside>
std::size_t paint(const Volume& volume, std::int64_t z, const FramePlane& plane,
                  const Frames& frames, const Inside& inside, LiverMask& mask) {
  const Geometry& g = volume.geometry;
  const auto project = [&](const Vec3& d) {
    return std::pair(dot(d, plane.row) / plane.dx, dot(d, plane.column) / plane.dy);
  };
  const auto [c0, r0] =
      project(volume.slice_origin_mm[static_cast<std::size_t>(z)] - plane.position);
  const auto [cx, rx] = project(g.spacing_mm[0] * g.axis[0]);
  const auto [cy, ry] = project(g.spacing_mm[1] * g.axis[1]);
  const auto columns = static_cast<double>(frames.columns), rows = static_cast<double>(frames.rows);
  std::size_t painted = 0;
  for (std::int64_t y = 0; y < g.size[1]; ++y)
    for (std::int64_t x = 0; x < g.size[0]; ++x) {
      const auto dx = static_cast<double>(x), dy = static_cast<double>(y);
      const double c = std::round(c0 + dx * cx + dy * cy);
      const double r = std::round(r0 + dx * rx + dy * ry);
      if (!(c >= 0 && r >= 0 && c < columns && r < rows)) continue;
      if (!inside(static_cast<std::size_t>(r) * frames.columns + static_cast<std::size_t>(c)))
        continue;
      mask.voxels[static_cast<std::size_t>((z * g.size[1] + y) * g.size[0] + x)] = 1;
      ++painted;
    }
  return painted;
}

}  // namespace

Outcome<LiverMask> read_seg_mask(const std::filesystem::path& path, const LoadedVolume& loaded,
                                 const MaskOptions& options) {
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED)
    return refuse(Code::MASK_UNREADABLE, std::string(to_string(r.code)));
  DcmDataset& data = *file.getDataset();
  const auto segment = liver_segment(data, options);
  if (!segment) return segment.rejection();
  const auto per_frame = items(data, DCM_PerFrameFunctionalGroupsSequence);
  const auto read = read_frames(data, per_frame.size());
  if (!read) return read.rejection();
  const Frames& frames = read.value();
  const std::string type = ascii(data, DCM_SegmentationType);
  if (type != "BINARY" && type != "FRACTIONAL" && type != "LABELMAP")
    return refuse(Code::MASK_UNREADABLE, "the segmentation type is none of the three known");
  const int maximum = bits16(data, DCM_MaximumFractionalValue).value_or(255);
  if (maximum == 0) return refuse(Code::MASK_UNREADABLE, "the maximum fractional value is 0");
  const int least = type == "FRACTIONAL" ? (maximum + 1) / 2 : 1;

  FramePlane shared;
  int shared_number = type == "LABELMAP" ? segment.value() : 0;
  const auto segment_of = [](DcmItem& group, int otherwise) {
    for (DcmItem* id : items(group, DCM_SegmentIdentificationSequence))
      otherwise = bits16(*id, DCM_ReferencedSegmentNumber).value_or(0);
    return otherwise;
  };
  for (DcmItem* group : items(data, DCM_SharedFunctionalGroupsSequence)) {
    shared.update(*group);
    shared_number = segment_of(*group, shared_number);
  }
  const Volume& volume = loaded.volume;
  LiverMask mask;
  mask.geometry = volume.geometry;
  mask.voxels.assign(static_cast<std::size_t>(volume.geometry.voxels()), 0);
  std::size_t lost = 0;
  for (std::size_t f = 0; f < frames.count; ++f) {
    if (segment_of(*per_frame[f], shared_number) != segment.value()) continue;
    const auto inside = [&](std::size_t i) {
      const int v = frames.value(f, i);
      return type == "LABELMAP" ? v == segment.value() : v >= least;
    };
    bool empty = true;
    for (std::size_t i = 0; i < frames.pixels() && empty; ++i) empty = !inside(i);
    if (empty) continue;
    FramePlane plane = shared;
    plane.update(*per_frame[f]);
    std::vector<std::string> sources;
    for (DcmItem* derivation : items(*per_frame[f], DCM_DerivationImageSequence))
      for (std::string& uid : referenced_instances(*derivation, DCM_SourceImageSequence))
        sources.push_back(std::move(uid));
    if (!plane.complete() || !plane.parallel_to(volume.geometry)) {
      ++lost;
      continue;
    }
    const std::int64_t z = find_slice(loaded, sources, plane.position, kRoundedMm);
    if (z < 0 || paint(volume, z, plane, frames, inside, mask) == 0) ++lost;
  }
  if (lost > 0)
    return refuse(Code::MASK_BAD_REFERENCE, std::to_string(lost) + " of " +
                                                std::to_string(frames.count) +
                                                " frames lie on no slice of the series");
  return mask;
}

}  // namespace wsp
