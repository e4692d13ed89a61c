// unpack_whole() beside zlib's own reading of the same files.
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <map>
#include <random>

#include "io/medical/image_bytes.hpp"
#include "support/test_data.hpp"

namespace wsp::image {
namespace {

std::string contents() {
  std::mt19937 random(5);
  std::string bytes(70000, '\0');  // runs as in a mask, then noise as in an image
  for (std::size_t i = 40000; i < bytes.size(); ++i) bytes[i] = static_cast<char>(random() % 64);
  return bytes;
}

std::string packed(const std::string& bytes, bool header_checksum = false) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  gz_header header{};
  header.hcrc = header_checksum ? 1 : 0;
  EXPECT_EQ(deflateSetHeader(&stream, &header), Z_OK);
  std::string out(deflateBound(&stream, static_cast<uLong>(bytes.size())) + 64, '\0');
  std::string in = bytes;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string with_bit_turned(std::string bytes, std::size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  return bytes;
}

TEST(PackedFile, IsUnpackedWholeOnlyWhereZlibFindsTheSame) {
  const test::TemporaryDirectory here;
  const std::string bytes = contents(), good = packed(bytes), checked = packed(bytes, true);
  constexpr std::size_t kHeaderChecksum = 10;  // without a name or a comment
  std::map<std::string, std::string> files{
      {"good", good},
      {"cut", good.substr(0, good.size() / 2)},
      {"without length", good.substr(0, good.size() - 4)},
      {"wrong length", with_bit_turned(good, good.size() - 1)},
      {"wrong checksum", with_bit_turned(good, good.size() - 8)},
      {"wrong code", with_bit_turned(good, good.size() / 2)},
      {"header checksum", checked},
      {"wrong header checksum", with_bit_turned(checked, kHeaderChecksum)},
      {"two members", packed(bytes.substr(0, 500)) + packed(bytes.substr(500))},
      {"another member", good + good},
      {"junk behind", good + "junk"},
      {"zeros behind", good + std::string(512, '\0')},
      {"longer", packed(bytes + "more")},
      {"shorter", packed(bytes.substr(1))},
      {"unpacked", bytes},
      {"three bytes", good.substr(0, 3)},
      {"empty", ""}};
  for (const auto& [name, file] : files) {
    std::ofstream(here.path() / name, std::ios::binary) << file;
    std::string fast(bytes.size(), 'x'), slow(bytes.size(), 'y');
    const bool whole = unpack_whole(here.path() / name, fast);
    EXPECT_EQ(whole, name == "good") << name;
    if (!whole) continue;
    ZFile zlib(here.path() / name);
    EXPECT_EQ(zlib.read(slow.data(), slow.size()), slow.size());
    EXPECT_EQ(zlib.drain(), 0);
    EXPECT_EQ(zlib.verdict().code, Code::USED);
    EXPECT_EQ(fast, slow);
    EXPECT_EQ(fast, bytes);
  }
  std::string none(bytes.size(), 'x');
  EXPECT_FALSE(unpack_whole(here.path() / "absent", none));
  EXPECT_FALSE(unpack_whole(here.path(), none));
}

}  // namespace
}  // namespace wsp::image
