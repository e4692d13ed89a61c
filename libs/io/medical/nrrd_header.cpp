// NRRD headers by the format's definition (teem.sourceforge.net/nrrd/format.html). The library that
// ITK reads them with forgets `space: left-anterior-superior` and `space units`, and its buffers
// overflow on long fields.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "io/medical/image_header.hpp"

namespace wsp::image {
namespace {

namespace fs = std::filesystem;

Rejection refuse(Code code, std::string detail) { return {"", "read", code, std::move(detail)}; }

constexpr std::size_t kMaxHeader = 16U << 20;  // a segmentation may name hundreds of segments
constexpr std::size_t kMaxFiles = 65536;

std::string read_start(const fs::path& path, std::size_t bytes) {
  std::ifstream file(path, std::ios::binary);
  std::string start(bytes, '\0');
  file.read(start.data(), static_cast<std::streamsize>(bytes));
  start.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return start;
}

std::string trim(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(std::move(word));
  return out;
}

// A number that is the whole text.
template <class T>
std::optional<T> number(const std::string& text) {
  const char* const begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* const end = text.data() + text.size();
  T value{};
  const auto [at, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || at != end) return std::nullopt;
  return value;
}

struct Text {
  std::map<std::string, std::string> fields;  // by name, in small letters and without spaces
  std::map<std::string, std::string> pairs;   // key:=value
  std::vector<std::string> list;              // the lines after `data file: LIST`
  bool twice = false;                         // a field that stands twice
  std::size_t length = 0;                     // of the header, in bytes

