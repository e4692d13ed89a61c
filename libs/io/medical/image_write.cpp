// NIfTI-1 by hand: 348 bytes of header are less than the ways in which a library can write a file
// that is not atomic, not the same twice or not whole.
#include <zlib.h>

#include <cstring>
#include <limits>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/medical/image_file.hpp"

namespace wsp {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <class T>
void put(Bytes& header, std::size_t offset, T value) {
  std::memcpy(header.data() + offset, &value, sizeof(T));
}

Bytes make_header(const Geometry& g, std::int16_t datatype, std::int16_t bits) {
  Bytes header(352, 0);  // 348 and four zeros: no extension
  put<std::int32_t>(header, 0, 348);
  put<std::int16_t>(header, 40, 3);
  for (std::size_t k = 0; k < 7; ++k)
    put<std::int16_t>(header, 42 + 2 * k, k < 3 ? static_cast<std::int16_t>(g.size[k]) : 1);
  put<std::int16_t>(header, 70, datatype);
  put<std::int16_t>(header, 72, bits);
  put<float>(header, 76, 1);
  for (std::size_t k = 0; k < 3; ++k)
    put<float>(header, 80 + 4 * k, static_cast<float>(g.spacing_mm[k]));
  put<float>(header, 108, 352);       // vox_offset
  put<float>(header, 112, 1);         // scl_slope
  header[123] = 2;                    // millimetres
  put<std::int16_t>(header, 254, 1);  // sform_code: scanner
  for (std::size_t row = 0; row < 3; ++row) {
    const double sign = row < 2 ? -1 : 1;  // LPS -> RAS
    for (std::size_t k = 0; k < 3; ++k)
      put<float>(header, 280 + 16 * row + 4 * k,
                 static_cast<float>(sign * g.axis[k][row] * g.spacing_mm[k]));
    put<float>(header, 280 + 16 * row + 12, static_cast<float>(sign * g.origin_mm[row]));
  }
  std::memcpy(header.data() + 344, "n+1", 3);
  return header;
}

// Gzip without name or time, so that the same voxels give the same bytes.
Bytes gzip(const Bytes& input) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;
  if (deflateInit2(&stream, 6, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Error(ErrorCode::failure, "zlib cannot start");
  Bytes output;
  Bytes chunk(1 << 20);
  std::size_t fed = 0;
  int state = Z_OK;
  while (state == Z_OK) {
    if (stream.avail_in == 0) {
      const std::size_t n = std::min<std::size_t>(input.size() - fed, 1 << 30);
      stream.next_in = const_cast<std::uint8_t*>(input.data() + fed);
      stream.avail_in = static_cast<uInt>(n);
      fed += n;
    }
    stream.next_out = chunk.data();
    stream.avail_out = static_cast<uInt>(chunk.size());
    state = deflate(&stream, fed == input.size() ? Z_FINISH : Z_NO_FLUSH);
    output.insert(output.end(), chunk.data(), chunk.data() + (chunk.size() - stream.avail_out));
  }
  deflateEnd(&stream);
  if (state != Z_STREAM_END) throw Error(ErrorCode::failure, "zlib cannot compress");
  return output;
}

template <class T>
void write(const std::filesystem::path& path, const Geometry& g, const std::vector<T>& values,
           std::int16_t datatype) {
  for (const std::int64_t n : g.size)
    if (n < 1 || n > std::numeric_limits<std::int16_t>::max())
      throw Error(ErrorCode::failure,
                  "NIfTI-1 holds 1 to 32767 voxels along an axis, not " + std::to_string(n));
  if (values.size() != static_cast<std::size_t>(g.voxels()))
    throw Error(ErrorCode::failure, "expected " + std::to_string(g.voxels()) + " voxels, found " +
                                        std::to_string(values.size()));
  Bytes file = make_header(g, datatype, static_cast<std::int16_t>(8 * sizeof(T)));
  const auto raw = bytes_of(std::span<const T>(values));
  file.insert(file.end(), raw.begin(), raw.end());
  if (path.extension() == ".gz") file = gzip(file);
  write_file_atomic(path, file);
}

}  // namespace

void write_nifti(const std::filesystem::path& path, const Geometry& geometry,
                 const std::vector<std::int16_t>& values) {
  write(path, geometry, values, 4);
}
void write_nifti(const std::filesystem::path& path, const Geometry& geometry,
                 const std::vector<std::uint8_t>& values) {
  write(path, geometry, values, 2);
}

}  // namespace wsp
