#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <span>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset.hpp"

namespace wsp {
namespace {

class CodecTest : public testing::TestWithParam<Codec> {};

std::vector<std::uint8_t> noise(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> bytes(n);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

ErrorCode code_of(const std::function<void()>& call, std::string* text = nullptr) {
  try {
    call();
  } catch (const Error& e) {
    if (text != nullptr) *text = e.what();
    return e.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::failure;
}

TEST_P(CodecTest, RoundTripsSmoothAndIncompressibleSlices) {
  std::vector<std::uint8_t> smooth(64 * 64 * 2);
  for (std::size_t i = 0; i < smooth.size(); ++i) smooth[i] = static_cast<std::uint8_t>(i / 200);
  for (const auto& raw : {smooth, noise(64 * 64 * 2, 7), std::vector<std::uint8_t>(2, 9)}) {
    const std::uint64_t seed = chunk_seed("case-a", 12, false);
    const Chunk chunk = compress_slice(raw, 2, GetParam(), seed);
    EXPECT_EQ(chunk.raw_length, raw.size());
    EXPECT_LE(chunk.bytes.capacity(), chunk.bytes.size());  // no memory beyond what it holds
    EXPECT_EQ(chunk.xxh3, xxh3_64(chunk.bytes, seed));
    EXPECT_EQ(decompress_chunk(chunk.bytes, chunk.raw_length, chunk.xxh3, GetParam(), "case-a", 12,
                               false),
              raw);
    EXPECT_EQ(compress_slice(raw, 2, GetParam(), seed).bytes, chunk.bytes);
  }
  if (GetParam() != Codec::none) {
    EXPECT_LT(compress_slice(smooth, 2, GetParam(), 0).bytes.size(), smooth.size() / 4);
  }
}

TEST_P(CodecTest, RefusesAChunkOfAnotherCaseSliceOrRole) {
  const std::vector<std::uint8_t> raw(512, 3);
  const Chunk chunk = compress_slice(raw, 2, GetParam(), chunk_seed("case-a", 12, false));
  const auto read = [&](const char* name, int slice, bool mask) {
    return code_of([&] {
      (void)decompress_chunk(chunk.bytes, chunk.raw_length, chunk.xxh3, GetParam(), name, slice,
                             mask);
    });
  };
  EXPECT_EQ(read("case-b", 12, false), ErrorCode::corrupt);
  EXPECT_EQ(read("case-a", 13, false), ErrorCode::corrupt);
  EXPECT_EQ(read("case-a", 12, true), ErrorCode::corrupt);
}

// The hash can be forged; the decoder must still refuse what is no chunk of this length.
TEST_P(CodecTest, RefusesForgedChunks) {
  const std::uint64_t seed = chunk_seed("case-a", 1, false);
  const Chunk good = compress_slice(noise(4096, 3), 2, GetParam(), seed);
  const auto refused = [&](std::vector<std::uint8_t> bytes, std::uint32_t raw_length) {
    std::string text;
    EXPECT_EQ(code_of(
                  [&] {
                    (void)decompress_chunk(bytes, raw_length, xxh3_64(bytes, seed), GetParam(),
                                           "case-a", 1, false);
                  },
                  &text),
              ErrorCode::corrupt);
    EXPECT_NE(text.find("case case-a, slice 1"), std::string::npos) << text;
  };
  refused({}, 4096);
  refused(std::vector<std::uint8_t>(good.bytes.begin(), good.bytes.end() - 9), 4096);
  refused(good.bytes, 4098);
  refused(good.bytes, 4094);
  if (GetParam() != Codec::none) refused(noise(good.bytes.size(), 11), 4096);
}

INSTANTIATE_TEST_SUITE_P(All, CodecTest,
                         testing::Values(Codec::none, Codec::lz4, Codec::zstd, Codec::gzip),
                         [](const auto& param) { return std::string(to_string(param.param)); });

// Numbers computed with Python's hashlib: int.from_bytes(sha256(...).digest()[:8], "little").
TEST(ChunkSeed, FollowsTheDocument) {
  EXPECT_EQ(chunk_seed("case-a", 12, false), 5113342280564477208ull);
  EXPECT_EQ(chunk_seed("case-a", 12, true), 13278935543361557704ull);
}

TEST(ShardOf, IsTheLeadingBitsOfTheNamesHash) {
  for (int i = 0; i < 200; ++i) {
    const std::string name = "case-" + std::to_string(i);
    const std::string first = hex(sha256(name)).substr(0, 2);
    const int top = std::stoi(first, nullptr, 16);
    EXPECT_EQ(shard_of(name, 1), 0);
    EXPECT_EQ(shard_of(name, 2), top >> 7);
    EXPECT_EQ(shard_of(name, 16), top >> 4);
    EXPECT_EQ(shard_of(name, 256), top);
  }
  EXPECT_EQ(shard_file_name(0), "shard-00.h5");
  EXPECT_EQ(shard_file_name(255), "shard-255.h5");
}

TEST(ParseCodec, NamesWhatItExpects) {
  for (const Codec codec : {Codec::none, Codec::lz4, Codec::zstd, Codec::gzip})
    EXPECT_EQ(parse_codec(to_string(codec)), codec);
  std::string text;
  EXPECT_EQ(code_of([] { (void)parse_codec("lzma"); }, &text), ErrorCode::usage);
  EXPECT_NE(text.find("lz4, zstd, gzip or none"), std::string::npos);
}

}  // namespace
}  // namespace wsp
