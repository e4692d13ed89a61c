#include "io/medical/image_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <sstream>
#include <type_traits>

#include "io/core/error.hpp"
#include "io/core/large_buffer.hpp"
#include "io/medical/image_header.hpp"
#include "io/medical/isolated.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// File order, x fastest.
struct Pixels {
  ImageHeader header;
  SharedSpan<char> bytes;  ///< as stored
  double slope = 1, intercept = 0;
  std::vector<LabelImage::Segment> segments;

  [[nodiscard]] bool as_stored() const { return slope == 1 && intercept == 0; }
  template <class T>
  [[nodiscard]] double scaled(T stored) const {
    return static_cast<double>(stored) * slope + intercept;
  }
};

// Call visit(const T*) with the voxels as stored; false for a type that is no number.
template <class Visit>
bool with_values(const Pixels& pixels, Visit&& visit) {
  const std::string& type = pixels.header.component;
  const auto as = [&]<class T>(const char* name, T) {
    if (type != name) return false;
    visit(reinterpret_cast<const T*>(pixels.bytes.view.data()));
    return true;
  };
  return as("int16", std::int16_t{}) || as("uint16", std::uint16_t{}) ||
         as("int8", std::int8_t{}) || as("uint8", std::uint8_t{}) || as("int32", std::int32_t{}) ||
         as("uint32", std::uint32_t{}) || as("int64", std::int64_t{}) ||
         as("uint64", std::uint64_t{}) || as("float32", 0.0F) || as("float64", 0.0);
}

WSP_FIELDS(Pixels, header, bytes, slope, intercept, segments)

/// Bytes of one number of a component; 0 for an unknown one.
std::size_t bytes_of_component(const Pixels& pixels) {
  std::size_t bytes = 0;
  with_values(pixels, [&](const auto* voxels) { bytes = sizeof *voxels; });
  return bytes;
}

bool is_possible(const Pixels& pixels) {
  const std::span bytes = pixels.bytes.view;
  return bytes.size() == static_cast<std::size_t>(pixels.header.geometry.voxels()) *
                             bytes_of_component(pixels) &&
         reinterpret_cast<std::uintptr_t>(bytes.data()) % sizeof(double) == 0 &&
         std::isfinite(pixels.slope) && std::isfinite(pixels.intercept);
}

Outcome<ImageHeader> parse_header(const fs::path& path) {
  if (image::is_nrrd(path)) {
    auto nrrd = image::read_nrrd_header(path);
    if (!nrrd) return nrrd.rejection();
    return std::move(nrrd).value().image;
  }
  auto nifti = image::read_nifti_header(path);
  if (!nifti) return nifti.rejection();
  return std::move(nifti).value().image;
}

// By no library: ITK's nifti turns NaN into 0 without a word, and Debian's knows no NIfTI-2.
Outcome<Pixels> read_nifti_pixels(const fs::path& path) {
  auto read = image::read_nifti_header(path);
  if (!read) return read.rejection();
  const image::NiftiHeader& header = read.value();
  auto voxels = image::read_nifti_voxels(header);
  if (!voxels) return voxels.rejection();
  return Pixels{header.image, std::move(voxels).value(), header.slope, header.intercept, {}};
}

Outcome<Pixels> read_nrrd_pixels(const fs::path& path) {
  auto read = image::read_nrrd_header(path);
  if (!read) return read.rejection();
  image::NrrdHeader& header = read.value();
  auto voxels = image::read_nrrd_voxels(header);
  if (!voxels) return voxels.rejection();
  return Pixels{std::move(header.image), std::move(voxels).value(), 1, 0,
                std::move(header.segments)};
}

Outcome<Pixels> parse_pixels(const fs::path& path) {
  return image::is_nrrd(path) ? read_nrrd_pixels(path) : read_nifti_pixels(path);
}

std::vector<fs::path> parse_files(const fs::path& header) {
  std::vector<fs::path> files{header};
  if (image::is_nrrd(header)) {
    const auto data = image::nrrd_data(header);
    files.insert(files.end(), data.begin(), data.end());
  } else if (fs::path data = image::pair_data(header); !data.empty()) {
    files.push_back(std::move(data));
  }
  return files;
}

Outcome<ImageHeader> header_of(const fs::path& path) {
  return isolated<parse_header>("scan", path);
}

Outcome<Pixels> read_pixels(const fs::path& path) {
  const auto seconds = [&] {
    double sum = 0;
    for (const fs::path& file : image_files(path)) sum += seconds_for(file);
    return sum;
  };
  try {
    return isolated_or_lost<parse_pixels>(seconds, path);
  } catch (const WorkerLost& lost) {
    return refusal_of(lost, "read");
  } catch (const std::bad_alloc&) {
    return refuse_read(Code::TOO_LARGE, "no memory for the voxels");
  }
}

// Where the voxels of the canonical grid stand in the file: x to the patient's left, y to
// posterior, z to the head. Axes are permuted and flipped, never resampled.
struct CanonicalOrder {
  Geometry geometry;
  std::int64_t start = 0;
  std::array<std::int64_t, 3> step{};

