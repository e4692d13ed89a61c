#include <algorithm>
#include <cmath>
#include <map>
#include <new>

#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "io/core/progress.hpp"
#include "io/medical/dicom_header.hpp"
#include "io/medical/export_walk.hpp"
#include "io/medical/image_header.hpp"
#include "io/medical/kept_image.hpp"
#include "io/medical/masks.hpp"
#include "io/medical/saved_scan.hpp"
#include "io/medical/scan.hpp"
#include "io/medical/series_group.hpp"
#include "io/medical/transfer_syntax.hpp"
#include "io/medical/value_proof.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

/// A NIfTI or NRRD header and the files that hold its voxels.
struct ImageEntry {
  Outcome<ImageHeader> header;
  std::vector<fs::path> files;          ///< header first
  std::vector<std::size_t> data_files;  ///< those behind it, as indices into the scan's files
};

bool is_voxels_by_name(const fs::path& path) {
  return image::has_ending(path, ".img") || image::has_ending(path, ".img.gz") ||
         image::has_ending(path, ".raw") || image::has_ending(path, ".raw.gz");
}

bool by_path(const FileEntry& a, const FileEntry& b) { return a.relative_path < b.relative_path; }

/// A scan of one file reads what stands behind it, too.
void add_data_files(Scan& scan) {
  const std::string name = scan.files.front().relative_path;
  if (!is_image_file_name(name)) return;
  for (const fs::path& path : image_files(scan.root / name)) {
    FileEntry entry;
    entry.relative_path = path.lexically_relative(scan.root).generic_string();
    if (scan.root.empty()) entry.relative_path = path.generic_string();
    if (entry.relative_path == name) continue;
    std::error_code error;
    entry.bytes = fs::file_size(path, error);
    entry.code = Code::USED;
    scan.files.push_back(std::move(entry));
  }
  std::sort(scan.files.begin(), scan.files.end(), by_path);
}

/// Give every file with voxels to the header that names it; returns the owner of each. An image
/// whose voxels were left out of the scan is refused, and so are two that read the same voxels
/// differently.
std::map<std::size_t, std::size_t> claim_data(const std::vector<FileEntry>& files,
                                              std::vector<std::optional<ImageEntry>>& images) {
  std::map<std::size_t, std::size_t> owners;
  const auto refuse = [](Code code, const char* detail) {
    return Rejection{"", "scan", code, detail};
  };
  const auto claim = [&](std::size_t i) {
    ImageEntry& image = *images[i];
    const fs::path& header = image.files.front();
    for (std::size_t k = 1; k < image.files.size(); ++k) {
      FileEntry wanted;
      wanted.relative_path = (fs::path(files[i].relative_path).parent_path() /
                              image.files[k].lexically_relative(header.parent_path()))
                                 .lexically_normal()
                                 .generic_string();
      const auto at = std::lower_bound(files.begin(), files.end(), wanted, by_path);
      if (at == files.end() || at->relative_path != wanted.relative_path) {
        image.header =
            refuse(Code::BAD_HEADER, "its voxels lie behind a link that was not followed");
        return;
      }
      if (at->code == Code::EXCLUDED) {
        image.header = refuse(Code::EXCLUDED, "the file with its voxels");
        return;
      }
      image.data_files.push_back(static_cast<std::size_t>(at - files.begin()));
    }
    for (const std::size_t file : image.data_files) {
      const auto [owner, fresh] = owners.emplace(file, i);
      Outcome<ImageHeader>& other = images[owner->second]->header;
      if (fresh || !image.header || !other) continue;
      if (same_grid(image.header.value().geometry, other.value().geometry) &&
          image.header.value().component == other.value().component)
        image.header = refuse(Code::DUPLICATE_FILE, "another header of the same voxels");
      else
        image.header = other = refuse(Code::BAD_HEADER,
                                      "two headers describe the same voxels "
                                      "differently");
    }
  };
  // A header that is refused leaves its voxels to one that is not.
  std::vector<std::size_t> refused;
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (!images[i]) continue;
    if (images[i]->header)
      claim(i);
    else
      refused.push_back(i);
  }
  for (const std::size_t i : refused) claim(i);
  return owners;
}

