#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "dicom_writer.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

/// Series written as passes of slices that one header value tells apart.
namespace wsp::test {

/// One pass of a scanner: where its slices lie, what its liver measures, what its header says.
struct Pass {
  double first_mm = 0, step_mm = 5;
  int slices = 12;
  int liver_hu = 60;
  std::function<void(DcmDataset&, int k)> says;
};

inline void put(DcmDataset& d, const DcmTagKey& tag, const std::string& value) {
  d.putAndInsertString(tag, value.c_str());
}

/// A body of 40 HU with noise and a liver, which changes with z.
inline std::vector<std::uint16_t> body(const DicomSlice& s, int liver_hu, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint16_t> words;
  for (std::int64_t y = 0; y < s.rows; ++y)
    for (std::int64_t x = 0; x < s.columns; ++x) {
      const double u = (static_cast<double>(x) - 12) / 11, v = (static_cast<double>(y) - 12) / 9;
      const double w = (static_cast<double>(x) - 8 - s.position[2] / 40) / 5;
      double hu = u * u + v * v > 1 ? -1000 : w * w + v * v < 1 ? liver_hu : 40;
      hu += static_cast<double>(random() % 9) - 4;
      words.push_back(static_cast<std::uint16_t>(std::lround(hu)));
    }
  return words;
}

class Acquisitions : public testing::Test {
 protected:
  void write(const Pass& pass, double thickness_mm = 5, const std::string& folder = ".") {
    std::filesystem::create_directories(directory_.path() / folder);
    for (int k = 0; k < pass.slices; ++k) {
      DicomSlice s;
      s.columns = s.rows = 24;
      s.thickness_mm = thickness_mm;
      s.position = {0, 0, pass.first_mm + k * pass.step_mm};
      s.sop_uid = "1.2.3." + std::to_string(++count_);
      s.pixels = body(s, pass.liver_hu, static_cast<std::uint32_t>(count_));
      if (pass.says) s.edit = [&pass, k](DcmDataset& d) { pass.says(d, k); };
      write_dicom(directory_.path() / folder / ("f" + std::to_string(1000 + count_)), s);
    }
  }
  [[nodiscard]] Scan scan() const {
    ScanOptions options;
    options.min_slices = 1;
    return scan_export(directory_.path(), options);
  }
  /// Slices of each volume, as the scan and then the reader see it.
  [[nodiscard]] std::vector<std::size_t> usable() const {
    std::vector<std::size_t> slices;
    const Scan found = scan();
    for (const Series& s : found.series) {
      EXPECT_EQ(s.code, Code::USED) << to_string(s.code) << " " << s.detail;
      const auto loaded = read_series(found, s, {});
      EXPECT_TRUE(loaded.ok()) << (loaded ? "" : loaded.rejection().detail);
      slices.push_back(s.planes.size());
      const bool flagged =
          std::find(s.flags.begin(), s.flags.end(), Code::SERIES_SPLIT) != s.flags.end();
      EXPECT_EQ(flagged, found.series.size() > 1);
      EXPECT_EQ(s.split_by.empty(), found.series.size() == 1);
    }
    std::sort(slices.begin(), slices.end());
    return slices;
  }
  [[nodiscard]] std::vector<std::string> told_by() const {
    return scan().series.front().split_by.front().attributes;
  }

  TemporaryDirectory directory_;
  int count_ = 0;
};

using Sizes = std::vector<std::size_t>;

}  // namespace wsp::test
