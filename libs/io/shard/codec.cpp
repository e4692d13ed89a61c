#include <blosc.h>
#include <zlib.h>

#include <algorithm>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset.hpp"
#include "io/shard/lz4_encoder.hpp"
#include "io/shard/unshuffle.hpp"

namespace wsp {
namespace {

constexpr int kLevel = 5;

constexpr std::size_t kBloscFlags = 2;  ///< of the header's bytes

bool is_blosc(Codec codec) { return codec == Codec::lz4 || codec == Codec::zstd; }

struct ChunkOrigin {
  std::string_view case_name;
  std::int32_t source_index;
  bool is_mask;

  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorCode::corrupt, std::string(what) + " in case " + std::string(case_name) +
                                        ", slice " + std::to_string(source_index) +
                                        (is_mask ? " (mask)" : " (image)") +
                                        "; run wsp-ingest verify, then ingest the case again");
  }
};

void check_hash(std::span<const std::uint8_t> stored, std::uint64_t xxh3,
                const ChunkOrigin& origin) {
  if (xxh3_64(stored, chunk_seed(origin.case_name, origin.source_index, origin.is_mask)) != xxh3)
    origin.fail("the chunk's bytes differ from their hash");
}

void decode(std::span<const std::uint8_t> stored, std::span<std::uint8_t> raw, Codec codec,
            const ChunkOrigin& origin) {
  if (codec == Codec::none) {
    if (stored.size() != raw.size()) origin.fail("a chunk of the wrong length");
    std::copy(stored.begin(), stored.end(), raw.begin());
  } else if (codec == Codec::gzip) {
    uLongf length = static_cast<uLong>(raw.size());
    if (uncompress(raw.data(), &length, stored.data(), static_cast<uLong>(stored.size())) != Z_OK ||
        length != raw.size())
      origin.fail("an undecodable chunk");
  } else {
    std::size_t length = 0;
    if (blosc_cbuffer_validate(stored.data(), stored.size(), &length) != 0 ||
        length != raw.size() ||
        blosc_decompress_ctx(stored.data(), raw.data(), raw.size(), 1) !=
            static_cast<int>(raw.size()))
      origin.fail("an undecodable chunk");
  }
}

// Bytes of an internal block of a Blosc chunk of byte-shuffled 16-bit elements; 0 for others.
std::size_t block_of_shuffled_pairs(std::span<const std::uint8_t> stored) {
  if (stored.size() < BLOSC_MIN_HEADER_LENGTH) return 0;
  std::size_t type_size = 0, raw = 0, length = 0, block = 0;
  int flags = 0;
  blosc_cbuffer_metainfo(stored.data(), &type_size, &flags);
  blosc_cbuffer_sizes(stored.data(), &raw, &length, &block);
  constexpr int kAsked = BLOSC_DOSHUFFLE | BLOSC_MEMCPYED | BLOSC_DOBITSHUFFLE;
  return type_size == 2 && (flags & kAsked) == BLOSC_DOSHUFFLE ? block : 0;
}

}  // namespace

Codec parse_codec(std::string_view name) {
  if (name == "none") return Codec::none;
  if (name == "lz4") return Codec::lz4;
  if (name == "zstd") return Codec::zstd;
  if (name == "gzip") return Codec::gzip;
  throw Error(ErrorCode::usage,
              "codec is '" + std::string(name) + "': expected lz4, zstd, gzip or none");
}

std::string_view to_string(Codec codec) {
  switch (codec) {
    case Codec::none:
      return "none";
    case Codec::lz4:
      return "lz4";
    case Codec::zstd:
      return "zstd";
    case Codec::gzip:
      return "gzip";
  }
  return "";
}

std::uint64_t chunk_seed(std::string_view case_name, std::int32_t source_index, bool is_mask) {
  std::string text(case_name);
  text += '\0';
  text += std::to_string(source_index);
  text += '\0';
  text += is_mask ? "mask" : "image";
  const Digest digest = sha256(text);
  std::uint64_t seed = 0;
  for (int i = 7; i >= 0; --i) seed = seed << 8 | digest[static_cast<std::size_t>(i)];
  return seed;
}