  [[nodiscard]] std::string field(const std::string& name) const {
    const auto found = fields.find(name);
    return found == fields.end() ? "" : found->second;
  }
  // The same, for words whose case does not matter.
  [[nodiscard]] std::string word(const std::string& name) const { return lower(field(name)); }
};

Outcome<Text> read_text(const fs::path& path) {
  std::string start = read_start(path, 65536);
  if (start.starts_with("\x1f\x8b"))
    return refuse(Code::UNSUPPORTED_ENCODING, "gzip of a whole NRRD file; unpack it");
  if (!start.starts_with("NRRD000")) return refuse(Code::BAD_HEADER, "no NRRD magic");
  if (start.find("\n\n") == std::string::npos && start.find("\n\r\n") == std::string::npos)
    start = read_start(path, kMaxHeader);
  Text text;
  std::istringstream lines(start);
  for (std::string line; std::getline(lines, line); text.length += line.size() + 1) {
    if (text.field("datafile").starts_with("LIST")) {
      if (!trim(line).empty()) text.list.push_back(trim(line));
      continue;
    }
    if (trim(line).empty()) {  // the voxels follow
      text.length += line.size() + 1;
      break;
    }
    const auto colon = line.find(':');
    if (line.front() == '#' || colon == std::string::npos) continue;
    const std::string value = line.substr(colon + 1);
    if (value.starts_with('=')) {
      text.pairs[line.substr(0, colon)] = trim(value.substr(1));
    } else if (value.starts_with(' ')) {
      std::string name = lower(line.substr(0, colon));
      std::erase(name, ' ');
      text.twice |= !text.fields.emplace(std::move(name), trim(value)).second;
    }
  }
  return text;
}

struct Type {
  const char* component;
  std::size_t bytes;
  std::vector<const char*> names;
};

const Type* type_of(const std::string& name) {
  static const std::vector<Type> kTypes{
      {"int8", 1, {"signed char", "int8", "int8_t"}},
      {"uint8", 1, {"uchar", "unsigned char", "uint8", "uint8_t"}},
      {"int16", 2, {"short", "short int", "signed short", "signed short int", "int16", "int16_t"}},
      {"uint16", 2, {"ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"}},
      {"int32", 4, {"int", "signed int", "int32", "int32_t"}},
      {"uint32", 4, {"uint", "unsigned int", "uint32", "uint32_t"}},
      {"int64",
       8,
       {"longlong", "long long", "long long int", "signed long long", "signed long long int",
        "int64", "int64_t"}},
      {"uint64",
       8,
       {"ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"}},
      {"float32", 4, {"float"}},
      {"float64", 8, {"double"}}};
  for (const Type& type : kTypes)
    for (const char* known : type.names)
      if (name == known) return &type;
  return nullptr;
}

// The patient's directions of a space's first two axes, as signs towards left and posterior; all
// that NRRD defines have head as their third.
struct Space {
  double left, posterior;
  std::size_t axes;  // 4 with time
};

Outcome<Space> space_of(const Text& text) {
  const std::string name = text.word("space");
  if (name.empty())
    return refuse(Code::NO_AFFINE, text.field("spacedimension").empty()
                                       ? "the field 'space' is missing"
                                       : "'space dimension' alone names no patient directions");
  static const std::map<std::string, Space> kSpaces{
      {"right-anterior-superior", {-1, -1, 3}},      {"ras", {-1, -1, 3}},
      {"left-anterior-superior", {1, -1, 3}},        {"las", {1, -1, 3}},
      {"left-posterior-superior", {1, 1, 3}},        {"lps", {1, 1, 3}},
      {"right-anterior-superior-time", {-1, -1, 4}}, {"rast", {-1, -1, 4}},
      {"left-anterior-superior-time", {1, -1, 4}},   {"last", {1, -1, 4}},
      {"left-posterior-superior-time", {1, 1, 4}},   {"lpst", {1, 1, 4}}};
  const auto found = kSpaces.find(name);
  if (found != kSpaces.end()) return found->second;
  for (const char* other : {"scanner-xyz", "scannerxyz", "3d-right-handed", "3d-left-handed"})
    if (name.starts_with(other))
      return refuse(Code::NO_AFFINE,
                    std::string("the space '") + other + "' does not say where left and head are");
  return refuse(Code::NO_AFFINE, "the space is none of left/right-anterior/posterior-superior");
}

// Millimetres of each axis' unit, by `space units: "mm" "mm" "mm"`; where it is absent, mm.
Outcome<Vec3> units_of(const Text& text) {
  Vec3 mm{1, 1, 1};
  std::vector<std::string> units;
  std::istringstream in(text.field("spaceunits"));
  for (std::string before, unit; std::getline(in, before, '"') && std::getline(in, unit, '"');)
    units.push_back(trim(unit));
  static const std::map<std::string, double> kLengths{
      {"", 1},          {"mm", 1},    {"millimeter", 1},   {"millimetre", 1},   {"cm", 10},
      {"m", 1000},      {"um", 1e-3}, {"\xc2\xb5m", 1e-3}, {"\xce\xbcm", 1e-3}, {"micron", 1e-3},
      {"microns", 1e-3}};
  for (std::size_t k = 0; k < std::min<std::size_t>(units.size(), 3); ++k) {
    const auto found = kLengths.find(units[k]);
    if (found == kLengths.end())
      return refuse(Code::BAD_HEADER, "a space unit that is none of mm, cm, m and um");
    mm[k] = found->second;
  }
  if (units.size() < 3 && !text.field("spaceunits").empty())
    return refuse(Code::BAD_HEADER, "'space units' does not name three units in quotes");
  return mm;
}

// `(1,0,0) none (0,1,0)`: a vector per axis, empty where there is none.
std::optional<std::vector<std::vector<double>>> vectors(const std::string& text) {
  std::vector<std::vector<double>> out;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \t", at)) != std::string::npos) {
    std::vector<double> one;
    if (text[at] == '(') {
      const auto end = text.find(')', at);
      if (end == std::string::npos) return std::nullopt;
      std::istringstream in(text.substr(at + 1, end - at - 1));
      for (std::string part; std::getline(in, part, ',');) {
        const auto value = number<double>(trim(part));
        if (!value) return std::nullopt;
        one.push_back(*value);
      }
      if (one.empty()) return std::nullopt;
      at = end + 1;
    } else if (lower(text.substr(at, 4)) == "none") {
      at += 4;
    } else {
      return std::nullopt;
    }
    out.push_back(std::move(one));
  }
  return out;
}

Vec3 to_lps(const std::vector<double>& v, const Space& space, const Vec3& mm) {
  return {space.left * mm[0] * v[0], space.posterior * mm[1] * v[1], mm[2] * v[2]};
}

struct Axes {
  std::vector<std::int64_t> sizes;
  std::vector<std::size_t> spatial;  // those of the three that make the volume
};

Outcome<Axes> axes_of(const Text& text) {
  Axes axes;
  double voxels = 1;
  for (const std::string& word : words(text.field("sizes"))) {
    const auto n = number<std::int64_t>(word);
    if (!n || *n < 1 || *n > 65536) return refuse(Code::BAD_HEADER, "a size is absurd");
    axes.sizes.push_back(*n);
    voxels *= static_cast<double>(*n);
  }
  const auto dimension = number<std::size_t>(text.field("dimension"));
  if (!dimension || *dimension != axes.sizes.size())
    return refuse(Code::BAD_HEADER, "'dimension' and 'sizes' do not agree");
  if (voxels > static_cast<double>(kMaxVoxels))
    return refuse(Code::BAD_HEADER, "the sizes are absurd");
  const auto kinds = words(text.word("kinds"));
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    if (i < axes.sizes.size() && axes.sizes[i] == 1) continue;
    if (kinds[i].find("complex") != std::string::npos)
      return refuse(Code::COMPLEX_VOXELS, "a NRRD axis of kind complex");
    for (const char* kind : {"rgb", "hsv", "xyz", "vector", "color", "matrix"})
      if (kinds[i].find(kind) != std::string::npos)
        return refuse(Code::RGB_VOXELS, std::string("a NRRD axis of kind ") + kind);
  }
  // Beyond three, an axis of one entry adds nothing: one time, one layer.
  std::size_t more = axes.sizes.size() < 3 ? 0 : axes.sizes.size() - 3;
  const auto directions = vectors(text.field("spacedirections"));
  for (std::size_t i = 0; i < axes.sizes.size(); ++i) {
    bool outside = i < kinds.size() && (kinds[i] == "time" || kinds[i] == "list");
    if (directions && i < directions->size()) {
      const auto& d = (*directions)[i];
      outside = outside || d.empty() || (d.size() == 4 && d[0] == 0 && d[1] == 0 && d[2] == 0);
    }
    if (more > 0 && axes.sizes[i] == 1 && outside)
      --more;
    else
      axes.spatial.push_back(i);
  }
  if (axes.spatial.size() == 3) return axes;
  if (text.pairs.contains("Segment0_ID"))
    return refuse(Code::NOT_3D,
                  "a segmentation in several layers, since its segments overlap; "
                  "save the liver as a label map");
  return refuse(Code::NOT_3D, std::to_string(axes.sizes.size()) + " dimensions");
}

