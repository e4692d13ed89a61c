#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "io/medical/codestreams.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_mask.hpp"
#include "io/medical/refuse.hpp"

namespace wsp {
namespace {

using namespace dicom;

Outcome<int> liver_segment(DcmDataset& data, const MaskOptions& options) {
  std::vector<LiverCandidate> candidates;
  for (DcmItem* segment : items(data, DCM_SegmentSequence))
    if (const auto number = bits16(*segment, DCM_SegmentNumber)) {
      // Category "morphologically abnormal structure": a lesion, whatever organ it is named after.
      const bool lesion = holds_code(*segment, DCM_SegmentedPropertyCategoryCodeSequence,
                                     {{"SCT", "49755003"}, {"SRT", "M-01000"}});
      candidates.push_back(
          {*number,
           lesion ? LiverCode::part
                  : liver_code(*segment, DCM_SegmentedPropertyTypeCodeSequence, options.organ),
           {text(*segment, DCM_SegmentLabel), text(*segment, DCM_SegmentDescription)}});
    }
  return choose_liver(candidates, options.liver_roi, options.organ.name);
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
    return refuse_mask(Code::MASK_UNREADABLE, "rows, columns or frames are missing");
  if (*count != static_cast<double>(described))
    return refuse_mask(
        Code::MASK_UNREADABLE,
        std::to_string(described) + " of " +
            std::to_string(static_cast<std::int64_t>(std::clamp(*count, -1e9, 1e9))) +
            " frames are described");
  if (*allocated != 1 && *allocated != 8 && *allocated != 16)
    return refuse_mask(Code::MASK_UNREADABLE, std::to_string(*allocated) + " bits allocated");
  Frames frames{*rows, *columns, described, *allocated, {}};
  DcmElement* compressed = nullptr;
  data.findAndGetElement(DCM_PixelData, compressed);
  if (auto* pixels = dynamic_cast<DcmPixelData*>(compressed);
      pixels != nullptr && has_endless_jpeg(*pixels))
    return refuse_mask(Code::MASK_UNREADABLE, "a stray marker in the JPEG header");
  if (data.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad())
    return refuse_mask(Code::MASK_UNREADABLE, "the pixels cannot be decompressed");
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
    return refuse_mask(Code::MASK_UNREADABLE, "the pixel data is shorter than its frames");
  return frames;
}

bool parallel(const FramePlane& plane, const Geometry& g) {
  const Vec3 mine = cross(plane.row, plane.column), theirs = cross(g.axis[0], g.axis[1]);
  return std::abs(dot(mine, theirs)) > 0.9998 * norm(mine) * norm(theirs);  // 1 degree
}

// The height of a frame's slab: the distance at which its grid was cut. Empty frames may be absent,
// so distances between neighbours are multiples of it. What the object says, where its frames
// agree; else the regular distance of three or more frames, no more than their thickness. 0 where
// neither is there.
double slab_mm(std::vector<double> z, double spacing, double thickness) {
  std::sort(z.begin(), z.end());
  std::vector<double> gaps;
  for (std::size_t i = 1; i < z.size(); ++i)
    if (z[i] - z[i - 1] > kRoundedMm) gaps.push_back(z[i] - z[i - 1]);
  const auto divides_all = [&](double d) {
    return std::all_of(gaps.begin(), gaps.end(), [d](double gap) {
      return std::abs(gap - d * std::round(gap / d)) <= kRoundedMm + 0.002 * gap;
    });
  };
  if (spacing > kRoundedMm && divides_all(spacing)) return spacing;
  if (gaps.size() < 2) return 0;
  const double regular = *std::min_element(gaps.begin(), gaps.end());
  if (!divides_all(regular)) return 0;
  return thickness > kRoundedMm ? std::min(regular, thickness) : regular;
}

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

// True where a frame that painted nothing has a pixel of the liver on the image: one between the
// centres of the voxels.
template <class Inside>
bool reaches(const Volume& volume, std::int64_t z, const FramePlane& plane, const Frames& frames,
             const Inside& inside) {
  const Geometry& g = volume.geometry;
  for (std::size_t i = 0; i < frames.pixels(); ++i) {
    if (!inside(i)) continue;
    const Vec3 at = plane.position +
                    plane.dx * static_cast<double>(i % frames.columns) * plane.row +
                    plane.dy * static_cast<double>(i / frames.columns) * plane.column -
                    volume.slice_origin_mm[static_cast<std::size_t>(z)];
    const auto on_axis = [&](std::size_t k) {
      const double index = dot(at, g.axis[k]) / g.spacing_mm[k];
      return index >= -0.5 && index < static_cast<double>(g.size[k]) - 0.5;
    };
    if (on_axis(0) && on_axis(1)) return true;
  }
  return false;
}

// A frame that holds liver.
struct LiverFrame {
  std::size_t index = 0;
  FramePlane plane;
  double z_mm = 0;
  std::optional<std::int64_t> named, slice;  // named_slice(), find_slice()
};

// The liver's segment: the object's pixels, and which of them are inside.
struct LiverSegment {
  int number = 0;
  Frames frames;
  bool label_map = false;
  int least = 1;  // value of a pixel that is inside, but of a label map

