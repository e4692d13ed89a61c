#include "io/medical/native_pixels.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "io/core/hash.hpp"
#include "io/medical/dicom_header.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_text.hpp"
#include "io/medical/pixel_format.hpp"
#include "io/medical/refuse.hpp"

namespace wsp::dicom {

std::int32_t read_bits(std::uint32_t word, int bits, bool is_signed) {
  const std::uint32_t mask = bits >= 32 ? 0xFFFFFFFFU : (1U << static_cast<unsigned>(bits)) - 1U;
  word &= mask;
  if (is_signed && (word >> static_cast<unsigned>(bits - 1)) != 0U) word |= ~mask;
  return static_cast<std::int32_t>(word);
}

namespace {

/// One walk: to ask for each of 128 groups would search the data set as often.
bool has_overlay_bits(DcmDataset& dataset) {
  for (DcmObject* o = dataset.nextInContainer(nullptr); o != nullptr;
       o = dataset.nextInContainer(o)) {
    const DcmTagKey tag = o->getTag();
    const bool of_overlay = tag.getGroup() >= 0x6000 && tag.getGroup() <= 0x60FE &&
                            tag.getGroup() % 2 == 0 && tag.getElement() == 0x0102;
    if (of_overlay && number(dataset, tag).value_or(0) > 0) return true;
  }
  return false;
}

}  // namespace

Outcome<PixelFormat> read_format(DcmDataset& dataset) {
  PixelFormat format;
  format.columns = bits16(dataset, DCM_Columns).value_or(0);
  format.rows = bits16(dataset, DCM_Rows).value_or(0);
  format.allocated = bits16(dataset, DCM_BitsAllocated).value_or(0);
  format.stored =
      bits16(dataset, DCM_BitsStored).value_or(static_cast<std::uint16_t>(format.allocated));
  format.high =
      bits16(dataset, DCM_HighBit).value_or(static_cast<std::uint16_t>(format.stored - 1));
  format.is_signed = bits16(dataset, DCM_PixelRepresentation).value_or(0) == 1;
  format.overlay = has_overlay_bits(dataset);
  format.frames = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(number(dataset, DCM_NumberOfFrames).value_or(1)));
  const bool words = format.allocated == 8 || format.allocated == 16 || format.allocated == 32;
  if (format.columns < 1 || format.rows < 1 || !words || format.stored < 1 ||
      format.stored > format.allocated || format.high >= format.allocated ||
      format.high + 1 < format.stored || bits16(dataset, DCM_SamplesPerPixel).value_or(1) != 1) {
    return refuse_read(Code::BAD_HEADER, "pixel format");
  }
  return format;
}

PaddingRange read_padding(DcmDataset& dataset, const PixelFormat& format) {
  const auto value = bits16(dataset, DCM_PixelPaddingValue);
  if (!value) return {};
  const std::uint16_t limit = bits16(dataset, DCM_PixelPaddingRangeLimit).value_or(*value);
  // The value's own type may contradict PixelRepresentation: its bits are what counts.
  const auto read = [&](std::uint32_t bits) { return read_bits(bits, 16, format.is_signed); };
  return {std::min(read(*value), read(limit)), std::max(read(*value), read(limit))};
}

namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] std::optional<std::uint64_t> size() const {
    struct stat status {};
    if (fd_ < 0 || ::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    return static_cast<std::uint64_t>(status.st_size);
  }
  [[nodiscard]] bool read(std::uint8_t* into, std::size_t bytes) const {
    while (bytes > 0) {
      const ssize_t n = ::read(fd_, into, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      into += n;
      bytes -= static_cast<std::size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
};

/// Whether the header of a PixelData element of `length` bytes ends these.
bool ends_with_pixel_data(std::span<const std::uint8_t> header, bool has_types,
                          std::uint32_t length) {
  std::vector<std::uint8_t> wanted{0xE0, 0x7F, 0x10, 0x00};
  if (has_types) wanted.insert(wanted.end(), {'O', 'W', 0, 0});
  for (int shift = 0; shift < 32; shift += 8)
    wanted.push_back(static_cast<std::uint8_t>(length >> shift));
  return header.size() > wanted.size() &&
         std::equal(wanted.begin(), wanted.end(), header.end() - std::ssize(wanted));
}

}  // namespace

bool read_bytes(const std::filesystem::path& path, std::span<std::uint8_t> bytes) {
  const Descriptor file(path);
  return file.size() == bytes.size() && file.read(bytes.data(), bytes.size());
}

std::optional<NativePixels> find_native_pixels(const std::filesystem::path& path,
                                               DcmFileFormat& file) {
  constexpr std::uint64_t kLongestHeader = std::uint64_t{1} << 20;
  DcmDataset& dataset = *file.getDataset();
  const E_TransferSyntax syntax = dataset.getOriginalXfer();
  if (std::endian::native != std::endian::little ||
      (syntax != EXS_LittleEndianExplicit && syntax != EXS_LittleEndianImplicit) ||
      transfer_syntax(file) != DcmXfer(syntax).getXferID() || dataset.card() == 0)
    return std::nullopt;
  DcmElement* last = nullptr;
  dataset.findAndGetElement(DCM_PixelData, last);
  const auto format = read_format(dataset);
  if (last == nullptr || dataset.nextInContainer(last) != nullptr || !format ||
      format.value().frames != 1 || format.value().allocated != 16)
    return std::nullopt;
  const std::uint32_t length = last->getLengthField();
  if (length != 2 * static_cast<std::uint64_t>(format.value().columns * format.value().rows))
    return std::nullopt;
  const Descriptor descriptor(path);
  const auto size = descriptor.size();
  if (!size || *size <= length || *size - length > kLongestHeader) return std::nullopt;
  std::vector<std::uint8_t> header(*size - length);
  if (!descriptor.read(header.data(), header.size()) || header.size() % sizeof(std::int16_t) != 0 ||
      !ends_with_pixel_data(header, syntax == EXS_LittleEndianExplicit, length))
    return std::nullopt;
  const Rescale rescale =
      read_rescale(dataset, FrameGroups(dataset).in(0, DCM_PixelValueTransformationSequence));
  return NativePixels{*size,
                      header.size(),
                      xxh3_64(header),
                      format.value(),
                      read_padding(dataset, format.value()),
                      static_cast<float>(rescale.slope),
                      static_cast<float>(rescale.intercept)};
}

std::optional<std::span<const std::uint8_t>> native_words(std::span<const std::uint8_t> file,
                                                          const NativePixels& pixels) {
  if (file.size() != pixels.file_bytes || xxh3_64(file.first(pixels.offset)) != pixels.header_xxh3)
    return std::nullopt;
  return file.subspan(pixels.offset);
}

}  // namespace wsp::dicom
