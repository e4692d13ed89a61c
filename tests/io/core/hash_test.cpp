#include "io/core/hash.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "io/core/error.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

std::span<const std::uint8_t> bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

TEST(Sha256, EqualsThePublishedVectors) {
  // FIPS 180-4 examples, and one million times 'a'.
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(sha256(std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, EqualsPythonsHashlib) {
  // hashlib.sha256(bytes(range(256)) * 10).hexdigest()
  std::vector<std::uint8_t> values(2560);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint8_t>(i % 256);
  EXPECT_EQ(hex(sha256(values)),
            "e392378f849d67bbb1a7bbec84f1098ae3faa751049c009a850130ce6073d91a");
}

TEST(Sha256, DoesNotDependOnHowTheBytesArrive) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::string text(10000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  for (int trial = 0; trial < 50; ++trial) {
    Sha256 running;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t n = std::min<std::size_t>(random() % 700, text.size() - at);
      running.update(std::string_view(text).substr(at, n));
      at += n;
    }
    EXPECT_EQ(running.finish(), sha256(text));
  }
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const test::TemporaryDirectory work;
  for (const std::size_t n : {0U, 1U, (1U << 20) - 1, 1U << 20, (1U << 20) + 1}) {
    const std::string text(n, 'x');
    std::ofstream(work.path() / "file", std::ios::binary) << text;
    EXPECT_EQ(sha256_file(work.path() / "file"), sha256(text)) << n;
  }
  EXPECT_THROW((void)sha256_file(work.path() / "absent"), Error);
  EXPECT_THROW((void)sha256_file(work.path()), Error);
}

TEST(Hmac, EqualsRfc4231) {
  const std::vector<std::uint8_t> first(20, 0x0b), third(20, 0xaa), sixth(131, 0xaa);
  EXPECT_EQ(hex(hmac_sha256(first, "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex(hmac_sha256(bytes("Jefe"), "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(hmac_sha256(third, std::string(50, '\xdd'))),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(hex(hmac_sha256(sixth, "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Xxh3, EqualsTheReference) {
  // Known values of XXH3_64bits() with seed 0.
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2ULL);
  EXPECT_EQ(xxh3_64(bytes("abc")), 0x78af5f94892f3950ULL);
  EXPECT_NE(xxh3_64(bytes("abc"), 1), xxh3_64(bytes("abc"), 2));
  EXPECT_NE(xxh3_64(bytes("abc")), xxh3_64(bytes("abd")));
}

TEST(Hex, IsLowerCaseWithLeadingZeros) {
  const std::vector<std::uint8_t> values{0x00, 0x0f, 0xa0, 0xff};
  EXPECT_EQ(hex(values), "000fa0ff");
  EXPECT_EQ(hex({}), "");
}

TEST(BytesOf, SeesEveryByteOfAVector) {
  const std::vector<std::int16_t> values{1, -2, 300};
  const auto view = bytes_of(std::span<const std::int16_t>(values));
  EXPECT_EQ(hex(view), "0100feff2c01");  // little endian, as the shards are
}

}  // namespace
}  // namespace wsp
