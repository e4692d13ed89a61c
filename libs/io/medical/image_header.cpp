#include "io/medical/image_header.hpp"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace wsp::image {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxVoxels = std::int64_t{1} << 32;

Rejection refuse(Code code, std::string detail) { return {"", "read", code, std::move(detail)}; }

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string read_start(const fs::path& path, unsigned bytes) {
  std::string data(bytes, '\0');
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return {};
  const int n = gzread(file, data.data(), bytes);
  gzclose(file);
  data.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
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
  int datatype, qform, sform;
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
  return raw;
}

// Columns of the voxel-to-world matrix (RAS) and its offset.
Outcome<Geometry> geometry_of(const Raw& raw) {
  double m[3][3], offset[3];
  if (raw.sform > 0) {
    for (int r = 0; r < 3; ++r) {
      for (int c = 0; c < 3; ++c) m[r][c] = raw.srow[r][c];
      offset[r] = raw.srow[r][3];
    }
  } else if (raw.qform > 0) {
    const double b = raw.quatern[0], c = raw.quatern[1], d = raw.quatern[2];
    const double rest = 1 - (b * b + c * c + d * d);
    const double a = rest > 1e-7 ? std::sqrt(rest) : 0;
    const double scale = rest > 1e-7 ? 1 : 1 / std::sqrt(b * b + c * c + d * d);
    const double w = a, x = b * scale, y = c * scale, z = d * scale;
    const double rotation[3][3] = {
        {w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)},
        {2 * (x * y + w * z), w * w + y * y - x * x - z * z, 2 * (y * z - w * x)},
        {2 * (x * z - w * y), 2 * (y * z + w * x), w * w + z * z - x * x - y * y}};
    const double handed = raw.pixdim[0] < 0 ? -1 : 1;
    for (int r = 0; r < 3; ++r) {
      for (int k = 0; k < 3; ++k)
        m[r][k] = rotation[r][k] * raw.pixdim[k + 1] * (k == 2 ? handed : 1);
      offset[r] = raw.qoffset[r];
    }
  } else {
    return refuse(Code::NO_AFFINE, "qform_code and sform_code are 0");
  }
  Geometry g;
  for (std::size_t k = 0; k < 3; ++k) {
    const Vec3 column{-m[0][k], -m[1][k], m[2][k]};  // RAS -> LPS
    g.spacing_mm[k] = norm(column);
    g.axis[k] = (1 / g.spacing_mm[k]) * column;
    g.size[k] = raw.dim[k + 1];
  }
  g.origin_mm = {-offset[0], -offset[1], offset[2]};
  return check_geometry(g);
}

std::string find_image_file(const fs::path& header) {
  std::string stem = header.string();
  for (const std::string_view end : {".hdr.gz", ".hdr"})
    if (stem.ends_with(end)) {
      stem.resize(stem.size() - end.size());
      break;
    }
  for (const char* end : {".img", ".img.gz"})
    if (fs::exists(stem + end)) return stem + end;
  return {};
}

}  // namespace

bool has_ending(const fs::path& path, std::string_view ending) {
  const std::string name = path.filename().string();
  return name.size() > ending.size() && lower(name.substr(name.size() - ending.size())) == ending;
}

bool is_nrrd(const fs::path& path) {
  return has_ending(path, ".nrrd") || has_ending(path, ".nhdr");
}

