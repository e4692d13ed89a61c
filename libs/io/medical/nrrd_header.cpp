// NRRD headers by the format's definition (teem.sourceforge.net/nrrd/format.html). The library that
// ITK reads them with forgets `space: left-anterior-superior` and `space units`, and its buffers
// overflow on long fields.
#include <algorithm>
#include <bit>
#include <map>

#include "io/medical/image_header.hpp"
#include "io/medical/nrrd_files.hpp"
#include "io/medical/nrrd_grid.hpp"

namespace wsp::image {
namespace {

namespace fs = std::filesystem;

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
      return refuse_read(Code::BAD_HEADER, "the detached data file is missing");
    const double skipped = static_cast<double>(std::max<std::int64_t>(header.byte_skip, 0)) +
                           (packed ? 0 : static_cast<double>(header.start)) -
                           (header.encoding == Encoding::text ? 1 : 0);
    if (Rejection r = check_bytes(file, voxels * static_cast<double>(bytes) + skipped, packed);
        r.code != Code::USED)
      return r;
  }
  return refuse_read(Code::USED, "");
}

// Segment0_Name:=liver, Segment0_LabelValue:=2
std::vector<LabelImage::Segment> segments_of(const NrrdText& text) {
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
  const auto read = read_nrrd_text(path);
  if (!read) return read.rejection();
  const NrrdText& text = read.value();
  if (text.twice) return refuse_read(Code::BAD_HEADER, "a field stands twice");
  const auto axes = nrrd_axes(text);
  if (!axes) return axes.rejection();
  const Type* type = type_of(text.word("type"));
  if (type == nullptr) return refuse_read(Code::BAD_HEADER, "the voxel type is no number");
  static const std::map<std::string, Encoding> kEncodings{
      {"raw", Encoding::raw},  {"gz", Encoding::gzip},   {"gzip", Encoding::gzip},
      {"txt", Encoding::text}, {"text", Encoding::text}, {"ascii", Encoding::text},
      {"hex", Encoding::hex}};
  const std::string packing = text.word("encoding");
  if (packing == "bz2" || packing == "bzip2")
    return refuse_read(Code::UNSUPPORTED_ENCODING, "the voxels are packed by bzip2");
  const auto encoding = kEncodings.find(packing);
  if (encoding == kEncodings.end())
    return refuse_read(Code::UNSUPPORTED_ENCODING,
                       "the encoding is none of raw, gzip, text and hex");
  const auto grid = nrrd_grid(text, axes.value());
  if (!grid) return grid.rejection();
  NrrdHeader header;
  header.image = {grid.value(), type->component};
  header.voxel_bytes = type->bytes;
  header.encoding = encoding->second;
  const std::string endian = text.word("endian");
  if (type->bytes > 1 && header.encoding != Encoding::text && endian != "little" && endian != "big")
    return refuse_read(Code::BAD_HEADER, "'endian' is neither little nor big");
  header.swapped = endian == (std::endian::native == std::endian::little ? "big" : "little");
  for (const auto& [name, skip] :
       {std::pair("lineskip", &header.line_skip), std::pair("byteskip", &header.byte_skip)}) {
    if (text.field(name).empty()) continue;
    const auto value = number<std::int64_t>(text.field(name));
    const bool from_end =
        value == -1 && skip == &header.byte_skip && header.encoding == Encoding::raw;
    if (!value || *value > 1'000'000'000 || (*value < 0 && !from_end))
      return refuse_read(Code::BAD_HEADER, "'line skip' or 'byte skip' is absurd");
    *skip = *value;
  }
  auto files = nrrd_files(path, text);
  if (!files) return files.rejection();
  header.files = std::move(files).value();
  if (header.files.empty()) {
    header.files.push_back(path);
    header.start = static_cast<std::int64_t>(text.length);
  } else if (!files_fit(header.files.size(), text, axes.value().sizes)) {
    return refuse_read(Code::BAD_HEADER, "the number of data files does not fit the sizes");
  }
  if (Rejection r = check_data(header); r.code != Code::USED) return r;
  header.segments = segments_of(text);
  return header;
}

}  // namespace wsp::image
