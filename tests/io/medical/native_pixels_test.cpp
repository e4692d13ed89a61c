// Pixels that lie in a file as they are: read without parsing the header again, rescaled by
// vectors.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <random>

#include "dicom_writer.hpp"
#include "io/medical/codec.hpp"
#include "io/medical/interleave.hpp"
#include "io/medical/place_counts.hpp"
#include "io/medical/rescale.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::constant_pixels;
using test::DicomSlice;
using test::TemporaryDirectory;
using test::write_dicom;

TEST(RescaleFrame, IsThePlainLoop) {
  std::mt19937 random(1);
  const auto range = [](int low, int high) { return dicom::PaddingRange{low, high}; };
  for (const std::size_t n : {1, 7, 8, 15, 16, 17, 255, 256, 257, 600})
    for (const float slope : {1.F, 0.5F, -1.F, 1.7F, 0.003F, 100.F, 1e5F})
      for (const float intercept : {0.F, -1024.F, 0.5F, 12345.25F, 4e6F})
        for (const dicom::PaddingRange padding :
             {range(1, 0), range(-2000, -2000), range(-32768, 3)}) {
          dicom::DecodedFrame frame;
          frame.slope = slope;
          frame.intercept = intercept;
          frame.padding_range = padding;
          std::vector<std::int16_t> stored;
          for (std::size_t i = 0; i < n; ++i)
            stored.push_back(static_cast<std::int16_t>(i % 5 == 0 ? -2000 : random()));
          frame.plain.view = stored;
          std::vector<std::int16_t> hu(n), wanted(n);
          const StoredStatistics got = dicom::rescale_frame(frame, hu.data());
          StoredStatistics s;
          for (std::size_t i = 0; i < n; ++i) {
            const volatile float product = static_cast<float>(frame.plain.view[i]) * slope;
            const std::int64_t value = std::llrint(product + intercept);
            s.minimum = i == 0 ? value : std::min(s.minimum, value);
            s.maximum = i == 0 ? value : std::max(s.maximum, value);
            s.sum += value;
            const bool padded =
                frame.plain.view[i] >= padding.low && frame.plain.view[i] <= padding.high;
            s.padding_voxels += padded ? 1 : 0;
            wanted[i] =
                padded ? std::int16_t{-1024}
                       : static_cast<std::int16_t>(std::clamp<std::int64_t>(value, -32768, 32767));
          }
          EXPECT_EQ(hu, wanted) << n << " " << slope << " " << intercept;
          EXPECT_EQ(got.minimum, s.minimum);
          EXPECT_EQ(got.maximum, s.maximum);
          EXPECT_EQ(got.sum, s.sum);
          EXPECT_EQ(got.padding_voxels, s.padding_voxels);
        }
}

TEST(PlaceCounts, AreThoseOfEveryVoxelsPlace) {
  std::mt19937 random(2);
  for (const auto& [nx, ny] : {std::pair{16, 16}, {17, 40}, {33, 18}, {64, 64}, {1, 9}, {3, 50}}) {
    std::vector<std::int16_t> hu(static_cast<std::size_t>(nx * ny));
    for (auto& v : hu) v = static_cast<std::int16_t>(random() % 7);
    PlaceCounts counts;
    counts.add_slice(hu, nx, ny);
    std::array<std::array<std::int64_t, 7>, 3> wanted{};
    const int edge = std::max(1, std::min(nx, ny) / 16);
    for (int y = 0; y < ny; ++y)
      for (int x = 0; x < nx; ++x) {
        const bool ring = std::min({x, y, nx - 1 - x, ny - 1 - y}) < edge;
        const bool core = 4 * x >= nx && 4 * x < 3 * nx && 4 * y >= ny && 4 * y < 3 * ny;
        ++wanted[ring   ? 0
                 : core ? 1
                        : 2][static_cast<std::size_t>(hu[static_cast<std::size_t>(y * nx + x)])];
      }
    for (int v = 0; v < 7; ++v) {
      const auto i = static_cast<std::size_t>(v);
      EXPECT_EQ(counts.ring.at(v), wanted[0][i]) << nx << " " << ny;
      EXPECT_EQ(counts.core.at(v), wanted[1][i]) << nx << " " << ny;
      EXPECT_EQ(counts.rest.at(v), wanted[2][i]) << nx << " " << ny;
      EXPECT_EQ(counts.all().at(v), wanted[0][i] + wanted[1][i] + wanted[2][i]);
    }
    EXPECT_EQ(counts.all().total(), nx * ny);
  }
}

double steady(const std::vector<double>& values) {
  double best = 0;
  for (std::size_t i = 0; i + 5 <= values.size(); ++i)
    best = std::max(best, *std::min_element(values.begin() + static_cast<std::ptrdiff_t>(i),
                                            values.begin() + static_cast<std::ptrdiff_t>(i + 5)));
  return best;
}

