#include "io/medical/image_header.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "io/medical/image_bytes.hpp"

namespace wsp::image {
namespace {

namespace fs = std::filesystem;

std::string read_start(const fs::path& path, std::size_t bytes) {
  std::string data(bytes, '\0');
  data.resize(ZFile(path).read(data.data(), bytes));
  return data;
}

// A view of header bytes in either byte order.
class Fields {
 public:
  Fields(const std::string& bytes, bool swapped) : bytes_(bytes), swapped_(swapped) {}
  template <class T>
  [[nodiscard]] T get(std::size_t offset) const {
    char raw[sizeof(T)];
    std::memcpy(raw, bytes_.data() + offset, sizeof(T));
    if (swapped_) std::reverse(raw, raw + sizeof(T));
    T value;
    std::memcpy(&value, raw, sizeof(T));
    return value;
  }

 private:
  const std::string& bytes_;
  bool swapped_;
};

struct Raw {
  std::int64_t dim[8];
  double pixdim[8], quatern[3], qoffset[3], srow[3][4], vox_offset, slope, intercept;
  int datatype, qform, sform, units;
};

template <class Dim, class Real, class Offset>
Raw unpack(const Fields& f, std::size_t dim, std::size_t type, std::size_t pixdim, std::size_t vox,
           std::size_t codes, std::size_t code_size, std::size_t quatern) {
  Raw raw{};
  for (std::size_t i = 0; i < 8; ++i) {
    raw.dim[i] = f.get<Dim>(dim + i * sizeof(Dim));
    raw.pixdim[i] = f.get<Real>(pixdim + i * sizeof(Real));
  }
  raw.datatype = f.get<std::int16_t>(type);
  raw.vox_offset = static_cast<double>(f.get<Offset>(vox));
  raw.slope = static_cast<double>(f.get<Real>(vox + sizeof(Offset)));
  raw.intercept = static_cast<double>(f.get<Real>(vox + sizeof(Offset) + sizeof(Real)));
  raw.qform = code_size == 2 ? f.get<std::int16_t>(codes) : f.get<std::int32_t>(codes);
  raw.sform = code_size == 2 ? f.get<std::int16_t>(codes + 2) : f.get<std::int32_t>(codes + 4);
  for (std::size_t i = 0; i < 3; ++i) {
    raw.quatern[i] = f.get<Real>(quatern + i * sizeof(Real));
    raw.qoffset[i] = f.get<Real>(quatern + (3 + i) * sizeof(Real));
    for (std::size_t k = 0; k < 4; ++k)
      raw.srow[i][k] = f.get<Real>(quatern + (6 + 4 * i + k) * sizeof(Real));
  }
  raw.units = sizeof(Real) == 4 ? f.get<std::uint8_t>(123) : f.get<std::int32_t>(500);
  return raw;
}

// The voxel-to-world matrix by its columns, and its offset; RAS, in the header's unit.
struct Transform {
  std::array<Vec3, 3> column;
  Vec3 offset;
};

// Nothing where the numbers span no volume: an empty or half-written transform.
std::optional<Transform> usable(const Transform& t) {
  double lengths = 1;
  for (const Vec3& column : t.column) lengths *= norm(column);
  const double volume = std::abs(dot(cross(t.column[0], t.column[1]), t.column[2]));
  if (!(lengths > 0) || !(volume > 1e-3 * lengths) || !std::isfinite(lengths) ||
      !std::isfinite(norm(t.offset)))
    return std::nullopt;
  return t;
}

std::optional<Transform> sform_of(const Raw& raw) {
  if (raw.sform <= 0) return std::nullopt;
  Transform t{};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) t.column[c][r] = raw.srow[r][c];
    t.offset[r] = raw.srow[r][3];
  }
  return usable(t);
}

std::optional<Transform> qform_of(const Raw& raw) {
  if (raw.qform <= 0) return std::nullopt;
  const double b = raw.quatern[0], c = raw.quatern[1], d = raw.quatern[2];
  const double square = b * b + c * c + d * d;
  if (!(square < 1.001)) return std::nullopt;  // no rotation
  const double rest = 1 - square;
  const double w = rest > 1e-7 ? std::sqrt(rest) : 0;
  const double scale = rest > 1e-7 ? 1 : 1 / std::sqrt(square);
  const double x = b * scale, y = c * scale, z = d * scale;
  Transform t{};
  t.column = {{{w * w + x * x - y * y - z * z, 2 * (x * y + w * z), 2 * (x * z - w * y)},
               {2 * (x * y - w * z), w * w + y * y - x * x - z * z, 2 * (y * z + w * x)},
               {2 * (x * z + w * y), 2 * (y * z - w * x), w * w + z * z - x * x - y * y}}};
  // Lengths have no sign; only pixdim[0] turns the third axis round.
  for (std::size_t k = 0; k < 3; ++k) t.column[k] = std::abs(raw.pixdim[k + 1]) * t.column[k];
  if (raw.pixdim[0] < 0) t.column[2] = -1.0 * t.column[2];
  for (std::size_t r = 0; r < 3; ++r) t.offset[r] = raw.qoffset[r];
  return usable(t);
}

