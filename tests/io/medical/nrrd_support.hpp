#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "io/medical/image_file.hpp"
#include "support/test_data.hpp"

/// NRRD files written as text.
namespace wsp::test {

namespace fs = std::filesystem;

inline void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

using Fields = std::map<std::string, std::string>;

// 4 x 3 x 2 voxels of 2 x 3 x 5 mm from LPS (-8, 40, 100); the values 0, 1, ... in that order.
inline Fields plain() {
  return {{"type", "short"},
          {"dimension", "3"},
          {"sizes", "4 3 2"},
          {"endian", "little"},
          {"encoding", "raw"},
          {"space", "left-posterior-superior"},
          {"space directions", "(2,0,0) (0,3,0) (0,0,5)"},
          {"space origin", "(-8,40,100)"}};
}

inline std::string header(const Fields& fields, const std::string& last = "") {
  std::string text = "NRRD0005\n# a comment: with a colon\n";
  for (const char* first : {"dimension", "space"})  // fields per axis come after them
    if (fields.contains(first)) text += first + (": " + fields.at(first)) + "\n";
  for (const auto& [name, value] : fields)
    if (name != "dimension" && name != "space") text += name + ": " + value + "\n";
  return text + last + "\n";
}

inline std::string shorts(std::size_t n = 24, std::size_t from = 0) {
  std::string bytes;
  for (std::size_t i = from; i < from + n; ++i) {
    bytes += static_cast<char>(i & 0xFF);
    bytes += static_cast<char>(i >> 8);
  }
  return bytes;
}

class Nrrds : public testing::Test {
 protected:
  [[nodiscard]] fs::path path(const std::string& name) const { return here_.path() / name; }
  std::string code(const Fields& fields, const std::string& last = "",
                   const std::string& voxels = shorts()) {
    write_text(path("x.nrrd"), header(fields, last) + voxels);
    const auto read = read_image_volume(path("x.nrrd"));
    const auto seen = read_image_header(path("x.nrrd"));
    detail_ = read ? "" : read.rejection().detail;
    if (seen.ok() != read.ok()) return "header and volume differ";
    return read ? "USED" : std::string(to_string(read.rejection().code));
  }
  // The file is the plain volume, whatever its form.
  static void expect_plain(const fs::path& file) {
    SCOPED_TRACE(file.filename());
    const auto read = read_image_volume(file);
    ASSERT_TRUE(read) << to_string(read.rejection().code) << ' ' << read.rejection().detail;
    const Volume& v = read.value().volume;
    EXPECT_EQ(v.geometry.size, (std::array<std::int64_t, 3>{4, 3, 2}));
    for (std::size_t k = 0; k < 3; ++k) {
      EXPECT_NEAR(v.geometry.spacing_mm[k], (Vec3{2, 3, 5})[k], 1e-12);
      EXPECT_NEAR(v.geometry.origin_mm[k], (Vec3{-8, 40, 100})[k], 1e-12);
      for (std::size_t j = 0; j < 3; ++j) EXPECT_NEAR(v.geometry.axis[k][j], j == k, 1e-12);
    }
    ASSERT_EQ(v.hu.size(), 24U);
    for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ(v.hu[i], static_cast<int>(i));
  }
  test::TemporaryDirectory here_;
  std::string detail_;
};

}  // namespace wsp::test
