#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>
#include <sstream>

#include "io/core/atomic_file.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

// The first fenced Python block of docs/SHARD_FORMAT.md, as a user would copy it.
std::string documented_example() {
  const std::string text = read_file(WSP_SOURCE_DIR "/docs/SHARD_FORMAT.md");
  const std::size_t begin = text.find("```python\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin + 10, text.find("\n```", begin + 10) - begin - 9);
}

std::string run(const std::string& command, int& status) {
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) output += buffer.data();
  status = ::pclose(pipe);
  return output;
}

std::string python() {
  const char* named = std::getenv("WSP_PYTHON");
  return named != nullptr && *named != '\0' ? named : "/usr/bin/python3";
}

class FormatDocument : public testing::TestWithParam<Codec> {};

TEST_P(FormatDocument, ExampleReadsWhatWasWritten) {
  int status = 0;
  (void)run(python() + " -c 'import h5py, ctypes; ctypes.CDLL(\"libxxhash.so.0\")' 2>/dev/null",
            status);
  if (status != 0) {
    std::fprintf(stderr,
                 "*** python3-h5py or libxxhash0 ABSENT: the documented example did not run ***\n");
    GTEST_SKIP() << "python3-h5py or libxxhash0 absent";
  }
  const test::TemporaryDirectory root;
  const DatasetLayout layout = test::small_layout(GetParam());
  test::write_dataset(root.path() / "data", layout, 9);
  const std::string example = documented_example();
  ASSERT_FALSE(example.empty());
  write_file_atomic(root.path() / "example.py", example);
  const std::string output = run(python() + " " + (root.path() / "example.py").string() + " " +
                                     (root.path() / "data").string(),
                                 status);
  ASSERT_EQ(status, 0) << output;

  std::map<std::string, int> number;
  for (int c = 0; c < 9; ++c) number[test::made_name(c)] = c;
  std::istringstream lines(output);
  std::size_t rows = 0;
  std::string name, image, mask;
  std::int32_t source_index = 0;
  double z_mm = 0, depth = 0;
  std::int64_t label = 0;
  while (lines >> name >> source_index >> z_mm >> depth >> label >> image >> mask) {
    ASSERT_TRUE(number.contains(name)) << name;
    const int c = number[name];
    const CaseRecord made = test::made_case(c, layout);
    const SliceRecord& slice = made.slices.at(static_cast<std::size_t>(source_index - 10));
    EXPECT_EQ(z_mm, slice.z_mm);
    EXPECT_NEAR(depth, slice.depth_kept, 1e-6);
    EXPECT_EQ(label, made.labels[0]);
    const auto pixels = test::made_image(c, source_index);
    EXPECT_EQ(image, hex(sha256(bytes_of(std::span<const std::int16_t>(pixels)))));
    EXPECT_EQ(mask, hex(sha256(test::made_mask(c, source_index))));
    ++rows;
  }
  EXPECT_EQ(rows, DatasetReader(root.path() / "data").slices().size());
}

INSTANTIATE_TEST_SUITE_P(All, FormatDocument,
                         testing::Values(Codec::none, Codec::lz4, Codec::zstd, Codec::gzip),
                         [](const auto& param) { return std::string(to_string(param.param)); });

}  // namespace
}  // namespace wsp