// Whether two transforms turn an axis another way, or give the voxels another size. A different
// origin and a small rotation are what a registration writes into the sform.
bool contradict(const Transform& a, const Transform& b) {
  constexpr double kNearestAxis = 0.7;  // 45 degrees: beyond, the volume lies or stands otherwise
  constexpr double kSameSize = 0.01;
  for (std::size_t k = 0; k < 3; ++k) {
    const double p = norm(a.column[k]), q = norm(b.column[k]);
    if (dot(a.column[k], b.column[k]) < kNearestAxis * p * q) return true;
    if (std::abs(p - q) > kSameSize * q) return true;
  }
  return false;
}

// Unknown is taken as mm, as everybody does.
double millimetres(int units) {
  switch (units & 7) {
    case 1:
      return 1000;
    case 3:
      return 1e-3;
    default:
      return 1;
  }
}

Outcome<ImageHeader> place(const Raw& raw) {
  if (raw.sform <= 0 && raw.qform <= 0)
    return refuse_read(Code::NO_AFFINE, "qform_code and sform_code are 0");
  const auto sform = sform_of(raw), qform = qform_of(raw);
  if (!sform && !qform)
    return refuse_read(Code::NO_AFFINE,
                       "the transform of the sform or qform is empty or no transform");
  if (!sform && raw.pixdim[0] < 0 && raw.pixdim[0] != -1)
    return refuse_read(Code::BAD_HEADER,
                       "pixdim[0] is neither 1 nor -1: readers differ in which end is "
                       "the head");
  const Transform& t = sform ? *sform : *qform;
  const double mm = millimetres(raw.units);
  Geometry g;
  for (std::size_t k = 0; k < 3; ++k) {
    const Vec3& c = t.column[k];
    const Vec3 column{-mm * c[0], -mm * c[1], mm * c[2]};  // RAS -> LPS
    g.spacing_mm[k] = norm(column);
    g.axis[k] = (1 / g.spacing_mm[k]) * column;
    g.size[k] = raw.dim[k + 1];
  }
  g.origin_mm = {-mm * t.offset[0], -mm * t.offset[1], mm * t.offset[2]};
  auto checked = check_geometry(g);
  if (!checked) return checked.rejection();
  ImageHeader header{checked.value(), ""};
  if (sform && qform && contradict(*sform, *qform))
    header.flags.push_back(Code::ORIENTATION_CONFLICT);
  return header;
}

bool is_pair(const std::string& bytes) {
  for (const std::size_t at : {std::size_t{344}, std::size_t{4}})
    if (bytes.size() > at + 3 && (bytes.substr(at, 3) == "n+1" || bytes.substr(at, 3) == "n+2"))
      return false;
  return true;
}

// Where the voxels of a file begin that says vox_offset 0: after the header, and after the four
// bytes of the extension flag if its length has room for them.
Outcome<std::int64_t> offset_by_length(const fs::path& path, std::int64_t header,
                                       std::int64_t voxels) {
  ZFile file(path);
  const std::int64_t before = file.drain() - voxels;
  if (Rejection r = file.verdict(); r.code != Code::USED) return r;
  if (before == header || before == header + 4) return before;
  return refuse_read(Code::BAD_HEADER,
                     "vox_offset is 0, and the file's length does not say where its voxels begin");
}

struct VoxelType {
  const char* component;
  int bytes;
};

Outcome<VoxelType> voxel_type(int datatype) {
  static const std::map<int, VoxelType> kTypes{
      {2, {"uint8", 1}},    {4, {"int16", 2}},    {8, {"int32", 4}},    {16, {"float32", 4}},
      {64, {"float64", 8}}, {256, {"int8", 1}},   {512, {"uint16", 2}}, {768, {"uint32", 4}},
      {1024, {"int64", 8}}, {1280, {"uint64", 8}}};
  if (datatype == 32 || datatype == 1792 || datatype == 2048)
    return refuse_read(Code::COMPLEX_VOXELS, "NIfTI datatype " + std::to_string(datatype));
  if (datatype == 128 || datatype == 2304)
    return refuse_read(Code::RGB_VOXELS, "NIfTI datatype " + std::to_string(datatype));
  const auto type = kTypes.find(datatype);
  if (type == kTypes.end())
    return refuse_read(Code::BAD_HEADER, "NIfTI datatype " + std::to_string(datatype));
  return type->second;
}

