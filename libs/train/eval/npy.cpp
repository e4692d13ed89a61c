#include "train/eval/npy.hpp"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <regex>
#include <string>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "matrices are little-endian");

constexpr std::int64_t kMostColumns = 1'000'000;

class NpyReader {
 public:
  explicit NpyReader(const fs::path& path) : path_(path), file_(path, std::ios::binary) {}

  NpyMatrix read() {
    const std::string header = read_header();
    const bool is_double = check_type(field(header, "'descr': *('[^']*'|\\[[^\\]]*\\])"));
    by_column_ = field(header, "'fortran_order': *(True|False)") == "True";
    NpyMatrix m;
    read_shape(field(header, "'shape': *\\(([^)]*)\\)"), m);
    if (is_double)
      read_values<double>(m);
    else
      read_values<float>(m);
    return m;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::usage, path_.string() + " " + what);
  }

  std::string read_header() {
    unsigned char begin[10] = {};
    file_.read(reinterpret_cast<char*>(begin), 10);
    if (!file_ || std::string(reinterpret_cast<char*>(begin), 6) != "\x93NUMPY")
      refuse("is no .npy file; expected one that numpy.save wrote");
    std::size_t length = begin[8] + 256U * begin[9];
    if (begin[6] == 2 || begin[6] == 3) {  // four bytes of length
      unsigned char more[2] = {};
      file_.read(reinterpret_cast<char*>(more), 2);
      length += 65536U * more[0] + 16777216U * more[1];
    } else if (begin[6] != 1) {
      refuse(fmt::format("has the version {} of the format; expected 1, 2 or 3", begin[6]));
    }
    if (length > 65536)
      refuse(fmt::format("has a header of {} bytes; expected that of a plain matrix", length));
    std::string header(length, ' ');
    file_.read(header.data(), static_cast<std::streamsize>(length));
    if (!file_) refuse("ends within its header");
    return header;
  }

  [[nodiscard]] std::string field(const std::string& header, const char* pattern) const {
    std::smatch found;
    if (!std::regex_search(header, found, std::regex(pattern)))
      refuse("has a header that is not NumPy's");
    return found[1].str();
  }

  [[nodiscard]] bool check_type(const std::string& type) const {
    if (type != "'<f4'" && type != "'<f8'")
      refuse("holds values of type " + type +
             "; expected '<f4' (float32) or '<f8' (float64): save x.astype('float32')");
    return type == "'<f8'";
  }

  void read_shape(const std::string& shape, NpyMatrix& m) const {
    static const std::regex kTwo(" *([0-9]{1,15}) *, *([0-9]{1,15}) *,? *");
    std::smatch sizes;
    if (!std::regex_match(shape, sizes, kTwo))
      refuse("has the shape (" + shape + "); expected two dimensions: slices, features");
    m.rows = std::stoll(sizes[1].str());
    m.columns = std::stoll(sizes[2].str());
    if (m.rows < 1 || m.columns < 1 || m.columns > kMostColumns)
      refuse(fmt::format("has the shape ({}); expected at least one slice and 1 to {} features",
                         shape, kMostColumns));
  }

  template <class Value>
  void read_values(NpyMatrix& m) {
    const auto row = static_cast<std::uintmax_t>(m.columns) * sizeof(Value);
    const auto begin = static_cast<std::uintmax_t>(file_.tellg()), size = fs::file_size(path_);
    if (static_cast<std::uintmax_t>(m.rows) > size / row ||
        size - begin != row * static_cast<std::uintmax_t>(m.rows))
      refuse(fmt::format("holds {} bytes of values, not those of {} x {}: it was not written whole",
                         size - begin, m.rows, m.columns));
    m.values.resize(static_cast<std::size_t>(m.rows * m.columns));
    std::vector<Value> line(static_cast<std::size_t>(by_column_ ? m.rows : m.columns));
    for (std::int64_t l = 0; l < (by_column_ ? m.columns : m.rows); ++l) {
      file_.read(reinterpret_cast<char*>(line.data()),
                 static_cast<std::streamsize>(line.size() * sizeof(Value)));
      if (!file_) refuse("cannot be read to its end");
      for (std::int64_t i = 0; i < std::ssize(line); ++i) {
        const auto value = static_cast<float>(line[static_cast<std::size_t>(i)]);
        const std::int64_t r = by_column_ ? i : l, c = by_column_ ? l : i;
        if (!std::isfinite(value))
          refuse(fmt::format("holds {} in row {}, column {} (from 0); expected finite numbers",
                             line[static_cast<std::size_t>(i)], r, c));
        m.values[static_cast<std::size_t>(r * m.columns + c)] = value;
      }
    }
  }

  const fs::path& path_;
  std::ifstream file_;
  bool by_column_ = false;  // Fortran order
};

}  // namespace

NpyMatrix read_npy(const fs::path& path) {
  std::error_code ec;
  if (!fs::is_regular_file(path, ec))
    throw Error(ErrorCode::no_input, "no features at " + path.string() + ": expected a .npy file");
  return NpyReader(path).read();
}

void write_npy(const fs::path& path, std::int64_t rows, std::int64_t columns,
               std::span<const float> values) {
  // Magic, length of the header, header padded so that the values are aligned to 64.
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string npy("\x93NUMPY\x01\x00", 8);
  npy += static_cast<char>(header.size() & 0xff);
  npy += static_cast<char>(header.size() >> 8);
  npy += header;
  npy.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  write_file_atomic(path, npy);
}

}  // namespace wsp::train
