#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <system_error>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/progress.hpp"
#include "io/medical/dicom_header.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "io/medical/scan.hpp"
#include "io/medical/series_group.hpp"
#include "io/medical/value_proof.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

/// List regular files below root, sorted by path; what cannot be entered is left out with its code.
void walk(const fs::path& root, const fs::path& relative, std::vector<FileEntry>& files) {
  std::error_code error;
  fs::directory_iterator entries(root / relative, error);
  if (error) {
    if (relative.empty()) {
      throw Error(ErrorCode::no_input,
                  "expected a readable directory as export, found: " + error.message());
    }
    FileEntry entry;
    entry.relative_path = relative.generic_string();
    entry.code = Code::PERMISSION_DENIED;
    entry.detail = "directory";
    files.push_back(std::move(entry));
    return;
  }
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    if (error) break;
    const fs::directory_entry& item = *entries;
    const fs::path path = relative / item.path().filename();
    if (item.is_directory(error)) {
      // Links to directories are not followed: they can form circles.
      if (!item.is_symlink(error)) walk(root, path, files);
      continue;
    }
    FileEntry entry;
    entry.relative_path = path.generic_string();
    if (item.is_regular_file(error)) {
      entry.bytes = item.file_size(error);
      entry.code = Code::USED;  // until its content says otherwise
    } else {
      entry.code = item.is_symlink(error) ? Code::PERMISSION_DENIED : Code::NOT_DICOM;
      entry.detail = item.is_symlink(error) ? "broken link" : "not a regular file";
    }
    files.push_back(std::move(entry));
  }
}

std::vector<FileEntry> list_files(fs::path& root) {
  std::error_code error;
  const fs::file_status status = fs::status(root, error);
  if (!fs::exists(status))
    throw Error(ErrorCode::no_input, "expected an export to scan, found nothing at the path given");
  std::vector<FileEntry> files;
  if (fs::is_directory(status)) {
    walk(root, {}, files);
  } else {
    FileEntry entry;
    entry.relative_path = root.filename().generic_string();
    entry.bytes = fs::file_size(root, error);
    entry.code = Code::USED;
    files.push_back(std::move(entry));
    root = root.parent_path();
  }
  std::sort(files.begin(), files.end(), [](const FileEntry& a, const FileEntry& b) {
    return a.relative_path < b.relative_path;
  });
  return files;
}

bool is_nifti_pixels(const std::string& name) {
  return name.ends_with(".img") || name.ends_with(".img.gz");
}

/// The header file of a NIfTI or Analyze pair, or an index past the end.
std::size_t find_pair_header(const std::vector<FileEntry>& files, const std::string& pixels) {
  const std::string stem = pixels.substr(0, pixels.rfind(".img"));
  for (const char* extension : {".hdr", ".hdr.gz"}) {
    const std::string wanted = stem + extension;
    const auto at = std::lower_bound(
        files.begin(), files.end(), wanted,
        [](const FileEntry& f, const std::string& p) { return f.relative_path < p; });
    if (at != files.end() && at->relative_path == wanted)
      return static_cast<std::size_t>(at - files.begin());
  }
  return files.size();
}

/// A NIfTI or NRRD volume as a series: its axis nearest the body's becomes the stack.
Series image_series(std::size_t file, const FileEntry& entry, const ImageHeader& header,
                    const ScanOptions& options) {
  const Geometry& g = header.geometry;
  std::size_t stack = 0;
  for (std::size_t k = 1; k < 3; ++k) {
    if (std::abs(g.axis[k][2]) > std::abs(g.axis[stack][2])) stack = k;
  }
  const std::size_t x = stack == 0 ? 1 : 0;
  const std::size_t y = stack == 2 ? 1 : 2;
  Series series;
  series.key = entry.relative_path;
  series.is_dicom = false;
  series.relative_path = entry.relative_path;
  series.columns = g.size[x];
  series.rows = g.size[y];
  series.row_axis = g.axis[x];
  series.column_axis = g.axis[y];
  series.pixel_x_mm = g.spacing_mm[x];
  series.pixel_y_mm = g.spacing_mm[y];
  series.thickness_mm = g.spacing_mm[stack];
  for (std::int64_t k = 0; k < g.size[stack]; ++k) {
    Plane plane;
    plane.file = file;
    plane.frame = static_cast<std::int32_t>(k);
    Vec3 index{0, 0, 0};
    index[stack] = static_cast<double>(k);
    plane.position_mm = g.world(index);
    series.planes.push_back(std::move(plane));
  }
  series.code = Code::USED;
  dicom::measure_geometry(series);
  if (g.size[stack] < options.min_slices) {
    series.code = Code::TOO_FEW_SLICES;
    series.detail =
        std::to_string(g.size[stack]) + " slices, expected " + std::to_string(options.min_slices);
  }
  dicom::score_series(series, {}, options);
  return series;
}

}  // namespace

