#include "io/medical/image_file.hpp"

#include <itkNiftiImageIO.h>
#include <itkNrrdImageIO.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/medical/image_header.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

Rejection refuse(Code code, std::string detail) { return {"", "read", code, std::move(detail)}; }

struct Pixels {
  ImageHeader header;
  std::vector<double> values;  // file order, x fastest
};

template <class T>
void widen(const std::vector<char>& raw, std::vector<double>& out) {
  const T* source = reinterpret_cast<const T*>(raw.data());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(source[i]);
}

itk::ImageIOBase::Pointer make_io(const fs::path& path) {
  itk::ImageIOBase::Pointer io;
  if (image::is_nrrd(path))
    io = itk::NrrdImageIO::New().GetPointer();
  else
    io = itk::NiftiImageIO::New().GetPointer();
  io->SetFileName(path.string());
  return io;
}

// ITK's view of the transform, for NRRD (already LPS).
Geometry geometry_from(const itk::ImageIOBase& io) {
  Geometry g;
  for (unsigned k = 0; k < 3; ++k) {
    g.size[k] = static_cast<std::int64_t>(io.GetDimensions(k));
    g.spacing_mm[k] = io.GetSpacing(k);
    g.origin_mm[k] = io.GetOrigin(k);
    const auto axis = io.GetDirection(k);
    g.axis[k] = {axis[0], axis[1], axis[2]};
  }
  return g;
}

Outcome<ImageHeader> header_of(const fs::path& path) {
  if (!image::is_nrrd(path)) return image::read_nifti_header(path);
  auto checked = image::check_nrrd_header(path);
  if (!checked) return checked;
  try {
    const auto io = make_io(path);
    io->ReadImageInformation();
    if (io->GetNumberOfDimensions() != 3) return refuse(Code::NOT_3D, "");
    if (io->GetNumberOfComponents() != 1) return refuse(Code::RGB_VOXELS, "");
    return ImageHeader{geometry_from(*io), itk::ImageIOBase::GetComponentTypeAsString(io->GetComponentType())};
  } catch (const std::exception&) {
    return refuse(Code::BAD_HEADER, "the NRRD header cannot be parsed");
  }
}

Outcome<Pixels> read_pixels(const fs::path& path) {
  auto header = header_of(path);
  if (!header) return header.rejection();
  Pixels pixels{header.value(), {}};
  const auto& size = pixels.header.geometry.size;
  try {
    const auto io = make_io(path);
    io->ReadImageInformation();
    itk::ImageIORegion region(3);
    for (unsigned k = 0; k < 3; ++k) {
      region.SetIndex(k, 0);
      region.SetSize(k, static_cast<itk::SizeValueType>(size[k]));
      if (io->GetDimensions(k) != static_cast<itk::SizeValueType>(size[k]))
        return refuse(Code::BAD_HEADER, "two readings of the header disagree");
    }
    io->SetIORegion(region);
    const auto voxels = static_cast<std::size_t>(pixels.header.geometry.voxels());
    std::vector<char> raw(voxels * io->GetComponentSize());
    io->Read(raw.data());
    pixels.values.resize(voxels);
    using Io = itk::ImageIOBase;
    switch (io->GetComponentType()) {
      case Io::UCHAR: widen<unsigned char>(raw, pixels.values); break;
      case Io::CHAR: widen<signed char>(raw, pixels.values); break;
      case Io::USHORT: widen<unsigned short>(raw, pixels.values); break;
      case Io::SHORT: widen<short>(raw, pixels.values); break;
      case Io::UINT: widen<unsigned>(raw, pixels.values); break;
      case Io::INT: widen<int>(raw, pixels.values); break;
      case Io::ULONG: widen<unsigned long>(raw, pixels.values); break;
      case Io::LONG: widen<long>(raw, pixels.values); break;
      case Io::ULONGLONG: widen<unsigned long long>(raw, pixels.values); break;
      case Io::LONGLONG: widen<long long>(raw, pixels.values); break;
      case Io::FLOAT: widen<float>(raw, pixels.values); break;
      case Io::DOUBLE: widen<double>(raw, pixels.values); break;
      default: return refuse(Code::BAD_HEADER, "unknown voxel type");
    }
  } catch (const std::exception&) {
    return refuse(Code::UNREADABLE, "the voxels cannot be read");
  }
  return pixels;
}

