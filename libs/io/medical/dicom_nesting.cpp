#include "io/medical/dicom_nesting.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace wsp::dicom {
namespace {

constexpr std::uint64_t kUndefined = std::numeric_limits<std::uint64_t>::max();
constexpr std::string_view kDeflated = "1.2.840.10008.1.2.1.99";

/// The bytes of a file, or of what is deflated in it from `start` on, at growing positions: a read
/// begins no earlier than the one before it.
class Bytes {
 public:
  explicit Bytes(const std::filesystem::path& path) : stream_(path, std::ios::binary) {}
  Bytes(const std::filesystem::path& path, std::uint64_t start) : Bytes(path) {
    stream_.seekg(static_cast<std::streamoff>(start));
    inflater_ = std::make_unique<z_stream>();
    if (inflateInit2(inflater_.get(), -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() {
    if (inflater_) inflateEnd(inflater_.get());
  }

  bool read(std::uint64_t position, unsigned char* out, std::size_t count) {
    if (!to(position) || !fill(count)) return false;
    std::memcpy(out, window_.data() + head_, count);
    return true;
  }

  /// Whether the bytes go on beyond `most`. Reads up to there.
  bool exceeds(std::uint64_t most) { return to(std::max(begin_, most)) && fill(1); }
  [[nodiscard]] bool inflates() const { return inflater_ != nullptr; }

 private:
  [[nodiscard]] std::size_t held() const { return window_.size() - head_; }
  /// Make the window begin at `position`.
  bool to(std::uint64_t position) {
    if (position < begin_) return false;
    while (position > begin_ + held()) {
      begin_ += held();
      head_ = window_.size();
      if (!inflater_ && position - begin_ > kChunk) {
        stream_.seekg(static_cast<std::streamoff>(position));
        begin_ = position;
      } else if (!fetch()) {
        return false;
      }
    }
    head_ += static_cast<std::size_t>(position - begin_);
    begin_ = position;
    return true;
  }
  bool fill(std::size_t count) {
    while (held() < count)
      if (!fetch()) return false;
    return true;
  }
  /// Add to the window what comes next; false at the end.
  bool fetch() {
    window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
    const std::size_t old = window_.size();
    window_.resize(old + kChunk);
    const std::size_t n =
        inflater_ ? inflate_to(window_.data() + old) : read_to(window_.data() + old);
    window_.resize(old + n);
    return n > 0;
  }
  std::size_t read_to(unsigned char* out) {
    stream_.read(reinterpret_cast<char*>(out), kChunk);
    return static_cast<std::size_t>(std::max<std::streamsize>(stream_.gcount(), 0));
  }
  std::size_t inflate_to(unsigned char* out) {
    inflater_->next_out = out;
    inflater_->avail_out = kChunk;
    while (inflater_->avail_out == kChunk && !ended_) {
      if (inflater_->avail_in == 0) {
        inflater_->next_in = packed_.data();
        inflater_->avail_in = static_cast<uInt>(read_to(packed_.data()));
      }
      ended_ = inflater_->avail_in == 0 || inflate(inflater_.get(), Z_NO_FLUSH) != Z_OK;
    }
    return kChunk - inflater_->avail_out;
  }

  static constexpr std::size_t kChunk = 1U << 14;
  std::ifstream stream_;
  std::unique_ptr<z_stream> inflater_;
  std::array<unsigned char, kChunk> packed_{};
  bool ended_ = false;
  std::vector<unsigned char> window_;
  std::size_t head_ = 0;     ///< of the window in window_
  std::uint64_t begin_ = 0;  ///< position of the window
};

bool is_type(const unsigned char* vr) {
  static constexpr std::string_view kTypes =
      "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN "
      "UR US UT UV";
  const std::array<char, 3> word{static_cast<char>(vr[0]), static_cast<char>(vr[1]), '\0'};
  return vr[0] >= 'A' && vr[1] >= 'A' && kTypes.find(word.data()) != std::string_view::npos;
}

bool has_long_length(const unsigned char* vr) {
  static constexpr std::string_view kLong = "OB OD OF OL OV OW SQ SV UC UN UR UT UV";
  const std::array<char, 3> word{static_cast<char>(vr[0]), static_cast<char>(vr[1]), '\0'};
  return kLong.find(word.data()) != std::string_view::npos;
}

/// A walk through the elements of a file, in whatever transfer syntax it turns out to be.
class Walk {
 public:
  explicit Walk(const std::filesystem::path& path)
      : path_(path), bytes_(std::make_unique<Bytes>(path)) {
    std::array<unsigned char, 132> head{};
    const bool preamble =
        bytes_->read(0, head.data(), head.size()) && std::memcmp(head.data() + 128, "DICM", 4) == 0;
    if (preamble)
      position_ = head.size();
    else
      bytes_ = std::make_unique<Bytes>(path);
  }

  Rejection run() {
    std::uint64_t elements = 0;
    while (!(bytes_->inflates() && position_ > kMostInflated) &&
           bytes_->read(position_, raw_.data(), 8)) {
      if (++elements > kMostElements)
        return say(Code::UNREADABLE, "more than " + std::to_string(kMostElements) + " elements");
      while (!ends_.empty() && ends_.back() <= position_) ends_.pop_back();
      // The meta header is little endian and in the clear whatever follows it.
      if (ends_.empty() && raw_[0] == 0 && raw_[1] != 0) big_ = true;
      if (ends_meta()) continue;
      if (!take_element()) break;
      if (ends_.size() > 2 * static_cast<std::size_t>(kDeepestSequence))
        return say(Code::UNREADABLE,
                   "sequences nested more than " + std::to_string(kDeepestSequence) + " deep");
    }
    if (bytes_->exceeds(kMostInflated))
      return say(Code::TOO_LARGE,
                 "deflated data of more than " + std::to_string(kMostInflated >> 20) + " MiB");
    return say(Code::USED);
  }

 private:
  static Rejection say(Code code, std::string detail = {}) {
    return {"", "scan", code, std::move(detail)};
  }

  /// A number of the element's head.
  [[nodiscard]] std::uint64_t number(std::size_t from, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value |= std::uint64_t{raw_[from + i]} << (8 * (big_ ? count - 1 - i : i));
    return value;
  }

  /// Whether the meta header ends here and what follows must be unpacked first.
  bool ends_meta() {
    if (!meta_ || number(0, 2) == 2) return false;
    meta_ = false;
    if (syntax_ != kDeflated) return false;
    bytes_ = std::make_unique<Bytes>(path_, position_);
    position_ = 0;
    return true;
  }

  /// Go past an element, or into it where it is a sequence or an item; false at the end.
  bool take_element() {
    const std::uint64_t group = number(0, 2), element = number(2, 2);
    std::uint64_t length = number(4, 4), header = 8;
    bool opens = false;
    if (group == 0xFFFE) {
      if (element != 0xE000) {  // the end of an item or of a sequence
        if (!ends_.empty()) ends_.pop_back();
        position_ += 8;
        return true;
      }
      opens = true;
    } else if (is_type(raw_.data() + 4)) {
      length = number(6, 2);
      opens = raw_[4] == 'S' && raw_[5] == 'Q';
      if (has_long_length(raw_.data() + 4)) {
        if (!bytes_->read(position_ + 8, raw_.data() + 8, 4)) return false;
        length = number(8, 4);
        header = 12;
      }
    }
    position_ += header;
    if (group == 2 && element == 0x10 && length <= kDeflated.size() + 2) return take_syntax(length);
    const bool undefined = length == 0xFFFFFFFF;
    if (!opens && !undefined) opens = begins_with_item(length);
    if (opens || undefined)
      ends_.push_back(undefined ? kUndefined : position_ + length);
    else
      position_ += length;
    return true;
  }

  bool take_syntax(std::uint64_t length) {
    syntax_.resize(length);
    if (!bytes_->read(position_, reinterpret_cast<unsigned char*>(syntax_.data()), length))
      return false;
    syntax_.erase(std::find_if(syntax_.begin(), syntax_.end(), [](char c) { return c <= ' '; }),
                  syntax_.end());
    position_ += length;
    return true;
  }

  /// Whether a value is a sequence that no type tells: an item begins it.
  [[nodiscard]] bool begins_with_item(std::uint64_t length) const {
    std::array<unsigned char, 4> first{};
    if (length < 8 || length >= (1U << 24) || !bytes_->read(position_, first.data(), 4))
      return false;
    return big_ ? first == std::array<unsigned char, 4>{0xFF, 0xFE, 0xE0, 0x00}
                : first == std::array<unsigned char, 4>{0xFE, 0xFF, 0x00, 0xE0};
  }

  const std::filesystem::path& path_;
  std::unique_ptr<Bytes> bytes_;
  std::uint64_t position_ = 0;
  bool big_ = false, meta_ = true;
  std::string syntax_;
  std::vector<std::uint64_t> ends_;  ///< of the open sequences and items
  std::array<unsigned char, 12> raw_{};
};

}  // namespace

Rejection inspect_structure(const std::filesystem::path& path) { return Walk(path).run(); }

}  // namespace wsp::dicom