// Pixel by pixel, as interleave.cpp defines it.
std::string alternation(const std::vector<std::vector<std::int16_t>>& s) {
  const std::size_t n = s.size(), size = s[0].size(), step = size > 65536 ? 3 : 1;
  const auto apart = [&](std::size_t a, std::size_t b) {
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < size; i += step, ++count)
      sum += std::abs(std::clamp<int>(s[a][i], -200, 300) - std::clamp<int>(s[b][i], -200, 300));
    return sum / count;
  };
  std::vector<double> up, down, ratio;
  for (std::size_t k = 0; k + 3 < n; ++k) {
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < size; i += step) {
      bool soft = true;
      for (std::size_t j = k; j < k + 4; ++j) soft = soft && s[j][i] > -20 && s[j][i] < 250;
      if (!soft) continue;
      sum += s[k][i] - 3 * s[k + 1][i] + 3 * s[k + 2][i] - s[k + 3][i];
      ++count;
    }
    up.push_back((k % 2 == 0 ? 1 : -1) * (count < 32 ? 0 : sum / 8 / count));
    down.push_back(-up.back());
  }
  for (std::size_t k = 0; k + 2 < n; ++k)
    ratio.push_back(std::min(apart(k, k + 1), apart(k + 1, k + 2)) /
                    std::max(0.1, apart(k, k + 2)));
  const double hu = std::max(steady(up), steady(down)), times = steady(ratio);
  char text[96] = "";
  if (hu >= 3)
    std::snprintf(text, sizeof text, "soft tissue of every second slice differs by %.1f HU",
                  2 * hu);
  else if (times >= 1.2)
    std::snprintf(text, sizeof text,
                  "neighbouring slices differ %.2f times as much as every second one", times);
  return text;
}

TEST(Alternation, IsThePlainLoop) {
  std::mt19937 random(5);
  for (const std::size_t size : {1, 31, 33, 1000, 24576, 24577, 65536, 65537, 262144})
    for (const int added : {0, 5, 30, 3000}) {
      std::vector<std::vector<std::int16_t>> hu(11, std::vector<std::int16_t>(size));
      for (std::size_t k = 0; k < hu.size(); ++k)
        for (auto& v : hu[k])
          v = static_cast<std::int16_t>(
              static_cast<int>(random() % 400) - 100 + (random() % 50 == 0 ? 30000 : 0) -
              (random() % 50 == 0 ? 30000 : 0) + (k % 2 == 0 ? added : 0));
      const std::vector<std::span<const std::int16_t>> slices(hu.begin(), hu.end());
      EXPECT_EQ(dicom::find_alternation(slices, 5), alternation(hu)) << size << " " << added;
    }
}

Scan scan_one(const TemporaryDirectory& directory) {
  ScanOptions options;
  options.min_slices = 1;
  return scan_export(directory.path(), options);
}

TEST(NativePixels, GiveWhatParsingGives) {
  initialise_medical_io();
  const std::array<std::int32_t, 1> first{0};
  for (const E_TransferSyntax syntax : {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit})
    for (const bool is_signed : {false, true}) {
      const TemporaryDirectory directory;
      DicomSlice s;
      s.is_signed = is_signed;
      s.intercept = -1000;
      std::mt19937 random(3);
      s.pixels = constant_pixels(s, 0);
      for (auto& p : s.pixels) p = static_cast<std::uint16_t>(random() % 4000);
      write_dicom(directory.path() / "slice", s, syntax);
      const Scan scan = scan_one(directory);
      const auto& native = scan.files.at(0).native;
      ASSERT_NE(native, nullptr);
      Digest hash{};
      const auto decoder = dicom::make_frame_decoder();
      const auto parsed = decoder->decode(directory.path() / "slice", first);
      const auto known = decoder->decode(directory.path() / "slice", first, {native.get(), &hash});
      ASSERT_TRUE(parsed.ok() && known.ok());
      EXPECT_EQ(known.value()[0].values(), parsed.value()[0].values());
      EXPECT_EQ(known.value()[0].intercept, parsed.value()[0].intercept);
      EXPECT_EQ(hash, sha256_file(directory.path() / "slice"));
      // Another header is parsed, whatever the scan saw.
      const auto size = std::filesystem::file_size(directory.path() / "slice");
      s.intercept = -2000;
      write_dicom(directory.path() / "slice", s, syntax);
      ASSERT_EQ(std::filesystem::file_size(directory.path() / "slice"), size);
      const auto changed =
          decoder->decode(directory.path() / "slice", first, {native.get(), &hash});
      ASSERT_TRUE(changed.ok());
      EXPECT_EQ(changed.value()[0].intercept, -2000);
      EXPECT_EQ(hash, sha256_file(directory.path() / "slice"));
    }
}

TEST(NativePixels, AreNotSeenWhereSomethingFollowsThem) {
  const TemporaryDirectory directory;
  DicomSlice s;
  s.pixels = constant_pixels(s, 0);
  s.edit = [](DcmDataset& d) {
    d.putAndInsertUint8Array(DCM_DataSetTrailingPadding, std::array<Uint8, 4>{}.data(), 4);
  };
  write_dicom(directory.path() / "slice", s);
  const Scan scan = scan_one(directory);
  EXPECT_EQ(to_string(scan.files.at(0).code), "USED");
  EXPECT_EQ(scan.files.at(0).native, nullptr);
}

}  // namespace
}  // namespace wsp
