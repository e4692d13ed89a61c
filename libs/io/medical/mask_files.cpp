#include <algorithm>
#include <cmath>
#include <set>

#include "io/core/error.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

std::string stem_of(std::string name) {
  for (const std::string_view end : {".gz", ".nii", ".nrrd", ".nhdr", ".hdr"})
    if (name.size() > end.size() && name.ends_with(end)) name.resize(name.size() - end.size());
  return name;
}

// The names under which the mask of one volume may go.
std::set<std::string> candidates(const Series& series) {
  std::set<std::string> stems;
  for (const std::string& id : {series.series_uid, series.patient_id, series.key})
    if (!id.empty()) stems.insert(id);
  if (!series.is_dicom) {
    std::string stem = stem_of(fs::path(series.relative_path).filename().string());
    stems.insert(stem);
    if (stem.ends_with("_0000")) {
      stem.resize(stem.size() - 5);
      stems.insert(stem);
    }
    if (stem.starts_with("volume-")) stems.insert("segmentation-" + stem.substr(7));
    const std::string folder = fs::path(series.relative_path).parent_path().filename().string();
    if (!folder.empty()) stems.insert(folder + "/liver");
  }
  for (const std::string& stem : std::set<std::string>(stems))
    for (const char* end : {"_seg", "_mask", "_liver", "-seg", "-mask", "/liver"})
      stems.insert(stem + end);
  return stems;
}

}  // namespace

MaskDirectory::MaskDirectory(const fs::path& root) : root_(root) {
  std::error_code ec;
  if (!fs::is_directory(root, ec))
    throw Error(ErrorCode::no_input,
                "the mask directory " + root.string() +
                    " cannot be read; expected a folder of NIfTI or NRRD files");
  std::error_code walk;
  for (fs::recursive_directory_iterator it(root, walk), end; !walk && it != end;
       it.increment(walk)) {
    const fs::path& path = it->path();
    if (!it->is_regular_file(walk) || walk || !is_image_file_name(path)) continue;
    if (path.filename().string().starts_with('.')) continue;  // shadow files of macOS
    std::string stem = stem_of(path.filename().string());
    if (stem == "liver") {
      // TotalSegmentator: CASE/liver.nii.gz or CASE/segmentations/liver.nii.gz
      fs::path folder = path.parent_path();
      if (folder.filename() == "segmentations" && folder != root) folder = folder.parent_path();
      stem = folder.filename().string() + "/liver";
    }
    entries_.push_back({stem, path, false});
  }
  if (walk)
    throw Error(ErrorCode::no_input,
                "the mask directory " + root.string() + " cannot be read: " + walk.message());
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.path < b.path; });
}

std::vector<fs::path> MaskDirectory::find(const Series& series) const {
  const auto stems = candidates(series);
  std::vector<fs::path> found;
  for (const Entry& entry : entries_)
    if (stems.contains(entry.stem)) {
      entry.used = true;
      found.push_back(entry.path);
    }
  return found;
}

std::vector<std::string> MaskDirectory::unused() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_)
    if (!entry.used) names.push_back(fs::relative(entry.path, root_).generic_string());
  return names;
}

Outcome<LiverMask> read_mask_file(const fs::path& path, const LoadedVolume& loaded,
                                  const MaskOptions& options) {
  auto read = read_label_image(path);
  if (!read)
    return Rejection{"", "mask", Code::MASK_UNREADABLE,
                     std::string(to_string(read.rejection().code)) + " " + read.rejection().detail};
  const LabelImage& image = read.value();
  const Volume& volume = loaded.volume;
  const Geometry& g = volume.geometry;
  const auto is_liver = [&](std::int32_t value) {
    return std::find(options.liver_labels.begin(), options.liver_labels.end(), value) !=
           options.liver_labels.end();
  };
  LiverMask mask;
  mask.geometry = g;
  mask.voxels.assign(static_cast<std::size_t>(g.voxels()), 0);
  // Every slice lies where its own origin says: spacing may be uneven.
  bool same = image.geometry.size == g.size &&
              same_grid({g.size,
                         {g.spacing_mm[0], g.spacing_mm[1], image.geometry.spacing_mm[2]},
                         g.origin_mm,
                         g.axis},
                        image.geometry, 0.05);
  for (std::int64_t k = 0; same && k < g.size[2]; ++k)
    same = norm(volume.slice_origin_mm[static_cast<std::size_t>(k)] -
                image.geometry.world({0, 0, static_cast<double>(k)})) < 0.05;
  if (same) {
    for (std::size_t i = 0; i < mask.voxels.size(); ++i)
      mask.voxels[i] = is_liver(image.values[i]) ? 1 : 0;
    return mask;
  }
  const auto [nx, ny, nz] = image.geometry.size;
  std::int64_t liver_in_file = std::count_if(image.values.begin(), image.values.end(), is_liver);
  std::int64_t hits = 0;
  const Vec3 dx = g.spacing_mm[0] * g.axis[0];
  const Vec3 dy = g.spacing_mm[1] * g.axis[1];
  for (std::int64_t z = 0; z < g.size[2]; ++z) {
    const Vec3& start = volume.slice_origin_mm[static_cast<std::size_t>(z)];
    const Vec3 i0 = image.geometry.index(start);
    const Vec3 ix = image.geometry.index(start + dx) - i0;
    const Vec3 iy = image.geometry.index(start + dy) - i0;
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x) {
        const Vec3 at = i0 + static_cast<double>(x) * ix + static_cast<double>(y) * iy;
        const auto a = std::llround(at[0]), b = std::llround(at[1]), c = std::llround(at[2]);
        if (a < 0 || b < 0 || c < 0 || a >= nx || b >= ny || c >= nz) continue;
        if (!is_liver(image.values[static_cast<std::size_t>((c * ny + b) * nx + a)])) continue;
        mask.voxels[static_cast<std::size_t>((z * g.size[1] + y) * g.size[0] + x)] = 1;
        ++hits;
      }
  }
  if (liver_in_file > 0 && hits == 0)
    return Rejection{"", "mask", Code::MASK_MISMATCH,
                     "the mask lies outside the volume: its affine belongs to another grid"};
  mask.flags.push_back(Code::MASK_RESAMPLED);
  // A liver that ends where its own file ends was cut, wherever the volume ends.
  const auto cut = [&](std::int64_t slice) {
    const auto begin = image.values.begin() + slice * nx * ny;
    return std::any_of(begin, begin + nx * ny, is_liver);
  };
  if (nz > 1 && (cut(0) || cut(nz - 1))) mask.flags.push_back(Code::LIVER_TRUNCATED);
  return mask;
}

}  // namespace wsp