Outcome<Geometry> grid_of(const Text& text, const Axes& axes) {
  const auto space = space_of(text);
  if (!space) return space.rejection();
  for (const char* field : {"spacedirections", "spaceorigin"})
    if (text.field(field).empty())
      return refuse(Code::NO_AFFINE, "'space directions' or 'space origin' is missing");
  const auto mm = units_of(text);
  if (!mm) return mm.rejection();
  const auto directions = vectors(text.field("spacedirections"));
  const auto origin = vectors(text.field("spaceorigin"));
  const std::size_t components = space.value().axes;
  if (!directions || !origin || directions->size() != axes.sizes.size() || origin->size() != 1 ||
      origin->front().size() != components)
    return refuse(Code::BAD_HEADER, "'space directions' or 'space origin' cannot be read");
  Geometry g;
  g.origin_mm = to_lps(origin->front(), space.value(), mm.value());
  for (std::size_t k = 0; k < 3; ++k) {
    const auto& direction = (*directions)[axes.spatial[k]];
    if (direction.empty()) return refuse(Code::NO_AFFINE, "an axis has no direction");
    if (direction.size() != components || (components == 4 && direction[3] != 0))
      return refuse(Code::BAD_HEADER, "a direction does not fit its space");
    const Vec3 column = to_lps(direction, space.value(), mm.value());
    g.size[k] = axes.sizes[axes.spatial[k]];
    g.spacing_mm[k] = norm(column);
    g.axis[k] = (1 / g.spacing_mm[k]) * column;
  }
  return check_geometry(g);
}