  [[nodiscard]] auto inside(std::size_t frame) const {
    return [this, frame](std::size_t i) {
      const int v = frames.value(frame, i);
      return label_map ? v == number : v >= least;
    };
  }
};

Outcome<LiverSegment> read_segment(DcmDataset& data, std::size_t described,
                                   const MaskOptions& options) {
  const auto number = liver_segment(data, options);
  if (!number) return number.rejection();
  auto frames = read_frames(data, described);
  if (!frames) return frames.rejection();
  const std::string type = ascii(data, DCM_SegmentationType);
  if (type != "BINARY" && type != "FRACTIONAL" && type != "LABELMAP")
    return refuse_mask(Code::MASK_UNREADABLE, "the segmentation type is none of the three known");
  const int maximum = bits16(data, DCM_MaximumFractionalValue).value_or(255);
  if (maximum == 0) return refuse_mask(Code::MASK_UNREADABLE, "the maximum fractional value is 0");
  return LiverSegment{number.value(), std::move(frames).value(), type == "LABELMAP",
                      type == "FRACTIONAL" ? (maximum + 1) / 2 : 1};
}

int segment_of(DcmItem& group, int otherwise) {
  for (DcmItem* id : items(group, DCM_SegmentIdentificationSequence))
    otherwise = bits16(*id, DCM_ReferencedSegmentNumber).value_or(0);
  return otherwise;
}

// The frames that hold liver, and where all frames lie.
struct PlacedFrames {
  std::vector<LiverFrame> livers;
  std::vector<double> positions;  // in mm, of all segments: they share a grid
  std::size_t lost = 0;           // that hold liver and have no place

