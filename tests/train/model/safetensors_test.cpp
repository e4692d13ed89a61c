#include "train/model/safetensors.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <random>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"

namespace wsp::train {
namespace {

using test::TemporaryDirectory;

TensorFile some_file() {
  torch::manual_seed(1);
  TensorFile file;
  file.tensors = {{"double", torch::randn({3, 5}, torch::kDouble)},
                  {"float", torch::randn({2, 3, 4})},
                  {"half", torch::randn({7}).to(torch::kHalf)},
                  {"bfloat", torch::randn({7}).to(torch::kBFloat16)},
                  {"long", torch::tensor({-1, 1}, torch::kLong)},
                  {"int", torch::tensor({-1, 1, 7}, torch::kInt)},
                  {"short", torch::tensor({-5}, torch::kShort)},
                  {"char", torch::tensor({-5, 3, 1}, torch::kChar)},
                  {"byte", torch::tensor({250}, torch::kByte)},
                  {"bool", torch::tensor({true, false, true})},
                  {"scalar", torch::tensor(3.5)},
                  {"empty", torch::empty({0, 4})},
                  {"a \"name\" \\ with \xc3\xa9", torch::ones({1})}};
  file.metadata = {{"format", "pt"}, {"note", "line\nbreak and \"quotes\""}};
  return file;
}

void expect_equal(const TensorFile& a, const TensorFile& b) {
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    ASSERT_TRUE(b.tensors.contains(name)) << name;
    const auto& other = b.tensors.at(name);
    EXPECT_EQ(tensor.scalar_type(), other.scalar_type()) << name;
    EXPECT_EQ(tensor.sizes(), other.sizes()) << name;
    EXPECT_TRUE(torch::equal(tensor, other)) << name;
  }
}

/// The error that reading these bytes gives.
ErrorCode code_of(const std::string& bytes, bool require_hash = false) {
  const TemporaryDirectory work;
  const auto path = work.path() / "x.safetensors";
  std::ofstream(path, std::ios::binary) << bytes;  // without the sync of a real write
  try {
    read_tensor_file(path, require_hash);
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
    return error.code();
  }
  ADD_FAILURE() << "read a file that it should refuse: " << bytes.substr(0, 200);
  return ErrorCode::usage;
}

std::string with_header(const std::string& header, std::size_t data = 0) {
  const auto length = std::bit_cast<std::array<char, 8>>(std::uint64_t{header.size()});
  return std::string(length.begin(), length.end()) + header + std::string(data, '\0');
}

TEST(Safetensors, EveryTypeComesBackAndTheSameContentGivesTheSameBytes) {
  const TemporaryDirectory work;
  const auto path = work.path() / "a", again = work.path() / "b";
  for (const bool hashed : {false, true}) {
    const TensorFile file = some_file();
    write_tensor_file(path, file, hashed);
    const TensorFile back = read_tensor_file(path, hashed);
    expect_equal(file, back);
    write_tensor_file(again, back, hashed);
    EXPECT_EQ(read_file(path), read_file(again));
  }
  // An unhashed file does not carry the hash of the file that it was read from.
  write_tensor_file(again, read_tensor_file(path), false);
  expect_equal(read_tensor_file(again), some_file());
  EXPECT_THROW(read_tensor_file(again, true), Error);
}

TEST(Safetensors, AnyMemoryLayoutAndNoTensorAtAllCanBeWritten) {
  const TemporaryDirectory work;
  const auto path = work.path() / "a";
  const auto x = torch::randn({2, 3, 4, 5});
  write_tensor_file(path, {{{"x", x.contiguous(torch::MemoryFormat::ChannelsLast)},
                            {"y", x.transpose(0, 3)},
                            {"z", x[1].requires_grad_(true)}},
                           {}});
  const auto back = read_tensor_file(path);
  EXPECT_TRUE(torch::equal(back.tensors.at("x"), x));
  EXPECT_TRUE(torch::equal(back.tensors.at("y"), x.transpose(0, 3)));
  EXPECT_TRUE(torch::equal(back.tensors.at("z"), x[1]));
  for (const bool hashed : {false, true}) {
    write_tensor_file(path, {}, hashed);
    expect_equal(read_tensor_file(path, hashed), {});
  }
}

TEST(Safetensors, WhatTheFormatCannotHoldIsRefused) {
  const TemporaryDirectory work;
  const auto path = work.path() / "a";
  const std::map<std::string, torch::Tensor> cannot = {
      {"complex", torch::zeros({2}, torch::kComplexFloat)},
      {"__metadata__", torch::zeros({2})},
      {"not utf-8 \xff", torch::zeros({2})},
      {"undefined", torch::Tensor()}};
  for (const auto& [name, tensor] : cannot)
    EXPECT_THROW(write_tensor_file(path, {{{name, tensor}}, {}}), Error) << name;
  EXPECT_FALSE(std::filesystem::exists(path));
  try {
    read_tensor_file(path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::failure);
  }
  EXPECT_THROW(read_tensor_file(work.path()), Error);
}

TEST(Safetensors, FilesOfOtherWritersAreRead) {
  const TemporaryDirectory work;
  const auto path = work.path() / "a";
  const std::string text =
      " {\"b\" : {\"shape\": [2], \"data_offsets\":[0, 2], \"dtype\":\"I8\"},\n"
      "\"__metadata__\": {}, \"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[2,6]} }   ";
  write_file_atomic(path, std::string_view(with_header(text.substr(1), 6)));
  const auto file = read_tensor_file(path);
  EXPECT_EQ(file.tensors.at("a").dim(), 0);
  EXPECT_EQ(file.tensors.at("b").numel(), 2);
}

TEST(Safetensors, HostileFilesAreCorrupt) {
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}";
  };
  const std::string good = entry("U8", "[4]", "[0,4]");
  const auto one = [&](const std::string& value) {
    return with_header("{\"a\":" + value + "}", 4);
  };
  const std::vector<std::string> hostile = {
      "",
      "short",
      std::string(8, '\xff') + "{}",
      std::string("\x10\0\0\0\0\0\0\0{}", 10),
      with_header(""),
      with_header("[]"),
      with_header("null"),
      with_header(" {}"),
      with_header("{}", 1),
      with_header("{"),
      with_header("{} {}"),
      with_header(std::string("{}\0garbage", 10)),
      with_header("\xef\xbb\xbf{}"),
      with_header("{\"__metadata__\":{\"a\":1}}"),
      with_header("{\"__metadata__\":{\"a\":{}}}"),
      with_header("{\"__metadata__\":\"a\"}"),
      with_header("{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}"),
      with_header("{\"__metadata__\":{},\"__metadata__\":{}}"),
      with_header("{\"a\xff\":" + good + "}", 4),
      with_header("{\"a\":" + good + ",\"a\":" + good + "}", 4),
      with_header("{\"a\":" + good + ",\"b\":" + good + "}", 4),
      with_header("{\"a\":" + good + ",\"b\":" + entry("U8", "[4]", "[3,7]") + "}", 7),
      with_header("{\"a\":" + good + ",\"b\":" + entry("U8", "[4]", "[5,9]") + "}", 9),
      with_header("{\"a\":" + good + "}", 3),
      with_header("{\"a\":" + good + "}", 5),
      one(entry("U8", "[4]", "[1,5]")),
      one(entry("F32", "[2]", "[0,4]")),
      one(entry("F32", "[1]", "[4,0]")),
      one(entry("F8_E4M3", "[4]", "[0,4]")),
      one(entry("u8", "[4]", "[0,4]")),
      one(entry("U8", "[-4]", "[0,4]")),
      one(entry("U8", "[4.0]", "[0,4]")),
      one(entry("U8", "[\"4\"]", "[0,4]")),
      one(entry("U8", "4", "[0,4]")),
      one(entry("U8", "[[4]]", "[0,4]")),
      one(entry("U8", "[4]", "[0]")),
      one(entry("U8", "[4]", "[0,4,8]")),
      one(entry("U8", "[4]", "{}")),
      one(entry("U8", "[4]", "[0,18446744073709551620]")),
      one(entry("U8", "[9223372036854775807,9223372036854775807,4]", "[0,4]")),
      one(entry("U8", "[4294967296,4294967296]", "[0,0]")),
      one(entry("F32", "[0,4611686018427387904,4611686018427387904]", "[0,0]")),
      one("{\"dtype\":\"U8\",\"shape\":[4]}"),
      one("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"more\":1}"),
      one("{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}"),
      with_header("{\"a\":" + entry("BOOL", "[1]", "[0,1]") + "}") + "\x02",
      with_header(std::string(100000, '{')),
      with_header("{\"a\":" + std::string(1000000, '[') + "}"),
      one(entry(
          "U8",
          "[" +
              [] {
                std::string ones = "4";
                for (int i = 0; i < 1000; ++i) ones += ",1";
                return ones;
              }() +
              "]",
          "[0,4]"))};
  for (std::size_t i = 0; i < hostile.size(); ++i)
    EXPECT_EQ(code_of(hostile[i]), ErrorCode::corrupt) << "file " << i;
}