// `x_%03d.raw 1 20 1`, by what printf would make of it.
std::optional<std::vector<std::string>> numbered(const std::vector<std::string>& field) {
  if (field.size() < 4 || field.size() > 5) return std::nullopt;
  const auto low = number<int>(field[1]), high = number<int>(field[2]),
             step = number<int>(field[3]);
  const std::string& format = field.front();
  const auto percent = format.find('%');
  const auto letter = format.find_first_not_of("0123456789", percent + 1);
  if (!low || !high || !step || *step == 0 || letter == std::string::npos ||
      (format[letter] != 'd' && format[letter] != 'i' && format[letter] != 'u') ||
      format.find('%', letter) != std::string::npos || letter - percent > 3)
    return std::nullopt;
  const std::string width = format.substr(percent + 1, letter - percent - 1);
  const auto digits = width.empty() ? 0U : number<unsigned>(width).value_or(0);
  std::vector<std::string> names;
  for (std::int64_t i = *low; *step > 0 ? i <= *high : i >= *high; i += *step) {
    std::string text = std::to_string(i);
    if (text.size() < digits)
      text.insert(0, digits - text.size(), width.starts_with('0') ? '0' : ' ');
    names.push_back(format.substr(0, percent) + text + format.substr(letter + 1));
    if (names.size() > kMaxFiles) return std::nullopt;
  }
  return names;
}

// The detached files, below the header's folder; none where the voxels follow the header.
Outcome<std::vector<fs::path>> files_of(const fs::path& header, const Text& text) {
  std::vector<std::string> names;
  const std::string field = text.field("datafile");
  if (field.starts_with("LIST")) {
    names = text.list;
    if (names.empty() || names.size() > kMaxFiles)
      return refuse(Code::BAD_HEADER, "the list of data files is empty or absurd");
  } else if (field.find('%') != std::string::npos) {
    const auto found = numbered(words(field));
    if (!found || found->empty())
      return refuse(Code::UNSUPPORTED_ENCODING, "a pattern of data files that is not read here");
    names = *found;
  } else if (!field.empty()) {
    names.push_back(field);
  }
  std::vector<fs::path> files;
  for (const std::string& name : names) {
    const fs::path file = fs::path(name).lexically_normal();
    if (file.is_absolute() || *file.begin() == "..")
      return refuse(Code::BAD_HEADER, "a data file lies outside the header's folder");
    files.push_back(header.parent_path() / file);
  }
  return files;
}

// Several files hold one slice each, or by the field's last number parts of that many dimensions.
bool fit(std::size_t files, const Text& text, const std::vector<std::int64_t>& sizes) {
  const auto field = words(text.field("datafile"));
  const bool list = field.front().starts_with("LIST");
  if (!list && field.front().find('%') == std::string::npos) return true;
  std::size_t parts = sizes.size() - 1;
  if (field.size() == (list ? 2U : 5U)) parts = number<std::size_t>(field.back()).value_or(0);
  if (parts == sizes.size()) return static_cast<std::size_t>(sizes.back()) % files == 0;
  double wanted = 1;
  for (std::size_t k = parts; k < sizes.size(); ++k) wanted *= static_cast<double>(sizes[k]);
  return parts > 0 && parts < sizes.size() && wanted == static_cast<double>(files);
}

// Whether the files are there and as long as the voxels need.
Rejection check_data(const NrrdHeader& header) {
  using Encoding = NrrdHeader::Encoding;
  // A number takes a digit and a space, but for the last one.
  const std::size_t bytes = header.encoding == Encoding::text  ? 2
                            : header.encoding == Encoding::hex ? 2 * header.voxel_bytes
                                                               : header.voxel_bytes;
  const bool packed = header.encoding == Encoding::gzip;
  const double voxels = static_cast<double>(header.image.geometry.voxels()) /
                        static_cast<double>(header.files.size());
  for (const fs::path& file : header.files) {
    std::error_code ec;
    if (!fs::is_regular_file(file, ec))
      return refuse(Code::BAD_HEADER, "the detached data file is missing");
    const double skipped = static_cast<double>(std::max<std::int64_t>(header.byte_skip, 0)) +
                           (packed ? 0 : static_cast<double>(header.start)) -
                           (header.encoding == Encoding::text ? 1 : 0);
    if (Rejection r = check_bytes(file, voxels * static_cast<double>(bytes) + skipped, packed);
        r.code != Code::USED)
      return r;
  }
  return refuse(Code::USED, "");
}

