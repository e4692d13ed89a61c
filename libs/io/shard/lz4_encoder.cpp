#include "io/shard/lz4_encoder.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace wsp {
namespace {

static_assert(std::endian::native == std::endian::little, "chunks are little-endian");

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kBlock = std::size_t{256} << 10;
constexpr std::size_t kShortestMatch = 12, kNearest = 16, kFarthest = 65535;
constexpr std::size_t kRunDistance = 512, kLongRun = 2 * kRunDistance;
// The format's end of a block: the last bytes are literals, and no match begins shortly before.
constexpr std::size_t kLastLiterals = 5, kLastMatchStart = 12;
constexpr std::size_t kCompared = sizeof(std::uint64_t);  ///< bytes that a candidate must share
constexpr std::size_t kTail = std::max(kLastMatchStart, kLastLiterals + kCompared);
constexpr std::size_t kMinimumMatch = 4;  ///< a match's length is stored less this
constexpr int kHashBits = 12;
constexpr std::size_t kPatience = 5;  ///< after 2^kPatience misses every second place is tried, …

std::uint64_t load64(const std::uint8_t* p) {
  std::uint64_t value = 0;
  std::memcpy(&value, p, sizeof value);
  return value;
}

void put32(std::uint8_t* out, std::size_t value) {
  const auto stored = static_cast<std::uint32_t>(value);
  std::memcpy(out, &stored, sizeof stored);
}

struct Match {
  std::size_t at = 0, distance = 0, length = 0;  ///< length 0: none
};

/// The sequences of one LZ4 block. The caller gives room for the worst case.
class SequenceWriter {
 public:
  explicit SequenceWriter(std::uint8_t* out) : out_(out) {}

  void sequence(Bytes literals, std::size_t distance, std::size_t length) {
    std::uint8_t* token = begin(literals);
    *out_++ = static_cast<std::uint8_t>(distance);
    *out_++ = static_cast<std::uint8_t>(distance >> 8);
    *token = static_cast<std::uint8_t>(*token | nibble(length - kMinimumMatch));
    extend(length - kMinimumMatch);
  }
  void last(Bytes literals) { begin(literals); }
  [[nodiscard]] std::uint8_t* end() const { return out_; }

 private:
  static std::size_t nibble(std::size_t n) { return std::min<std::size_t>(n, 15); }

  std::uint8_t* begin(Bytes literals) {
    std::uint8_t* token = out_++;
    *token = static_cast<std::uint8_t>(nibble(literals.size()) << 4);
    extend(literals.size());
    out_ = std::copy(literals.begin(), literals.end(), out_);
    return token;
  }
  void extend(std::size_t n) {
    if (n < 15) return;
    for (n -= 15; n >= 255; n -= 255) *out_++ = 255;
    *out_++ = static_cast<std::uint8_t>(n);
  }

  std::uint8_t* out_;
};

class MatchFinder {
 public:
  explicit MatchFinder(Bytes bytes) : bytes_(bytes) { newest_.fill(kNowhere); }

  /// The match at `at` with the place that was seen there last, not beginning before `floor`.
  Match find(std::size_t at, std::size_t floor) {
    const std::uint64_t value = load64(&bytes_[at]);
    std::uint32_t& entry = newest_[(value * 0x9E3779B97F4A7C15ull) >> (64 - kHashBits)];
    const std::size_t candidate = entry;
    const bool near = entry != kNowhere && at - candidate < kNearest;
    if (!near)
      entry = static_cast<std::uint32_t>(at);  // within a run the older place serves better
    if (near || candidate == kNowhere || at - candidate > kFarthest ||
        load64(&bytes_[candidate]) != value)
      return {};
    const std::size_t distance = at - candidate;
    const std::size_t end = same_until(at + kCompared, distance);
    while (at > floor && at > distance && bytes_[at - 1] == bytes_[at - 1 - distance]) --at;
    return {at, distance, end - at};
  }

 private:
  static constexpr std::uint32_t kNowhere = ~std::uint32_t{0};

  [[nodiscard]] std::size_t same_until(std::size_t at, std::size_t distance) const {
    const std::size_t end = bytes_.size() - kLastLiterals;
    const auto differs = [&](std::size_t i) {
      return load64(&bytes_[i]) ^ load64(&bytes_[i - distance]);
    };
    for (; at + 32 <= end; at += 32)  // most of a mask is one run
      if ((differs(at) | differs(at + 8) | differs(at + 16) | differs(at + 24)) != 0) break;
    for (; at + 8 <= end; at += 8)
      if (const std::uint64_t bits = differs(at))
        return at + static_cast<std::size_t>(std::countr_zero(bits)) / 8;
    while (at < end && bytes_[at] == bytes_[at - distance]) ++at;
    return at;
  }