Outcome<NiftiHeader> read_nifti_header(const fs::path& path) {
  const std::string bytes = read_start(path, 540);
  if (bytes.size() < 348)
    return refuse(Code::BAD_HEADER, std::to_string(bytes.size()) + " bytes; expected at least 348");
  std::int32_t size = 0;
  std::memcpy(&size, bytes.data(), 4);
  const bool swapped = size != 348 && size != 540;
  const Fields fields(bytes, swapped);
  size = fields.get<std::int32_t>(0);
  if (size != 348 && size != 540)
    return refuse(Code::BAD_HEADER, "sizeof_hdr is neither 348 nor 540");
  if (size == 540 && bytes.size() < 540)
    return refuse(Code::BAD_HEADER, "the NIfTI-2 header is cut off");
  const bool second = size == 540;
  const std::string magic = second ? bytes.substr(4, 3) : bytes.substr(344, 3);
  if (magic != "n+1" && magic != "ni1" && magic != "n+2" && magic != "ni2")
    return refuse(Code::NO_AFFINE, "an Analyze header carries no orientation");
  const Raw raw =
      second ? unpack<std::int64_t, double, std::int64_t>(fields, 16, 12, 104, 168, 344, 4, 352)
             : unpack<std::int16_t, float, float>(fields, 40, 70, 76, 108, 252, 2, 256);
  if (raw.dim[0] < 1 || raw.dim[0] > 7)
    return refuse(Code::BAD_HEADER, "the number of dimensions is not 1 to 7");
  static const std::map<int, std::pair<const char*, int>> kTypes{
      {2, {"uint8", 1}},    {4, {"int16", 2}},    {8, {"int32", 4}},    {16, {"float32", 4}},
      {64, {"float64", 8}}, {256, {"int8", 1}},   {512, {"uint16", 2}}, {768, {"uint32", 4}},
      {1024, {"int64", 8}}, {1280, {"uint64", 8}}};
  if (raw.datatype == 32 || raw.datatype == 1792 || raw.datatype == 2048)
    return refuse(Code::COMPLEX_VOXELS, "NIfTI datatype " + std::to_string(raw.datatype));
  if (raw.datatype == 128 || raw.datatype == 2304)
    return refuse(Code::RGB_VOXELS, "NIfTI datatype " + std::to_string(raw.datatype));
  const auto type = kTypes.find(raw.datatype);
  if (type == kTypes.end())
    return refuse(Code::BAD_HEADER, "NIfTI datatype " + std::to_string(raw.datatype));
  std::int64_t voxels = 1;
  for (std::int64_t i = 1; i <= raw.dim[0]; ++i) {
    if (raw.dim[i] < 1 || raw.dim[i] > kMaxVoxels / voxels)
      return refuse(Code::BAD_HEADER, "dimension " + std::to_string(i) + " is absurd");
    voxels *= raw.dim[i];
  }
  if (raw.dim[0] < 3) return refuse(Code::NOT_3D, std::to_string(raw.dim[0]) + " dimensions");
  for (std::int64_t i = 4; i <= raw.dim[0]; ++i)
    if (raw.dim[i] > 1)
      return refuse(Code::NOT_3D, "dimension " + std::to_string(i) + " has " +
                                      std::to_string(raw.dim[i]) + " entries");
  const std::string name = path.filename().string();
  const bool pair = magic[1] == 'i';
  const std::string data = pair ? find_image_file(path) : path.string();
  if (data.empty()) return refuse(Code::BAD_HEADER, "the header has no .img file beside it");
  if (!(raw.vox_offset >= 0 && raw.vox_offset < 1e9))
    return refuse(Code::BAD_HEADER, "vox_offset is absurd");
  const double need = (pair ? 0 : std::max(raw.vox_offset, second ? 540.0 : 348.0)) +
                      static_cast<double>(voxels) * type->second.second;
  if (Rejection r = check_bytes(data, need, data.ends_with(".gz")); r.code != Code::USED) return r;
  auto geometry = geometry_of(raw);
  if (!geometry) return geometry.rejection();
  NiftiHeader header;
  header.image = {geometry.value(), type->second.first};
  header.swapped = swapped;
  header.data = data;
  header.offset = static_cast<std::int64_t>(raw.vox_offset);
  if (!pair) header.offset = std::max<std::int64_t>(header.offset, second ? 540 : 348);
  header.voxel_bytes = type->second.second;
  if (std::isfinite(raw.slope) && raw.slope != 0) {
    header.slope = raw.slope;
    header.intercept = std::isfinite(raw.intercept) ? raw.intercept : 0;
  }
  return header;
}

Outcome<std::vector<char>> read_nifti_voxels(const NiftiHeader& header) {
  const auto bytes = static_cast<std::size_t>(header.image.geometry.voxels()) *
                     static_cast<std::size_t>(header.voxel_bytes);
  std::vector<char> voxels(bytes);
  gzFile file = gzopen(header.data.c_str(), "rb");
  if (file == nullptr) return refuse(Code::UNREADABLE, "the voxels cannot be read");
  std::size_t have = 0;
  if (gzseek(file, header.offset, SEEK_SET) == header.offset)
    while (have < bytes) {
      const auto step = static_cast<unsigned>(std::min<std::size_t>(bytes - have, 1U << 26));
      const int n = gzread(file, voxels.data() + have, step);
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
  gzclose(file);
  if (have != bytes) return refuse(Code::UNREADABLE, "the voxels cannot be read");
  if (header.swapped)
    for (std::size_t i = 0; i < bytes; i += static_cast<std::size_t>(header.voxel_bytes))
      std::reverse(voxels.begin() + static_cast<std::ptrdiff_t>(i),
                   voxels.begin() + static_cast<std::ptrdiff_t>(i) + header.voxel_bytes);
  return voxels;
}

namespace {

// The fields of a NRRD header that decide whether ITK may see it.
struct NrrdText {
  std::int64_t dimension = 0;
  std::vector<std::int64_t> sizes;
  std::string type, encoding = "raw", kinds, data_file;
  bool space = false, directions = false, origin = false;
};

NrrdText parse_nrrd(const std::string& start) {
  NrrdText out;
  std::istringstream lines(start);
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) break;  // the pixels follow
    const auto colon = line.find(": ");
    if (line.front() == '#' || colon == std::string::npos) continue;
    const std::string key = lower(line.substr(0, colon));
    std::istringstream value(line.substr(colon + 2));
    std::string rest;
    std::getline(std::istringstream(line.substr(colon + 2)) >> std::ws, rest);
    if (key == "dimension") value >> out.dimension;
    if (key == "sizes")
      for (std::int64_t n = 0; value >> n;) out.sizes.push_back(n);
    if (key == "type") out.type = lower(rest);
    if (key == "encoding") out.encoding = lower(rest);
    if (key == "kinds") out.kinds = lower(rest);
    if (key == "space") out.space = !rest.empty();
    if (key == "space directions") out.directions = !rest.empty();
    if (key == "space origin") out.origin = !rest.empty();
    if (key == "data file" || key == "datafile") out.data_file = rest;
  }
  return out;
}

}  // namespace