  explicit CanonicalOrder(const Geometry& from) {
    std::array<std::size_t, 3> source{0, 1, 2};  // canonical axis -> file axis
    std::array<std::size_t, 3> order{0, 1, 2};
    double best = -1;
    do {
      double fit = 0;
      for (std::size_t k = 0; k < 3; ++k) fit += std::abs(from.axis[order[k]][k]);
      if (fit > best) {
        best = fit;
        source = order;
      }
    } while (std::next_permutation(order.begin(), order.end()));
    const std::array<std::int64_t, 3> stride{1, from.size[0], from.size[0] * from.size[1]};
    geometry.origin_mm = from.origin_mm;
    for (std::size_t k = 0; k < 3; ++k) {
      const std::size_t s = source[k];
      const bool flip = from.axis[s][k] < 0;
      geometry.size[k] = from.size[s];
      geometry.spacing_mm[k] = from.spacing_mm[s];
      geometry.axis[k] = flip ? -1.0 * from.axis[s] : from.axis[s];
      step[k] = flip ? -stride[s] : stride[s];
      if (!flip) continue;
      const auto last = from.size[s] - 1;
      start += last * stride[s];
      geometry.origin_mm =
          geometry.origin_mm + (static_cast<double>(last) * from.spacing_mm[s]) * from.axis[s];
    }
  }

  template <class T>
  void copy(const T* file, T* canonical) const {
    if (std::abs(step[0]) != 1)
      return for_each([&](std::size_t i, std::int64_t j) { canonical[i] = file[j]; });
    const std::int64_t nx = geometry.size[0];
    for (std::int64_t z = 0; z < geometry.size[2]; ++z)
      for (std::int64_t y = 0; y < geometry.size[1]; ++y, canonical += nx) {
        const T* row = file + start + y * step[1] + z * step[2];
        if (step[0] == 1)
          std::copy(row, row + nx, canonical);
        else
          std::reverse_copy(row - nx + 1, row + 1, canonical);
      }
  }

  // Call take(i, j) for canonical voxel i = 0, 1, ... at file offset j.
  template <class Take>
  void for_each(Take&& take) const {
    std::size_t i = 0;
    for (std::int64_t z = 0; z < geometry.size[2]; ++z)
      for (std::int64_t y = 0; y < geometry.size[1]; ++y) {
        const std::int64_t row = start + y * step[1] + z * step[2];
        for (std::int64_t x = 0; x < geometry.size[0]; ++x) take(i++, row + x * step[0]);
      }
  }
};

LabelImage labels_without_values(const Pixels& pixels, const CanonicalOrder& order) {
  LabelImage image;
  image.geometry = order.geometry;
  image.segments = pixels.segments;
  image.flags = pixels.header.flags;
  return image;
}

}  // namespace

bool is_image_file_name(const fs::path& path) {
  for (const std::string_view end : {".nii", ".nii.gz", ".hdr", ".hdr.gz", ".nrrd", ".nhdr"})
    if (image::has_ending(path, end)) return true;
  return false;
}

std::string image_stem(const fs::path& path) {
  std::string name = path.filename().string();
  for (const std::string_view end : {".seg.nrrd", ".seg.nhdr", ".nii.gz", ".nii", ".hdr.gz", ".hdr",
                                     ".img.gz", ".img", ".nrrd", ".nhdr"})
    if (image::has_ending(path, end)) {
      name.resize(name.size() - end.size());
      break;
    }
  return name;
}

std::vector<fs::path> image_files(const fs::path& header) {
  try {
    return isolated_or_lost<parse_files>([&] { return seconds_for(header); }, header);
  } catch (const WorkerLost&) {  // its header is refused for that
    return {header};
  }
}

Outcome<ImageHeader> read_image_header(const fs::path& path) { return header_of(path); }