  Bytes bytes_;
  std::array<std::uint32_t, std::size_t{1} << kHashBits> newest_;
};

std::uint8_t* encode_block(Bytes bytes, std::uint8_t* out) {
  SequenceWriter writer(out);
  MatchFinder finder(bytes);
  std::size_t written = 0, misses = 0;
  for (std::size_t at = 0; at + kTail <= bytes.size();) {
    const Match match = finder.find(at, written);
    if (match.length < kShortestMatch) {
      at += 1 + (misses++ >> kPatience);
      continue;
    }
    Bytes literals = bytes.subspan(written, match.at - written);
    std::size_t distance = match.distance, length = match.length;
    if (distance < kRunDistance && length > kLongRun) {
      // A run repeats at every multiple of its distance, once so much of it has been written.
      const std::size_t times = (kRunDistance + distance - 1) / distance;
      writer.sequence(literals, distance, distance * (times - 1));
      length -= distance * (times - 1);
      distance *= times;
      literals = {};
    }
    writer.sequence(literals, distance, length);
    at = written = match.at + match.length;
    misses = 0;
  }
  writer.last(bytes.subspan(written));
  return writer.end();
}

// All low bytes of 16-bit elements, then all high bytes, then a byte that is left over.
void shuffle_pairs(Bytes block, std::uint8_t* planes) {
  const std::size_t pairs = block.size() / 2;
  for (std::size_t i = 0; i < pairs; ++i) {
    planes[i] = block[2 * i];
    planes[pairs + i] = block[2 * i + 1];
  }
  if (block.size() % 2 != 0) planes[2 * pairs] = block.back();
}

}  // namespace

std::vector<std::uint8_t> encode_blosc_lz4(Bytes raw, int type_size) {
  constexpr std::uint8_t kVersion = 2, kLz4Version = 1;
  constexpr std::uint8_t kByteShuffle = 0x01, kNotSplit = 0x10, kLz4 = 1 << 5;
  constexpr std::size_t kHeader = 16, kSmallestPlane = 128;
  const auto type = static_cast<std::size_t>(type_size);
  const std::size_t block_size = std::min(kBlock, raw.size()) / type * type;
  if (block_size < kSmallestPlane * type) return {};  // a decoder would not look for planes
  const std::size_t blocks = (raw.size() + block_size - 1) / block_size;
  // LZ4's worst case, a length per plane, and the table of blocks.
  static thread_local std::vector<std::uint8_t> chunk, planes;  // their memory is used again
  const std::size_t most = kHeader + raw.size() + raw.size() / 255 + blocks * (4 + 32 * type);
  chunk.resize(std::max(chunk.size(), most));
  planes.resize(std::max(planes.size(), block_size));
  std::uint8_t* out = &chunk[kHeader + 4 * blocks];
  for (std::size_t b = 0; b < blocks; ++b) {
    put32(&chunk[kHeader + 4 * b], static_cast<std::size_t>(out - chunk.data()));
    const Bytes block =
        raw.subspan(b * block_size, std::min(block_size, raw.size() - b * block_size));
    if (type == 2) shuffle_pairs(block, planes.data());
    const Bytes bytes = type == 2 ? Bytes(planes).first(block.size()) : block;
    // Each plane is a stream of its own, but for a last block that is shorter.
    const std::size_t stream = block.size() == block_size ? block_size / type : block.size();
    for (std::size_t begin = 0; begin < bytes.size(); begin += stream) {
      const Bytes plane = bytes.subspan(begin, stream);
      std::uint8_t* const length_at = out;
      out = encode_block(plane, length_at + 4);
      if (out >= length_at + 4 + stream) out = std::copy(plane.begin(), plane.end(), length_at + 4);
      put32(length_at, static_cast<std::size_t>(out - length_at) - 4);
    }
  }
  const auto length = static_cast<std::size_t>(out - chunk.data());
  if (length >= raw.size()) return {};
  chunk[0] = kVersion;
  chunk[1] = kLz4Version;
  chunk[2] = static_cast<std::uint8_t>(kLz4 | (type > 1 ? kByteShuffle : kNotSplit));
  chunk[3] = static_cast<std::uint8_t>(type_size);
  put32(&chunk[4], raw.size());
  put32(&chunk[8], block_size);
  put32(&chunk[12], length);
  return {chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(length)};
}

}  // namespace wsp
