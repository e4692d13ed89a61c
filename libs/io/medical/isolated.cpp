#include "io/medical/isolated.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "io/medical/dicom_mask.hpp"

namespace wsp {
namespace {

/// Of a volume what a mask is placed by.
struct SliceGrid {
  Geometry geometry;
  std::vector<double> z_mm;
  std::vector<Vec3> slice_origin_mm;
  std::vector<std::string> sop_instance_uids;
};
WSP_FIELDS(SliceGrid, geometry, z_mm, slice_origin_mm, sop_instance_uids)

SliceGrid grid_of(const LoadedVolume& loaded) {
  const Volume& v = loaded.volume;
  return {v.geometry, v.z_mm, v.slice_origin_mm, loaded.sop_instance_uids};
}

/// Function(path, volume, arguments...) of a volume that has no pixels.
template <auto Function, class... Arguments>
auto on_grid(const std::filesystem::path& path, const SliceGrid& grid,
             const Arguments&... arguments) {
  LoadedVolume volume;
  volume.volume.geometry = grid.geometry;
  volume.volume.z_mm = grid.z_mm;
  volume.volume.slice_origin_mm = grid.slice_origin_mm;
  volume.sop_instance_uids = grid.sop_instance_uids;
  return Function(path, volume, arguments...);
}

template <auto Rasterise>
Outcome<LiverMask> read_object(const std::filesystem::path& path, const LoadedVolume& volume,
                               const MaskOptions& options) {
  if (worker_pool() == nullptr) return Rasterise(path, volume, options);
  auto mask = isolated<on_grid<Rasterise, MaskOptions>>("mask", path, grid_of(volume), options);
  if (mask && !same_grid(mask.value().geometry, volume.volume.geometry, 0))
    return impossible("mask");
  return mask;
}

template <class... Numbers>
bool finite(const Numbers&... numbers) {
  return (std::isfinite(numbers) && ...);
}

bool finite_vector(const Vec3& v) { return finite(v[0], v[1], v[2]); }

}  // namespace

double seconds_for(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<double>(bytes) / (1 << 20);
}

namespace {
std::mutex g_losses_mutex;
std::map<std::filesystem::path, WorkerLost> g_losses;
}  // namespace

void throw_known_loss(const std::filesystem::path& path) {
  const std::lock_guard lock(g_losses_mutex);
  if (g_losses.empty()) return;
  if (const auto known = g_losses.find(path); known != g_losses.end())
    throw WorkerLost(known->second);
}

void remember_loss(const std::filesystem::path& path, const WorkerLost& lost) {
  const std::lock_guard lock(g_losses_mutex);
  g_losses.emplace(path, lost);
}

bool is_possible(const Geometry& g) {
  constexpr double kMostVoxels = 1e12;
  double voxels = 1;
  bool sound = finite_vector(g.spacing_mm) && finite_vector(g.origin_mm);
  for (std::size_t k = 0; k < 3; ++k) {
    sound = sound && g.size[k] > 0 && finite_vector(g.axis[k]);
    voxels *= static_cast<double>(g.size[k]);
  }
  return sound && voxels <= kMostVoxels;
}

bool is_possible(const LiverMask& mask) {
  return mask.voxels.size() == static_cast<std::size_t>(mask.geometry.voxels()) &&
         std::all_of(mask.voxels.begin(), mask.voxels.end(), [](auto v) { return v <= 1; });
}

bool is_possible(const MaskObject& object) { return object.bytes >= 0; }

namespace dicom {

bool is_possible(const NativePixels& native) {
  constexpr std::int64_t kMost = 65535;
  constexpr std::uint64_t kLongestHeader = std::uint64_t{1} << 20;
  const PixelFormat& f = native.format;
  return f.columns > 0 && f.columns <= kMost && f.rows > 0 && f.rows <= kMost && f.frames == 1 &&
         f.allocated == 16 && f.stored >= 1 && f.stored <= 16 && f.high < 16 &&
         f.high + 1 >= f.stored && native.offset <= kLongestHeader && native.offset % 2 == 0 &&
         native.file_bytes == native.offset + 2 * static_cast<std::uint64_t>(f.columns * f.rows);
}

bool is_possible(const FrameHeader& frame) {
  return frame.frame >= 0 && finite_vector(frame.position) && finite_vector(frame.row_axis) &&
         finite_vector(frame.column_axis) &&
         finite(frame.pixel_x_mm, frame.pixel_y_mm, frame.thickness_mm);
}

bool is_possible(const Header& header) {
  constexpr std::int64_t kMost = 65535, kMostFrames = 100000;
  return header.columns >= 0 && header.columns <= kMost && header.rows >= 0 &&
         header.rows <= kMost && header.frames >= 1 && header.frames <= kMostFrames &&
         header.planes.size() <= static_cast<std::size_t>(header.frames) &&
         std::all_of(header.planes.begin(), header.planes.end(),
                     [&](const FrameHeader& frame) { return frame.frame < header.frames; });
}

bool is_possible(const DecodedFrame& frame) {
  constexpr std::int64_t kMost = 65535;
  if (frame.columns < 1 || frame.rows < 1 || frame.columns > kMost || frame.rows > kMost)
    return false;
  const auto pixels = static_cast<std::size_t>(frame.columns * frame.rows);
  const std::size_t plain = frame.plain.view.size(), stored = frame.stored.size();
  return (plain == 0 || stored == 0) && plain + stored == pixels &&
         (frame.padding.empty() || frame.padding.size() == stored);
}

}  // namespace dicom

Outcome<LiverMask> read_seg_mask(const std::filesystem::path& path, const LoadedVolume& volume,
                                 const MaskOptions& options) {
  return read_object<dicom::rasterise_seg>(path, volume, options);
}

Outcome<LiverMask> read_rtstruct_mask(const std::filesystem::path& path, const LoadedVolume& volume,
                                      const MaskOptions& options) {
  return read_object<dicom::rasterise_rtstruct>(path, volume, options);
}

Outcome<std::vector<std::uint8_t>> seg_object(const std::filesystem::path& source,
                                              const LoadedVolume& loaded, const LiverMask& mask,
                                              const Organ& organ, const SegStyle& style) {
  if (worker_pool() == nullptr) return dicom::build_seg(source, loaded, mask, organ, style);
  return isolated<on_grid<dicom::build_seg, LiverMask, Organ, SegStyle>>(
      "mask", source, grid_of(loaded), mask, organ, style);
}

}  // namespace wsp