// How many there are, of the one volume that a file must hold.
Outcome<std::int64_t> count_voxels(const Raw& raw) {
  std::int64_t voxels = 1;
  for (std::int64_t i = 1; i <= raw.dim[0]; ++i) {
    if (raw.dim[i] < 1 || raw.dim[i] > kMaxVoxels / voxels)
      return refuse_read(Code::BAD_HEADER, "dimension " + std::to_string(i) + " is absurd");
    voxels *= raw.dim[i];
  }
  if (raw.dim[0] < 3) return refuse_read(Code::NOT_3D, std::to_string(raw.dim[0]) + " dimensions");
  for (std::int64_t i = 4; i <= raw.dim[0]; ++i)
    if (raw.dim[i] > 1)
      return refuse_read(Code::NOT_3D, "dimension " + std::to_string(i) + " has " +
                                           std::to_string(raw.dim[i]) + " entries");
  return voxels;
}

}  // namespace

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool has_ending(const fs::path& path, std::string_view ending) {
  const std::string name = path.filename().string();
  return name.size() > ending.size() && lower(name.substr(name.size() - ending.size())) == ending;
}

bool is_nrrd(const fs::path& path) {
  return has_ending(path, ".nrrd") || has_ending(path, ".nhdr");
}

fs::path pair_data(const fs::path& header) {
  const bool packed = has_ending(header, ".hdr.gz");
  if ((!packed && !has_ending(header, ".hdr")) || !is_pair(read_start(header, 352))) return {};
  const std::string stem = image_stem(header);
  const std::array<std::string, 2> ends{packed ? ".img.gz" : ".img", packed ? ".img" : ".img.gz"};
  std::error_code error;
  for (const std::string& end : ends)
    if (fs::path data = header.parent_path() / (stem + end); fs::is_regular_file(data, error))
      return data;
  // In capitals, wholly or partly: the first by name.
  std::array<std::string, 2> found;
  for (fs::directory_iterator it(header.parent_path().empty() ? "." : header.parent_path(), error),
       last;
       !error && it != last; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(stem)) continue;
    for (std::size_t k = 0; k < 2; ++k)
      if (lower(name.substr(stem.size())) == ends[k] && (found[k].empty() || name < found[k]))
        found[k] = name;
  }
  for (const std::string& name : found)
    if (!name.empty()) return header.parent_path() / name;
  return {};
}

Outcome<NiftiHeader> read_nifti_header(const fs::path& path) {
  ZFile file(path);
  std::string bytes(540, '\0');
  bytes.resize(file.read(bytes.data(), bytes.size()));
  if (Rejection r = file.verdict(); bytes.size() < 348 && r.code != Code::USED) return r;
  if (bytes.size() < 348)
    return refuse_read(Code::BAD_HEADER,
                       std::to_string(bytes.size()) + " bytes; expected at least 348");
  std::int32_t size = 0;
  std::memcpy(&size, bytes.data(), 4);
  const bool swapped = size != 348 && size != 540;
  const Fields fields(bytes, swapped);
  size = fields.get<std::int32_t>(0);
  if (size != 348 && size != 540)
    return refuse_read(Code::BAD_HEADER, "sizeof_hdr is neither 348 nor 540");
  if (size == 540 && bytes.size() < 540)
    return refuse_read(Code::BAD_HEADER, "the NIfTI-2 header is cut off");
  const bool second = size == 540;
  const std::string magic = second ? bytes.substr(4, 3) : bytes.substr(344, 3);
  if (magic != "n+1" && magic != "ni1" && magic != "n+2" && magic != "ni2")
    return refuse_read(Code::NO_AFFINE, "an Analyze header carries no orientation");
  const Raw raw =
      second ? unpack<std::int64_t, double, std::int64_t>(fields, 16, 12, 104, 168, 344, 4, 352)
             : unpack<std::int16_t, float, float>(fields, 40, 70, 76, 108, 252, 2, 256);
  if (raw.dim[0] < 1 || raw.dim[0] > 7)
    return refuse_read(Code::BAD_HEADER, "the number of dimensions is not 1 to 7");
  const auto type = voxel_type(raw.datatype);
  if (!type) return type.rejection();
  const auto voxels = count_voxels(raw);
  if (!voxels) return voxels.rejection();
  const bool pair = magic[1] == 'i';
  NiftiHeader header;
  header.data = pair ? pair_data(path) : path;
  if (header.data.empty())
    return refuse_read(Code::BAD_HEADER, "the header has no .img file beside it");
  header.swapped = swapped;
  header.voxel_bytes = type.value().bytes;
  if (std::isfinite(raw.slope) && raw.slope != 0) {  // 0 and NaN: no scaling
    if (!std::isfinite(raw.intercept))
      return refuse_read(Code::BAD_HEADER, "scl_inter is not a number beside a scl_slope");
    header.slope = raw.slope;
    header.intercept = raw.intercept;
  }
  if (!(raw.vox_offset >= 0 && raw.vox_offset < 1e9) ||
      raw.vox_offset != std::floor(raw.vox_offset) ||
      (!pair && raw.vox_offset > 0 && raw.vox_offset < size))
    return refuse_read(Code::BAD_HEADER, "vox_offset is absurd");
  header.offset = static_cast<std::int64_t>(raw.vox_offset);
  const bool no_offset = !pair && header.offset == 0;
  const std::int64_t voxel_bytes = voxels.value() * header.voxel_bytes;
  if (Rejection r = check_bytes(
          header.data, static_cast<double>((no_offset ? size : header.offset) + voxel_bytes),
          ZFile(header.data).is_gzip());
      r.code != Code::USED)
    return r;
  auto placed = place(raw);
  if (!placed) return placed.rejection();
  header.image = std::move(placed).value();
  header.image.component = type.value().component;
  if (no_offset) {
    const auto offset = offset_by_length(header.data, size, voxel_bytes);
    if (!offset) return offset.rejection();
    header.offset = offset.value();
  }
  return header;
}

