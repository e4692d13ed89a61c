#include "io/shard/lz4_encoder.hpp"

#include <blosc.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset.hpp"
#include "io/shard/unshuffle.hpp"

namespace wsp {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes raw_bytes(const std::vector<std::int16_t>& values) {
  Bytes bytes(2 * values.size());
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// A disc of noise around `mean` in air: bytes change their high half where the noise crosses 0.
std::vector<std::int16_t> disc(int side, double mean, double sd) {
  std::mt19937 random(7);
  std::normal_distribution<double> noise(mean, sd);
  std::vector<std::int16_t> image(static_cast<std::size_t>(side * side), -100);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x)
      if (std::hypot(x - side / 2, y - side / 2) < side / 3.0)
        image[static_cast<std::size_t>(y * side + x)] = static_cast<std::int16_t>(noise(random));
  return image;
}

// Where nothing is random but the length of what repeats.
Bytes repeats(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes;
  while (bytes.size() < n) {
    const std::size_t distance = 1 + random() % 40, length = random() % (random() % 3 ? 60 : 3000);
    if (bytes.size() < distance || random() % 4 == 0)
      bytes.push_back(static_cast<std::uint8_t>(random()));
    else
      for (std::size_t i = 0; i < length; ++i) bytes.push_back(bytes[bytes.size() - distance]);
  }
  bytes.resize(n);
  return bytes;
}

Bytes blosc_decoded(const Bytes& chunk, std::size_t size) {
  std::size_t length = 0;
  EXPECT_EQ(blosc_cbuffer_validate(chunk.data(), chunk.size(), &length), 0);
  EXPECT_EQ(length, size);
  Bytes raw(size, 0xEE);
  EXPECT_EQ(blosc_decompress_ctx(chunk.data(), raw.data(), raw.size(), 1), static_cast<int>(size));
  return raw;
}

std::size_t blosc_length(const Bytes& raw, int type_size) {
  Bytes chunk(raw.size() + BLOSC_MAX_OVERHEAD);
  return static_cast<std::size_t>(
      blosc_compress_ctx(5, BLOSC_SHUFFLE, static_cast<std::size_t>(type_size), raw.size(),
                         raw.data(), chunk.data(), chunk.size(), BLOSC_LZ4_COMPNAME, 0, 1));
}

TEST(EncodeBloscLz4, IsDecodedByBlosc) {
  std::size_t smaller = 0;
  for (const std::size_t n : {256, 300, 4095, 40000, 262144, 262145, 300001, 524288, 1050000})
    for (const int type : {1, 2})
      for (unsigned seed = 0; seed < 8; ++seed) {
        const Bytes raw = repeats(n, seed);
        const Bytes chunk = encode_blosc_lz4(raw, type);
        if (chunk.empty()) continue;
        ++smaller;
        EXPECT_LT(chunk.size(), raw.size());
        ASSERT_EQ(blosc_decoded(chunk, n), raw)
            << n << " bytes, type " << type << ", seed " << seed;
      }
  EXPECT_GT(smaller, 100U);
}

TEST(EncodeBloscLz4, IsNearlyAsSmallAsBloscsOwn) {
  for (const double mean : {-90.0, 0.0, 60.0, 256.0}) {
    const Bytes raw = raw_bytes(disc(512, mean, 12));
    const Bytes chunk = encode_blosc_lz4(raw, 2);
    EXPECT_EQ(blosc_decoded(chunk, raw.size()), raw);
    EXPECT_LT(static_cast<double>(chunk.size()), 1.15 * static_cast<double>(blosc_length(raw, 2)));
  }
  const Bytes flat(512 * 512, 1);
  const Bytes chunk = encode_blosc_lz4(flat, 1);
  EXPECT_EQ(blosc_decoded(chunk, flat.size()), flat);
  EXPECT_LT(chunk.size(), flat.size() / 100);
}

TEST(EncodeBloscLz4, LeavesToBloscWhatDoesNotShrink) {
  std::mt19937 random(3);
  Bytes noise(100000);
  for (auto& byte : noise) byte = static_cast<std::uint8_t>(random());
  EXPECT_TRUE(encode_blosc_lz4(noise, 2).empty());
  EXPECT_TRUE(encode_blosc_lz4(Bytes(100, 0), 2).empty());
  EXPECT_TRUE(encode_blosc_lz4({}, 2).empty());
}

TEST(UnshuffleStreamed, IsTheInverseOfTheShuffle) {
  for (const std::size_t n : {0, 1, 2, 31, 64, 100, 4097})
    for (const std::size_t block : {16, 64, 100, 100000})
      for (const std::size_t shift : {0, 1}) {  // of the output, which then is not aligned
        const Bytes raw = repeats(n, 5);
        Bytes planes(n);
        for (std::size_t begin = 0; begin < n; begin += block) {
          const std::size_t size = std::min(block, n - begin), pairs = size / 2;
          for (std::size_t i = 0; i < size; ++i)
            planes[begin + (i < 2 * pairs ? i % 2 * pairs + i / 2 : i)] = raw[begin + i];
        }
        Bytes out(n + shift, 0xEE);
        unshuffle_streamed(planes, block, std::span(out).subspan(shift));
        EXPECT_EQ(Bytes(out.begin() + static_cast<std::ptrdiff_t>(shift), out.end()), raw);
      }
}

TEST(DecompressChunkStreamed, EqualsDecompressChunk) {
  Bytes planes;
  for (const Codec codec : {Codec::none, Codec::lz4, Codec::zstd, Codec::gzip})
    for (const int type : {1, 2})
      for (const std::size_t n : {2, 600, 40000, 300002, 524288}) {
        const Bytes raw = repeats(n, 11);
        const std::uint64_t seed = chunk_seed("case-a", 3, false);
        Chunk chunk = compress_slice(raw, type, codec, seed);
        Bytes out(n, 0xEE);
        decompress_chunk_streamed(chunk.bytes, planes, out, chunk.xxh3, codec, "case-a", 3, false);
        EXPECT_EQ(out, raw) << to_string(codec) << ", " << n << " bytes of type " << type;
      }
  Chunk chunk = compress_slice(repeats(4096, 1), 2, Codec::lz4, chunk_seed("case-a", 3, false));
  Bytes out(4096);
  const auto read = [&](Bytes bytes, std::uint64_t hash) {
    decompress_chunk_streamed(bytes, planes, out, hash, Codec::lz4, "case-a", 3, false);
  };
  EXPECT_THROW(read(chunk.bytes, chunk.xxh3 + 1), Error);
  // Forged: the hash fits what is no chunk. Nothing but a refusal may come of it; lengths that do
  // not fit the slice or the bytes are always refused.
  for (std::size_t at = 0; at < 20; ++at) {
    Bytes forged = chunk.bytes;
    forged[at] ^= 0xFF;
    try {
      read(forged, xxh3_64(forged, chunk_seed("case-a", 3, false)));
      EXPECT_TRUE(at < 4 || (at >= 8 && at < 12) || at >= 16)
          << "accepted with byte " << at << " forged";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::corrupt);
    }
  }
}

}  // namespace
}  // namespace wsp