Outcome<ImageVolume> read_image_volume(const fs::path& path) {
  auto pixels = read_pixels(path);
  if (!pixels) return pixels.rejection();
  const CanonicalOrder order(pixels.value().header.geometry);
  ImageVolume image;
  Volume& volume = image.volume;
  volume.geometry = order.geometry;
  volume.flags = pixels.value().header.flags;
  volume.hu = spare_vectors<std::int16_t>().take(static_cast<std::size_t>(order.geometry.voxels()));
  image.minimum = std::numeric_limits<std::int64_t>::max();
  image.maximum = std::numeric_limits<std::int64_t>::min();
  bool finite = true;
  const bool known = with_values(pixels.value(), [&](const auto* voxels) {
    using Stored = std::decay_t<decltype(*voxels)>;
    const auto take = [&](std::size_t i, std::int64_t value) {
      image.minimum = std::min(image.minimum, value);
      image.maximum = std::max(image.maximum, value);
      image.sum += value;
      volume.hu[i] = static_cast<std::int16_t>(std::clamp<std::int64_t>(value, -32768, 32767));
    };
    if constexpr (std::is_integral_v<Stored> && sizeof(Stored) <= 2)
      if (pixels.value().as_stored())
        return order.for_each([&](std::size_t i, std::int64_t j) { take(i, voxels[j]); });
    order.for_each([&](std::size_t i, std::int64_t j) {
      const double exact = pixels.value().scaled(voxels[j]);
      finite = finite && std::isfinite(exact);
      // A voxel beyond this is no Hounsfield unit; the bound keeps the sum from overflowing.
      const double rounded = finite ? std::clamp(std::nearbyint(exact), -1e9, 1e9) : 0.0;
      image.whole = image.whole && rounded == exact;
      take(i, static_cast<std::int64_t>(rounded));
    });
  });
  if (!known) return refuse_read(Code::BAD_HEADER, "unknown voxel type");
  if (!finite) return refuse_read(Code::NOT_HU, "a voxel is not a finite number");
  const Geometry& g = volume.geometry;
  const Vec3 perpendicular = cross(g.axis[0], g.axis[1]);
  const Vec3 normal = (1 / norm(perpendicular)) * perpendicular;
  for (std::int64_t k = 0; k < g.size[2]; ++k) {
    volume.slice_origin_mm.push_back(g.world({0, 0, static_cast<double>(k)}));
    volume.z_mm.push_back(dot(volume.slice_origin_mm.back(), normal));
    volume.source_index.push_back(static_cast<std::int32_t>(k));
  }
  constexpr double kStraight = 0.9998;  // within 1 degree of the patient's axes
  for (std::size_t k = 0; k < 3; ++k)
    if (std::abs(g.axis[k][k]) < kStraight) {
      volume.flags.push_back(Code::OBLIQUE);
      break;
    }
  return image;
}

std::vector<std::uint8_t> in_file_order(const LiverMask& mask, const Geometry& file) {
  const CanonicalOrder order(file);
  if (order.geometry.size != mask.geometry.size ||
      mask.voxels.size() != static_cast<std::size_t>(file.voxels()))
    throw Error(ErrorCode::failure, "a mask and the file that it is for differ in size");
  std::vector<std::uint8_t> voxels(mask.voxels.size());
  order.for_each(
      [&](std::size_t i, std::int64_t j) { voxels[static_cast<std::size_t>(j)] = mask.voxels[i]; });
  return voxels;
}

namespace {

Outcome<LabelImage> whole_numbers(const Pixels& pixels) {
  const CanonicalOrder order(pixels.header.geometry);
  LabelImage image = labels_without_values(pixels, order);
  std::optional<double> odd;
  image.values.resize(static_cast<std::size_t>(order.geometry.voxels()));
  const bool known = with_values(pixels, [&](const auto* voxels) {
    using Stored = std::decay_t<decltype(*voxels)>;
    if constexpr (std::is_integral_v<Stored> && sizeof(Stored) <= 2)
      if (pixels.as_stored())
        return order.for_each([&](std::size_t i, std::int64_t j) { image.values[i] = voxels[j]; });
    order.for_each([&](std::size_t i, std::int64_t j) {
      const double exact = pixels.scaled(voxels[j]);
      const double nearest = std::nearbyint(exact);
      constexpr double kRounding = 1e-3;
      if (std::abs(exact - nearest) <= kRounding)
        image.values[i] = static_cast<std::int32_t>(std::clamp(nearest, -2e9, 2e9));
      else
        odd = exact;  // NaN and infinity too
    });
  });
  if (!known) return refuse_read(Code::BAD_HEADER, "unknown voxel type");
  if (odd) {
    std::ostringstream detail;
    detail << "a voxel is " << *odd << ", no whole number: ";
    detail << (std::isfinite(*odd) ? "a map of probabilities or an image, not of labels"
                                   : "it has no label");
    return refuse_read(Code::MASK_UNREADABLE, detail.str());
  }
  return image;
}

}  // namespace

double label_image_bytes(const fs::path& path) {
  const auto header = header_of(path);
  if (!header) return 0;
  const std::string& type = header.value().component;
  const auto digits = type.find_first_of("0123456789");
  const double stored = digits == std::string::npos ? 8 : std::stod(type.substr(digits)) / 8;
  return (stored + sizeof(std::int32_t)) * static_cast<double>(header.value().geometry.voxels());
}

Outcome<LabelImage> read_label_image(const fs::path& path) {
  const auto pixels = read_pixels(path);
  if (!pixels) return pixels.rejection();
  return whole_numbers(pixels.value());
}

Outcome<LabelImage> read_labels(const fs::path& path) {
  const auto read = read_pixels(path);
  if (!read) return read.rejection();
  const Pixels& pixels = read.value();
  if (pixels.header.component != "uint8" || !pixels.as_stored()) return whole_numbers(pixels);
  const CanonicalOrder order(pixels.header.geometry);
  LabelImage image = labels_without_values(pixels, order);
  image.bytes =
      spare_vectors<std::uint8_t>().take(static_cast<std::size_t>(order.geometry.voxels()));
  order.copy(reinterpret_cast<const std::uint8_t*>(pixels.bytes.view.data()), image.bytes.data());
  return image;
}

}  // namespace wsp