  // Of another grid than slices at this distance, in mm; 0 where the frames are the slices' own.
  [[nodiscard]] double foreign_slab_mm(double distance) const;
};

double PlacedFrames::foreign_slab_mm(double distance) const {
  if (livers.empty()) return 0;
  const FramePlane& plane = livers.front().plane;
  const double slab = slab_mm(positions, plane.spacing_mm, plane.thickness_mm);
  const bool own = std::all_of(livers.begin(), livers.end(),
                               [](const LiverFrame& frame) { return frame.slice.has_value(); });
  return own && std::abs(slab - distance) <= 0.01 * distance ? 0 : slab;
}

PlacedFrames place_frames(DcmDataset& data, const std::vector<DcmItem*>& per_frame,
                          const LiverSegment& segment, const LoadedVolume& loaded) {
  FramePlane shared;
  int shared_number = segment.label_map ? segment.number : 0;
  for (DcmItem* group : items(data, DCM_SharedFunctionalGroupsSequence)) {
    shared.update(*group);
    shared_number = segment_of(*group, shared_number);
  }
  PlacedFrames placed;
  for (std::size_t f = 0; f < segment.frames.count; ++f) {
    LiverFrame frame{f, shared, 0, {}, {}};
    frame.plane.update(*per_frame[f]);
    const bool complete = frame.plane.complete() && parallel(frame.plane, loaded.volume.geometry);
    frame.z_mm = position_mm(loaded.volume, frame.plane.position);
    if (complete) placed.positions.push_back(frame.z_mm);
    if (segment_of(*per_frame[f], shared_number) != segment.number) continue;
    const auto inside = segment.inside(f);
    bool empty = true;
    for (std::size_t i = 0; i < segment.frames.pixels() && empty; ++i) empty = !inside(i);
    if (empty) continue;
    if (!complete) {
      ++placed.lost;
      continue;
    }
    std::vector<std::string> sources;
    for (DcmItem* derivation : items(*per_frame[f], DCM_DerivationImageSequence))
      for (std::string& uid : referenced_instances(*derivation, DCM_SourceImageSequence))
        sources.push_back(std::move(uid));
    frame.named = named_slice(loaded, sources);
    if (const auto k = find_slice(loaded, sources, frame.plane.position, kRoundedMm); k >= 0)
      frame.slice = k;
    placed.livers.push_back(std::move(frame));
  }
  return placed;
}

using Pairs = std::vector<std::pair<std::int64_t, const LiverFrame*>>;  // slice, frame

// Where the frames are the slices' own, each has its slice.
Pairs pair_by_slice(PlacedFrames& placed) {
  Pairs pairs;
  for (const LiverFrame& frame : placed.livers)
    if (frame.slice)
      pairs.emplace_back(*frame.slice, &frame);
    else
      ++placed.lost;
  return pairs;
}

// On another grid, each slice takes the frame whose slab holds its centre; a centre on the border
// of two slabs belongs to the upper.
Pairs pair_by_slab(PlacedFrames& placed, double slab, const Volume& volume, LiverMask& mask) {
  const double reach = std::max(slab, volume.geometry.spacing_mm[2]) / 2 + kRoundedMm;
  placed.lost += std::erase_if(placed.livers, [&](const LiverFrame& frame) {
    const auto slice =
        static_cast<std::size_t>(frame.named.value_or(nearest_slice(volume, frame.z_mm)));
    return std::abs(volume.z_mm[slice] - frame.z_mm) > reach;
  });
  Pairs pairs;
  std::set<const LiverFrame*> used;
  bool moved = false;
  for (std::size_t k = 0; k < volume.z_mm.size(); ++k) {
    const auto away = [z = volume.z_mm[k] + kRoundedMm](const LiverFrame& frame) {
      return std::abs(frame.z_mm - z);
    };
    double nearest = slab / 2;
    for (const LiverFrame& frame : placed.livers) nearest = std::min(nearest, away(frame));
    for (const LiverFrame& frame : placed.livers)
      if (away(frame) <= nearest + kRoundedMm / 4) {
        pairs.emplace_back(static_cast<std::int64_t>(k), &frame);
        used.insert(&frame);
        moved |= std::abs(frame.z_mm - volume.z_mm[k]) > kRoundedMm;
      }
  }
  if (moved || used.size() < placed.livers.size()) mask.flags.push_back(Code::MASK_RESAMPLED);
  return pairs;
}

}  // namespace

Outcome<LiverMask> dicom::rasterise_seg(const std::filesystem::path& path,
                                        const LoadedVolume& loaded, const MaskOptions& options) {
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED)
    return refuse_mask(Code::MASK_UNREADABLE, std::string(to_string(r.code)));
  DcmDataset& data = *file.getDataset();
  const auto per_frame = items(data, DCM_PerFrameFunctionalGroupsSequence);
  const auto read = read_segment(data, per_frame.size(), options);
  if (!read) return read.rejection();
  const LiverSegment& segment = read.value();
  const Volume& volume = loaded.volume;
  PlacedFrames placed = place_frames(data, per_frame, segment, loaded);
  LiverMask mask;
  const double slab = placed.foreign_slab_mm(volume.geometry.spacing_mm[2]);
  const Pairs pairs = slab > 0 ? pair_by_slab(placed, slab, volume, mask) : pair_by_slice(placed);
  mask.geometry = volume.geometry;
  mask.voxels.assign(static_cast<std::size_t>(volume.geometry.voxels()), 0);
  for (const auto& [z, frame] : pairs) {
    const auto inside = segment.inside(frame->index);
    if (paint(volume, z, frame->plane, segment.frames, inside, mask) == 0 &&
        !reaches(volume, z, frame->plane, segment.frames, inside))
      ++placed.lost;
  }
  if (placed.lost > 0)
    return refuse_mask(Code::MASK_BAD_REFERENCE, std::to_string(placed.lost) + " of " +
                                                     std::to_string(segment.frames.count) +
                                                     " frames lie on no slice of the series");
  return mask;
}

}  // namespace wsp