std::string hashed_bytes() {
  const TemporaryDirectory work;
  write_tensor_file(work.path() / "a", some_file(), true);
  return read_file(work.path() / "a");
}

// As a reader of weights does, who takes files without a hash too: no bit may make it disappear.
TEST(Safetensors, EveryFlippedBitIsCaught) {
  const std::string good = hashed_bytes();
  std::uint64_t header = 0;
  std::memcpy(&header, good.data(), sizeof(header));
  std::mt19937 random(7);
  for (std::size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      const bool data = i >= 8 + header;
      if (data && random() % 16 != 0) continue;
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      EXPECT_EQ(code_of(bad), ErrorCode::corrupt) << "byte " << i << ", bit " << bit;
    }
}

TEST(Safetensors, ACutOrExtendedHashedFileIsCaught) {
  const std::string good = hashed_bytes();
  for (std::size_t length = 0; length < good.size(); length += 7)
    EXPECT_EQ(code_of(good.substr(0, length), true), ErrorCode::corrupt) << length;
  EXPECT_EQ(code_of(good + '\0', true), ErrorCode::corrupt);
}

TEST(Safetensors, AHashIsCheckedWhereverItStands) {
  std::string bytes = hashed_bytes();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  EXPECT_EQ(code_of(bytes), ErrorCode::corrupt);
  EXPECT_EQ(code_of(with_header(R"({"__metadata__":{"wsp.sha256":"abc"}})")), ErrorCode::corrupt);
  EXPECT_EQ(
      code_of(with_header(R"({"__metadata__":{"wsp.sha256": ")" + std::string(64, '0') + "\"}}")),
      ErrorCode::corrupt);
}

}  // namespace
}  // namespace wsp::train