/// Of a file that could not be read as what it seemed to be: whether it is packed, or whether the
/// disk, the network share or the permissions are to blame and not its bytes.
bool explain_refusal(const fs::path& path, bool image, FileEntry& entry) {
  if (!image && entry.code != Code::NOT_DICOM && entry.code != Code::EMPTY_FILE &&
      entry.code != Code::UNREADABLE && entry.code != Code::TRUNCATED_FILE &&
      entry.code != Code::PERMISSION_DENIED)
    return false;
  const bool whole = entry.code == Code::UNREADABLE || entry.code == Code::TRUNCATED_FILE;
  if (ReadFailure failure = read_failure(path, whole); !failure.why.empty()) {
    entry.code = Code::PERMISSION_DENIED;
    entry.detail = std::move(failure.why);
    entry.system_failed = failure.system_failed;
    return true;
  }
  const auto kind = archive_kind(path);
  if (!kind || (image && *kind == "gzip")) return false;
  entry.code = Code::ARCHIVE;
  entry.detail = *kind;
  return true;
}

/// Read again what may have failed for the moment's sake alone.
template <class T, class Read, class Doubt>
T twice(const Read& read, const Doubt& doubt) {
  T first = read();
  return doubt(first) ? read() : first;
}

/// As it was saved, or read.
dicom::Header header_of(const fs::path& path, const std::string& name, const ScanOptions& options) {
  std::optional<FileStamp> stamp;
  if (options.known != nullptr || options.kept != nullptr) stamp = stamp_of(path);
  const dicom::Header* known =
      stamp && options.known != nullptr ? options.known->find(name, *stamp) : nullptr;
  dicom::Header header =
      known != nullptr ? *known
                       : twice<dicom::Header>(
                             [&] { return dicom::read_header(path); },
                             [](const dicom::Header& read) { return may_be_the_disk(read.code); });
  if (stamp && options.kept != nullptr) options.kept->keep(name, *stamp, header);
  return header;
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
  series.flags = header.flags;
  dicom::measure_geometry(series);
  if (g.size[stack] < options.min_slices) {
    series.code = Code::TOO_FEW_SLICES;
    series.detail =
        std::to_string(g.size[stack]) + " slices, expected " + std::to_string(options.min_slices);
  }
  dicom::score_series(series, {}, options);
  return series;
}

/// The scan in its making: what was read of each file, by its index.
class Scanner {
 public:
  Scanner(const fs::path& root, const ScanOptions& options) : options_(options) {
    scan_.root = root;
    scan_.files = list_files(scan_.root, {options.follow_links, options.exclude});
    if (scan_.files.size() == 1 && !fs::is_directory(root)) add_data_files(scan_);
    headers_.resize(scan_.files.size());
    images_.resize(scan_.files.size());
    masks_.resize(scan_.files.size());
    if (options.kept_bytes > 0) room_ = std::make_shared<dicom::KeptRoom>(options.kept_bytes);
  }

  Scan run() {
    Progress progress("reading headers", scan_.files.size(), "files");
    // Images first: their headers say which files hold their voxels. What is left may be DICOM.
    each_file([&](std::size_t i, const fs::path& path) {
      if (read_image(i, path)) progress.advance();
    });
    const auto owners = claim_data(scan_.files, images_);
    each_file([&](std::size_t i, const fs::path& path) {
      if (images_[i]) return;
      progress.advance();
      if (!owners.contains(i)) read_dicom(i, path);  // else disposed of with its header, below
    });
    progress.finish();

    scan_.series = dicom::group_series(scan_.root, headers_, scan_.files, options_);
    for (std::size_t i = 0; i < scan_.files.size(); ++i) {
      if (images_[i]) take_image(i);
      if (masks_[i]) take_mask(i);
    }
    prove_values(scan_, options_);
    for (const auto& [file, header] : owners) {
      scan_.files[file].code = scan_.files[header].code;
      scan_.files[file].detail = "voxels of another file's header";
    }
    std::sort(scan_.series.begin(), scan_.series.end(),
              [](const Series& a, const Series& b) { return a.key < b.key; });
    return std::move(scan_);
  }

 private:
  template <class Read>
  void each_file(const Read& read) {
    wsp::parallel_loop(std::size_t{0}, scan_.files.size(), [&](std::size_t i) {
      stop_if_interrupted("nothing was written; run the same command again");
      const FileEntry& entry = scan_.files[i];
      if (entry.code == Code::USED) read(i, scan_.root / entry.relative_path);
    });
  }