Chunk compress_slice(std::span<const std::uint8_t> raw, int type_size, Codec codec,
                     std::uint64_t seed) {
  Chunk chunk;
  chunk.raw_length = static_cast<std::uint32_t>(raw.size());
  if (codec == Codec::none) {
    chunk.bytes.assign(raw.begin(), raw.end());
  } else if (codec == Codec::gzip) {
    uLongf length = compressBound(static_cast<uLong>(raw.size()));
    chunk.bytes.resize(length);
    if (compress2(chunk.bytes.data(), &length, raw.data(), static_cast<uLong>(raw.size()), 4) !=
        Z_OK)
      throw Error(ErrorCode::failure, "zlib cannot compress a slice");
    chunk.bytes.resize(length);
  } else if (codec == Codec::lz4 && !(chunk.bytes = encode_blosc_lz4(raw, type_size)).empty()) {
    // It is smaller than the slice.
  } else {
    chunk.bytes.resize(raw.size() + BLOSC_MAX_OVERHEAD);
    const int level = codec == Codec::zstd ? 1 : kLevel;
    // One internal thread and a fixed block size: the bytes must not depend on the machine.
    const int length =
        blosc_compress_ctx(level, BLOSC_SHUFFLE, static_cast<std::size_t>(type_size), raw.size(),
                           raw.data(), chunk.bytes.data(), chunk.bytes.size(),
                           codec == Codec::zstd ? BLOSC_ZSTD_COMPNAME : BLOSC_LZ4_COMPNAME, 0, 1);
    if (length <= 0) throw Error(ErrorCode::failure, "Blosc cannot compress a slice");
    chunk.bytes.resize(static_cast<std::size_t>(length));
  }
  chunk.bytes.shrink_to_fit();  // a whole shard of them waits to be written
  chunk.xxh3 = xxh3_64(chunk.bytes, seed);
  return chunk;
}

void decompress_chunk(std::span<const std::uint8_t> stored, std::span<std::uint8_t> raw,
                      std::uint64_t xxh3, Codec codec, std::string_view case_name,
                      std::int32_t source_index, bool is_mask) {
  const ChunkOrigin origin{case_name, source_index, is_mask};
  check_hash(stored, xxh3, origin);
  decode(stored, raw, codec, origin);
}

void decompress_chunk_streamed(std::span<std::uint8_t> stored, std::vector<std::uint8_t>& planes,
                               std::span<std::uint8_t> raw, std::uint64_t xxh3, Codec codec,
                               std::string_view case_name, std::int32_t source_index,
                               bool is_mask) {
  const ChunkOrigin origin{case_name, source_index, is_mask};
  check_hash(stored, xxh3, origin);
  const std::size_t block = is_blosc(codec) ? block_of_shuffled_pairs(stored) : 0;
  if (block == 0) {
    decode(stored, raw, codec, origin);
    return;
  }
  if (planes.size() < raw.size()) planes.resize(raw.size());
  const std::span shuffled(planes.data(), raw.size());
  stored[kBloscFlags] &= static_cast<std::uint8_t>(~BLOSC_DOSHUFFLE);  // Blosc leaves the planes
  decode(stored, shuffled, codec, origin);
  unshuffle_streamed(shuffled, block, raw);
}

std::vector<std::uint8_t> decompress_chunk(std::span<const std::uint8_t> stored,
                                           std::uint32_t raw_length, std::uint64_t xxh3,
                                           Codec codec, std::string_view case_name,
                                           std::int32_t source_index, bool is_mask) {
  std::vector<std::uint8_t> raw(raw_length);
  decompress_chunk(stored, raw, xxh3, codec, case_name, source_index, is_mask);
  return raw;
}

int shard_of(std::string_view case_name, int shards) {
  const Digest digest = sha256(case_name);
  const std::uint32_t top = static_cast<std::uint32_t>(digest[0]) << 24 |
                            static_cast<std::uint32_t>(digest[1]) << 16 |
                            static_cast<std::uint32_t>(digest[2]) << 8 | digest[3];
  // The leading log2(shards) bits: shards is a power of two.
  return static_cast<int>(static_cast<std::uint64_t>(top) * static_cast<std::uint64_t>(shards) >>
                          32);
}

std::string shard_file_name(int shard) {
  std::string number = std::to_string(shard);
  if (number.size() < 2) number.insert(0, 1, '0');
  return "shard-" + number + ".h5";
}

}  // namespace wsp