// Segment0_Name:=liver, Segment0_LabelValue:=2
std::vector<LabelImage::Segment> segments_of(const Text& text) {
  std::vector<LabelImage::Segment> segments;
  for (const auto& [key, value] : text.pairs) {
    constexpr std::string_view kValue = "_LabelValue";
    if (!key.starts_with("Segment") || !key.ends_with(kValue)) continue;
    const auto name = text.pairs.find(key.substr(0, key.size() - kValue.size()) + "_Name");
    const auto label = number<std::int32_t>(value);
    if (label && name != text.pairs.end()) segments.push_back({name->second, *label});
  }
  return segments;
}

}  // namespace

Outcome<NrrdHeader> read_nrrd_header(const fs::path& path) {
  using Encoding = NrrdHeader::Encoding;
  const auto read = read_text(path);
  if (!read) return read.rejection();
  const Text& text = read.value();
  if (text.twice) return refuse(Code::BAD_HEADER, "a field stands twice");
  const auto axes = axes_of(text);
  if (!axes) return axes.rejection();
  const Type* type = type_of(text.word("type"));
  if (type == nullptr) return refuse(Code::BAD_HEADER, "the voxel type is no number");
  static const std::map<std::string, Encoding> kEncodings{
      {"raw", Encoding::raw},  {"gz", Encoding::gzip},   {"gzip", Encoding::gzip},
      {"txt", Encoding::text}, {"text", Encoding::text}, {"ascii", Encoding::text},
      {"hex", Encoding::hex}};
  const std::string packing = text.word("encoding");
  if (packing == "bz2" || packing == "bzip2")
    return refuse(Code::UNSUPPORTED_ENCODING, "the voxels are packed by bzip2");
  const auto encoding = kEncodings.find(packing);
  if (encoding == kEncodings.end())
    return refuse(Code::UNSUPPORTED_ENCODING, "the encoding is none of raw, gzip, text and hex");
  const auto grid = grid_of(text, axes.value());
  if (!grid) return grid.rejection();
  NrrdHeader header;
  header.image = {grid.value(), type->component};
  header.voxel_bytes = type->bytes;
  header.encoding = encoding->second;
  const std::string endian = text.word("endian");
  if (type->bytes > 1 && header.encoding != Encoding::text && endian != "little" && endian != "big")
    return refuse(Code::BAD_HEADER, "'endian' is neither little nor big");
  header.swapped = endian == (std::endian::native == std::endian::little ? "big" : "little");
  for (const auto& [name, skip] :
       {std::pair("lineskip", &header.line_skip), std::pair("byteskip", &header.byte_skip)}) {
    if (text.field(name).empty()) continue;
    const auto value = number<std::int64_t>(text.field(name));
    const bool from_end =
        value == -1 && skip == &header.byte_skip && header.encoding == Encoding::raw;
    if (!value || *value > 1'000'000'000 || (*value < 0 && !from_end))
      return refuse(Code::BAD_HEADER, "'line skip' or 'byte skip' is absurd");
    *skip = *value;
  }
  auto files = files_of(path, text);
  if (!files) return files.rejection();
  header.files = std::move(files).value();
  if (header.files.empty()) {
    header.files.push_back(path);
    header.start = static_cast<std::int64_t>(text.length);
  } else if (!fit(header.files.size(), text, axes.value().sizes)) {
    return refuse(Code::BAD_HEADER, "the number of data files does not fit the sizes");
  }
  if (Rejection r = check_data(header); r.code != Code::USED) return r;
  header.segments = segments_of(text);
  return header;
}

std::vector<fs::path> nrrd_data(const fs::path& header) {
  const auto text = read_text(header);
  if (!text) return {};
  const auto files = files_of(header, text.value());
  if (!files) return {};
  std::vector<fs::path> found;
  for (const fs::path& file : files.value())
    if (std::error_code ec; fs::is_regular_file(file, ec)) found.push_back(file);
  return found;
}

}  // namespace wsp::image