  /// Whether that is all there is to read in the file.
  bool read_image(std::size_t i, const fs::path& path) {
    FileEntry& entry = scan_.files[i];
    if (entry.bytes == 0) {
      entry.code = Code::EMPTY_FILE;
      return true;
    }
    if (is_apple_double(path)) {
      entry.code = Code::APPLEDOUBLE;
      return true;
    }
    if (!is_image_file_name(path)) return false;
    std::optional<ImageEntry>& image = images_[i];
    try {
      image = {twice<Outcome<ImageHeader>>([&] { return read_image_header(path); },
                                           [](const auto& read) {
                                             return !read && may_be_the_disk(read.rejection().code);
                                           }),
               image_files(path),
               {}};
    } catch (const std::exception&) {
      image = {Rejection{"", "scan", Code::UNREADABLE, "exception while reading the header"},
               {path},
               {}};
    }
    if (!image->header && explain_refusal(path, true, entry)) image.reset();
    return true;
  }

  void read_dicom(std::size_t i, const fs::path& path) {
    FileEntry& entry = scan_.files[i];
    dicom::Header& header = headers_[i];
    const auto refuse = [&](Code code, const char* detail) {
      header = {};
      header.code = code;
      header.detail = detail;
    };
    try {
      header = header_of(path, entry.relative_path, options_);
      const bool seg = header.kind == dicom::FileKind::seg;
      if (seg || header.kind == dicom::FileKind::rtstruct)
        masks_[i] = twice<Outcome<MaskObject>>([&] { return read_mask_references(path, !seg); },
                                               [](const auto& read) { return !read.ok(); });
    } catch (const std::bad_alloc&) {
      refuse(Code::TOO_LARGE, "no memory for its header");
    } catch (const std::exception&) {
      refuse(Code::UNREADABLE, "exception while reading the header");
    }
    entry.code = header.code;
    entry.detail = header.detail;
    entry.native = header.native;
    if (room_ != nullptr && header.code == Code::USED && header.frames == 1 &&
        dicom::is_compressed_syntax(header.transfer_syntax))
      entry.kept = std::make_shared<dicom::KeptImage>(room_);
    const bool voxels = entry.code == Code::NOT_DICOM && is_voxels_by_name(path);
    const bool explained = explain_refusal(path, voxels, entry);
    if (voxels && !explained) entry.code = Code::DATA_WITHOUT_HEADER;
  }

  void take_image(std::size_t i) {
    FileEntry& entry = scan_.files[i];
    const Outcome<ImageHeader>& header = images_[i]->header;
    if (header) {
      scan_.series.push_back(image_series(i, entry, header.value(), options_));
      scan_.series.back().data_files = images_[i]->data_files;
      entry.code = scan_.series.back().code;
      entry.detail = header.value().component;
    } else {
      entry.code = header.rejection().code;
      entry.detail = header.rejection().detail;
    }
  }

  void take_mask(std::size_t i) {
    const Outcome<MaskObject>& mask = *masks_[i];
    if (mask.ok()) {
      MaskObject object = mask.value();
      object.file = i;
      object.is_rtstruct = headers_[i].kind == dicom::FileKind::rtstruct;
      scan_.masks.push_back(std::move(object));
    } else {
      scan_.files[i].code = mask.rejection().code;
      scan_.files[i].detail = mask.rejection().detail;
    }
  }

  const ScanOptions& options_;
  Scan scan_;
  std::shared_ptr<dicom::KeptRoom> room_;
  std::vector<dicom::Header> headers_;
  std::vector<std::optional<ImageEntry>> images_;
  std::vector<std::optional<Outcome<MaskObject>>> masks_;
};

}  // namespace

bool may_be_the_disk(Code code) {
  return code == Code::UNREADABLE || code == Code::TRUNCATED_FILE || code == Code::EMPTY_FILE ||
         code == Code::NOT_DICOM || code == Code::NO_PIXELS || code == Code::BAD_HEADER ||
         code == Code::DECODE_FAILED || code == Code::PERMISSION_DENIED ||
         code == Code::MASK_UNREADABLE;
}

Scan scan_export(const fs::path& root, const ScanOptions& options) {
  initialise_medical_io();
  return Scanner(root, options).run();
}

}  // namespace wsp