Outcome<ImageHeader> check_nrrd_header(const fs::path& path) {
  const std::string start = read_start(path, 65536);
  if (!start.starts_with("NRRD000")) return refuse(Code::BAD_HEADER, "no NRRD magic");
  const NrrdText text = parse_nrrd(start);
  if (text.kinds.find("complex") != std::string::npos)
    return refuse(Code::COMPLEX_VOXELS, "a NRRD axis of kind complex");
  for (const char* kind : {"rgb", "hsv", "xyz", "vector", "color", "matrix"})
    if (text.kinds.find(kind) != std::string::npos)
      return refuse(Code::RGB_VOXELS, std::string("a NRRD axis of kind ") + kind);
  if (text.dimension != 3 || text.sizes.size() != 3)
    return refuse(Code::NOT_3D, std::to_string(text.dimension) + " dimensions");
  double voxels = 1;
  for (const std::int64_t n : text.sizes) {
    if (n < 1 || n > 65536) return refuse(Code::BAD_HEADER, "a size is absurd");
    voxels *= static_cast<double>(n);
  }
  if (voxels > static_cast<double>(kMaxVoxels))
    return refuse(Code::BAD_HEADER, "the sizes are absurd");
  if (text.type.empty() || text.type == "block")
    return refuse(Code::BAD_HEADER, "the voxel type is no number");
  if (!text.space || !text.directions || !text.origin)
    return refuse(Code::NO_AFFINE, "space, space directions or space origin is missing");
  fs::path data = path;
  if (!text.data_file.empty()) {
    const fs::path file = text.data_file;
    if (file.has_parent_path() || file.string().find_first_of(" %") != std::string::npos ||
        file.string().starts_with("LIST"))
      return refuse(Code::BAD_HEADER, "the detached data must be one file beside the header");
    data = path.parent_path() / file;
    std::error_code ec;
    if (!fs::is_regular_file(data, ec))
      return refuse(Code::BAD_HEADER, "the detached data file is missing");
  }
  // One byte is the least that a voxel takes in any encoding that is not compressed.
  int bytes = 1;
  if (text.encoding == "raw" || text.encoding.starts_with("gz")) {
    if (text.type.find("short") != std::string::npos || text.type.find("16") != std::string::npos)
      bytes = 2;
    for (const char* word : {"int", "int32", "uint", "uint32", "float", "int32_t", "uint32_t",
                             "signed int", "unsigned int"})
      if (text.type == word) bytes = 4;
    if (text.type.find("long") != std::string::npos || text.type.find("64") != std::string::npos ||
        text.type == "double")
      bytes = 8;
  }
  const auto pixels_begin = start.find("\n\n");
  const bool attached_raw =
      text.data_file.empty() && text.encoding == "raw" && pixels_begin != std::string::npos;
  const double before = attached_raw ? static_cast<double>(pixels_begin + 2) : 0;
  if (Rejection r = check_bytes(data, before + voxels * bytes,
                                text.encoding.starts_with("gz") || text.encoding.starts_with("bz"));
      r.code != Code::USED)
    return r;
  return ImageHeader{};
}

Outcome<Geometry> check_geometry(const Geometry& geometry) {
  for (std::size_t k = 0; k < 3; ++k) {
    const double length = geometry.spacing_mm[k];
    if (!(length > 1e-6) || !(length < 1e4))
      return refuse(Code::BAD_HEADER, "the voxel size is not a positive length");
    if (!std::isfinite(geometry.origin_mm[k]))
      return refuse(Code::BAD_HEADER, "the origin is not finite");
  }
  constexpr double kHalfDegree = 0.0087;
  for (std::size_t k = 0; k < 3; ++k)
    if (!(std::abs(dot(geometry.axis[k], geometry.axis[(k + 1) % 3])) < kHalfDegree))
      return refuse(Code::BAD_HEADER, "the axes are not at right angles (a sheared transform)");
  return geometry;
}

Rejection check_bytes(const fs::path& file, double needed, bool compressed) {
  std::error_code ec;
  const auto size = fs::file_size(file, ec);
  if (ec) return refuse(Code::UNREADABLE, "the file's size cannot be read");
  const auto have = static_cast<double>(size);
  if (needed <= (compressed ? have * 1100 + 65536 : have)) return refuse(Code::USED, "");
  return refuse(Code::TRUNCATED_FILE,
                "the header asks for " + std::to_string(static_cast<std::int64_t>(needed)) +
                    " bytes, the file has " + std::to_string(static_cast<std::int64_t>(have)));
}

}  // namespace wsp::image