Scan scan_export(const fs::path& root, const ScanOptions& options) {
  initialise_medical_io();
  Scan scan;
  scan.root = root;
  scan.files = list_files(scan.root);
  std::vector<dicom::Header> headers(scan.files.size());
  std::vector<std::optional<Outcome<ImageHeader>>> images(scan.files.size());
  std::vector<std::optional<Outcome<MaskObject>>> masks(scan.files.size());

  Progress progress("reading headers", scan.files.size(), "files");
  tbb::parallel_for(std::size_t{0}, scan.files.size(), [&](std::size_t i) {
    stop_if_interrupted("nothing was written; run the same command again");
    progress.advance();
    FileEntry& entry = scan.files[i];
    if (entry.code != Code::USED) return;
    const fs::path path = scan.root / entry.relative_path;
    if (entry.bytes == 0) {
      entry.code = Code::EMPTY_FILE;
      return;
    }
    try {
      if (is_image_file_name(path)) {
        images[i] = read_image_header(path);
        return;
      }
      if (is_nifti_pixels(entry.relative_path) &&
          find_pair_header(scan.files, entry.relative_path) < scan.files.size()) {
        return;  // disposed of with its header, below
      }
      headers[i] = dicom::read_header(path);
      const bool seg = headers[i].kind == dicom::FileKind::seg;
      if (seg || headers[i].kind == dicom::FileKind::rtstruct)
        masks[i] = read_mask_references(path, !seg);
    } catch (const std::exception&) {
      headers[i] = {};
      headers[i].code = Code::UNREADABLE;
      headers[i].detail = "exception while reading the header";
    }
    entry.code = headers[i].code;
    entry.detail = headers[i].detail;
  });

  progress.finish();

  scan.series = dicom::group_series(scan.root, headers, scan.files, options);
  for (std::size_t i = 0; i < scan.files.size(); ++i) {
    FileEntry& entry = scan.files[i];
    if (images[i]) {
      entry.code = images[i]->ok() ? Code::USED : images[i]->rejection().code;
      if (!images[i]->ok()) {
        entry.detail = images[i]->rejection().detail;
        continue;
      }
      entry.detail = images[i]->value().component;
      scan.series.push_back(image_series(i, entry, images[i]->value(), options));
      entry.code = scan.series.back().code;
    }
    if (masks[i]) {
      if (masks[i]->ok()) {
        MaskObject object = masks[i]->value();
        object.file = i;
        object.is_rtstruct = headers[i].kind == dicom::FileKind::rtstruct;
        scan.masks.push_back(std::move(object));
      } else {
        entry.code = masks[i]->rejection().code;
        entry.detail = masks[i]->rejection().detail;
      }
    }
  }
  prove_values(scan, options);
  for (FileEntry& entry : scan.files) {
    if (!is_nifti_pixels(entry.relative_path)) continue;
    const std::size_t header = find_pair_header(scan.files, entry.relative_path);
    if (header < scan.files.size()) entry.code = scan.files[header].code;
  }
  std::sort(scan.series.begin(), scan.series.end(),
            [](const Series& a, const Series& b) { return a.key < b.key; });
  return scan;
}

}  // namespace wsp
