#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "io/medical/codec.hpp"

namespace wsp::dicom {
namespace {

struct Source {
  std::span<const std::uint8_t> bytes;
  std::size_t at = 0;
};

OPJ_SIZE_T read_bytes(void* buffer, OPJ_SIZE_T wanted, void* user) {
  auto& source = *static_cast<Source*>(user);
  const std::size_t n = std::min<std::size_t>(wanted, source.bytes.size() - source.at);
  if (n == 0) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(buffer, source.bytes.data() + source.at, n);
  source.at += n;
  return n;
}

OPJ_OFF_T skip_bytes(OPJ_OFF_T wanted, void* user) {
  auto& source = *static_cast<Source*>(user);
  if (wanted < 0) return -1;
  const std::size_t n =
      std::min<std::size_t>(static_cast<std::size_t>(wanted), source.bytes.size() - source.at);
  source.at += n;
  return static_cast<OPJ_OFF_T>(n);
}

OPJ_BOOL seek_bytes(OPJ_OFF_T to, void* user) {
  auto& source = *static_cast<Source*>(user);
  if (to < 0 || static_cast<std::size_t>(to) > source.bytes.size()) return OPJ_FALSE;
  source.at = static_cast<std::size_t>(to);
  return OPJ_TRUE;
}

Rejection failed(std::string detail) {
  return {"", "read", Code::DECODE_FAILED, std::move(detail)};
}

}  // namespace

Outcome<CodestreamImage> decode_jpeg2000(std::span<const std::uint8_t> bytes, std::int64_t columns,
                                         std::int64_t rows) {
  if (bytes.size() < 12)
    return failed("JPEG 2000 codestream of " + std::to_string(bytes.size()) + " bytes");
  const bool boxed = bytes[4] == 'j' && bytes[5] == 'P';
  Source source{bytes, 0};

  const std::unique_ptr<opj_codec_t, decltype(&opj_destroy_codec)> codec(
      opj_create_decompress(boxed ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K), opj_destroy_codec);
  const std::unique_ptr<opj_stream_t, decltype(&opj_stream_destroy)> stream(
      opj_stream_create(1 << 16, OPJ_TRUE), opj_stream_destroy);
  if (!codec || !stream) return failed("OpenJPEG could not start");
  opj_stream_set_user_data(stream.get(), &source, nullptr);
  opj_stream_set_user_data_length(stream.get(), bytes.size());
  opj_stream_set_read_function(stream.get(), read_bytes);
  opj_stream_set_skip_function(stream.get(), skip_bytes);
  opj_stream_set_seek_function(stream.get(), seek_bytes);

  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  if (opj_setup_decoder(codec.get(), &parameters) == OPJ_FALSE)
    return failed("OpenJPEG could not start");

  opj_image_t* raw = nullptr;
  const bool header_read = opj_read_header(stream.get(), codec.get(), &raw) != OPJ_FALSE;
  const std::unique_ptr<opj_image_t, decltype(&opj_image_destroy)> image(raw, opj_image_destroy);
  if (!header_read || !image) return failed("JPEG 2000 header");
  if (image->numcomps != 1)
    return failed(std::to_string(image->numcomps) + " JPEG 2000 components, expected 1");
  const std::int64_t width = static_cast<std::int64_t>(image->x1) - image->x0;
  const std::int64_t height = static_cast<std::int64_t>(image->y1) - image->y0;
  const opj_image_comp_t& before = image->comps[0];
  if (width != columns || height != rows || before.dx != 1 || before.dy != 1 || before.prec > 31) {
    return Rejection{"", "read", Code::BAD_HEADER,
                     "codestream of " + std::to_string(width) + "x" + std::to_string(height) +
                         ", header " + std::to_string(columns) + "x" + std::to_string(rows)};
  }
  if (opj_decode(codec.get(), stream.get(), image.get()) == OPJ_FALSE)
    return failed("JPEG 2000 pixels");
  // A missing end marker alone is no loss: opj_end_decompress is not asked for its verdict.
  opj_end_decompress(codec.get(), stream.get());

  const opj_image_comp_t& component = image->comps[0];
  if (component.data == nullptr || component.w != columns || component.h != rows) {
    return failed("JPEG 2000 pixels missing");
  }
  CodestreamImage result;
  result.columns = columns;
  result.rows = rows;
  result.precision = static_cast<int>(component.prec);
  result.is_signed = component.sgnd != 0;
  result.values.assign(component.data, component.data + columns * rows);
  return result;
}

}  // namespace wsp::dicom