Outcome<SharedSpan<char>> read_nifti_voxels(const NiftiHeader& header) {
  const auto bytes = static_cast<std::size_t>(header.image.geometry.voxels()) *
                     static_cast<std::size_t>(header.voxel_bytes);
  // As a rule the file is a header of a few hundred bytes and these.
  constexpr std::int64_t kLongestLead = 65536;
  const bool short_lead =
      header.offset <= kLongestLead && header.offset % std::int64_t{sizeof(double)} == 0;
  const std::size_t lead = short_lead ? static_cast<std::size_t>(header.offset) : 0;
  const auto buffer = allocate_bytes(lead + bytes);
  const std::span voxels(buffer.get() + lead, bytes);
  if (!short_lead || !unpack_whole(header.data, {buffer.get(), lead + bytes})) {
    ZFile file(header.data);
    const std::size_t have = file.seek(header.offset) ? file.read(voxels.data(), bytes) : 0;
    if (have == bytes) file.drain();
    if (Rejection r = file.verdict(); r.code != Code::USED) return r;
    if (have != bytes)
      return refuse_read(Code::TRUNCATED_FILE, "the header asks for " + std::to_string(bytes) +
                                                   " bytes of voxels, the file has " +
                                                   std::to_string(have));
  }
  if (header.swapped) swap_bytes(voxels, static_cast<std::size_t>(header.voxel_bytes));
  return SharedSpan<char>{voxels, buffer};
}

Outcome<Geometry> check_geometry(const Geometry& geometry) {
  constexpr double kLeastMm = 0.01, kMostMm = 100;
  for (std::size_t k = 0; k < 3; ++k) {
    const double length = geometry.spacing_mm[k];
    if (!(length >= kLeastMm) || !(length <= kMostMm)) {
      std::ostringstream detail;
      detail << "a voxel of " << length
             << " mm along an axis; is the header's unit of length right?";
      return refuse_read(Code::BAD_HEADER, detail.str());
    }
    if (!std::isfinite(geometry.origin_mm[k]))
      return refuse_read(Code::BAD_HEADER, "the origin is not finite");
  }
  constexpr double kHalfDegree = 0.0087;
  for (std::size_t k = 0; k < 3; ++k)
    if (!(std::abs(dot(geometry.axis[k], geometry.axis[(k + 1) % 3])) < kHalfDegree))
      return refuse_read(Code::BAD_HEADER,
                         "the axes are not at right angles (a sheared transform)");
  return geometry;
}

Rejection check_bytes(const fs::path& file, double needed, bool compressed) {
  std::error_code ec;
  const auto size = fs::file_size(file, ec);
  if (ec) return refuse_read(Code::UNREADABLE, "the file's size cannot be read");
  const auto have = static_cast<double>(size);
  if (needed <= (compressed ? have * 1100 + 65536 : have)) return refuse_read(Code::USED, "");
  return refuse_read(Code::TRUNCATED_FILE,
                     "the header asks for " + std::to_string(static_cast<std::int64_t>(needed)) +
                         " bytes, the file has " + std::to_string(static_cast<std::int64_t>(have)));
}

}  // namespace wsp::image