// Permute and flip axes so that x runs to the patient's left, y to posterior, z to the head.
template <class T>
Geometry to_canonical(const Geometry& from, const std::vector<T>& values, std::vector<T>& out) {
  std::array<std::size_t, 3> source{0, 1, 2};  // canonical axis -> file axis
  double best = -1;
  std::array<std::size_t, 3> order{0, 1, 2};
  do {
    double fit = 0;
    for (std::size_t k = 0; k < 3; ++k) fit += std::abs(from.axis[order[k]][k]);
    if (fit > best) {
      best = fit;
      source = order;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  const std::array<std::int64_t, 3> stride{1, from.size[0], from.size[0] * from.size[1]};
  Geometry to;
  to.origin_mm = from.origin_mm;
  std::array<std::int64_t, 3> step{};
  std::int64_t start = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    const std::size_t s = source[k];
    const bool flip = from.axis[s][k] < 0;
    to.size[k] = from.size[s];
    to.spacing_mm[k] = from.spacing_mm[s];
    to.axis[k] = flip ? -1.0 * from.axis[s] : from.axis[s];
    step[k] = flip ? -stride[s] : stride[s];
    if (flip) {
      start += (from.size[s] - 1) * stride[s];
      to.origin_mm = to.origin_mm + (static_cast<double>(from.size[s] - 1) * from.spacing_mm[s]) * from.axis[s];
    }
  }
  out.resize(values.size());
  std::size_t i = 0;
  for (std::int64_t z = 0; z < to.size[2]; ++z)
    for (std::int64_t y = 0; y < to.size[1]; ++y)
      for (std::int64_t x = 0; x < to.size[0]; ++x)
        out[i++] = values[static_cast<std::size_t>(start + x * step[0] + y * step[1] + z * step[2])];
  return to;
}

}  // namespace

bool is_image_file_name(const fs::path& path) {
  const std::string name = path.filename().string();
  for (const std::string_view end : {".nii", ".nii.gz", ".hdr", ".hdr.gz", ".nrrd", ".nhdr"})
    if (name.ends_with(end) && name.size() > end.size()) return true;
  return false;
}

Outcome<ImageHeader> read_image_header(const fs::path& path) { return header_of(path); }

Outcome<ImageVolume> read_image_volume(const fs::path& path) {
  auto pixels = read_pixels(path);
  if (!pixels) return pixels.rejection();
  std::vector<double> ordered;
  ImageVolume image;
  Volume& volume = image.volume;
  volume.geometry = to_canonical(pixels.value().header.geometry, pixels.value().values, ordered);
  volume.hu.resize(ordered.size());
  image.minimum = std::numeric_limits<std::int64_t>::max();
  image.maximum = std::numeric_limits<std::int64_t>::min();
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    if (!std::isfinite(ordered[i])) return refuse(Code::NOT_HU, "a voxel is not a finite number");
    const double rounded = std::clamp(std::nearbyint(ordered[i]), -9e15, 9e15);
    const auto value = static_cast<std::int64_t>(rounded);
    image.minimum = std::min(image.minimum, value);
    image.maximum = std::max(image.maximum, value);
    image.sum += value;
    volume.hu[i] = static_cast<std::int16_t>(std::clamp<std::int64_t>(value, -32768, 32767));
  }
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

Outcome<LabelImage> read_label_image(const fs::path& path) {
  auto pixels = read_pixels(path);
  if (!pixels) return pixels.rejection();
  std::vector<std::int32_t> values(pixels.value().values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = pixels.value().values[i];
    values[i] = std::isfinite(v) ? static_cast<std::int32_t>(std::clamp(std::nearbyint(v), -2e9, 2e9)) : 0;
  }
  LabelImage image;
  image.geometry = to_canonical(pixels.value().header.geometry, values, image.values);
  return image;
}

}  // namespace wsp
