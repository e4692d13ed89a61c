// One image in many encodings: HU equal to the unit where the encoding loses nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

struct ReadBack {
  StoredStatistics stored;
  Volume volume;
};

ReadBack read_one(const std::filesystem::path& path) {
  ScanOptions options;
  options.min_slices = 1;
  const Scan scan = scan_export(path, options);
  EXPECT_EQ(scan.series.size(), 1U) << path;
  auto loaded = read_series(scan, scan.series.at(0), {});
  EXPECT_TRUE(loaded.ok()) << path << " "
                           << (loaded.ok() ? "" : to_string(loaded.rejection().code));
  if (!loaded.ok()) return {};
  return {loaded.value().stored, std::move(loaded.value().volume)};
}

bool has(const Volume& volume, Code flag) {
  return std::find(volume.flags.begin(), volume.flags.end(), flag) != volume.flags.end();
}

std::filesystem::path encoding(const std::filesystem::path& data, const std::string& uid) {
  for (const auto& entry :
       std::filesystem::directory_iterator(data / "transfer_syntax/same_ct_image_15_encodings")) {
    if (entry.path().string().ends_with("_1.2.840.10008.1.2" + uid + ".dcm")) return entry.path();
  }
  return {};
}

constexpr std::int64_t kVoxels = 512 * 512;

TEST(TransferSyntax, LosslessEncodingsGiveTheSameHu) {
  WSP_REQUIRE_TEST_DATA(data);
  const ReadBack reference = read_one(encoding(data, ".1"));
  ASSERT_EQ(reference.volume.hu.size(), static_cast<std::size_t>(kVoxels));
  for (const char* uid : {"", ".1", ".2", ".1.99", ".5", ".4.57", ".4.70", ".4.80", ".4.90"}) {
    const ReadBack image = read_one(encoding(data, uid));
    // Stored values have the sum 19640763 and the intercept -1024.
    EXPECT_EQ(image.stored.sum, 19640763 - 1024 * kVoxels) << uid;
    EXPECT_EQ(image.stored.minimum, -2000 - 1024) << uid;
    EXPECT_EQ(image.stored.maximum, 2402 - 1024) << uid;
    EXPECT_EQ(image.volume.hu, reference.volume.hu) << uid;
    EXPECT_FALSE(has(image.volume, Code::LOSSY_SOURCE)) << uid;
  }
}

TEST(TransferSyntax, LossyEncodingsAreNearAndFlagged) {
  WSP_REQUIRE_TEST_DATA(data);
  const ReadBack reference = read_one(encoding(data, ".1"));
  struct Lossy {
    const char* uid;
    int worst;
  };
  // Baseline JPEG has steps of 32 HU; the 12-bit ones of 2 HU.
  for (const auto& [uid, mean_bound] : {Lossy{".4.81", 2}, Lossy{".4.91", 2}, Lossy{".4.51", 8},
                                        Lossy{".4.53", 8}, Lossy{".4.55", 8}, Lossy{".4.50", 40}}) {
    const ReadBack image = read_one(encoding(data, uid));
    ASSERT_EQ(image.volume.hu.size(), reference.volume.hu.size()) << uid;
    EXPECT_TRUE(has(image.volume, Code::LOSSY_SOURCE)) << uid;
    double error = 0;
    for (std::size_t i = 0; i < image.volume.hu.size(); ++i) {
      error += std::abs(image.volume.hu[i] - reference.volume.hu[i]);
    }
    EXPECT_LT(error / static_cast<double>(kVoxels), mean_bound) << uid;
  }
  EXPECT_EQ(read_one(encoding(data, ".4.81")).stored.sum, 19673724 - 1024 * kVoxels);
  EXPECT_EQ(read_one(encoding(data, ".4.91")).stored.sum, 19626368 - 1024 * kVoxels);
}

TEST(TransferSyntax, FragmentsAndHighThroughputGiveTheOriginal) {
  WSP_REQUIRE_TEST_DATA(data);
  const auto root = data / "transfer_syntax";
  const ReadBack original = read_one(root / "nema_ct1_uncompressed_and_htj2k/CT1_UNC");
  EXPECT_EQ(original.stored.sum, 40028413 - 1024 * kVoxels);
  EXPECT_EQ(original.stored.padding_voxels, 55772);
  for (const char* name :
       {"transfer_syntax/nema_ct1_uncompressed_and_htj2k/CT1_JPH",
        "transfer_syntax/nema_ct1_j2k_three_fragments/CT1_J2KR",
        "transfer_syntax/nema_ct1_rle_fragments/D_CLUNIE_CT1_RLE_FRAGS.dcm",
        "corrupt/dicom_fo/GH177_D_CLUNIE_CT1_IVRLE_BigEndian_ELE_undefinded_length.dcm"}) {
    const ReadBack image = read_one(data / name);
    EXPECT_EQ(image.stored.sum, original.stored.sum) << name;
    EXPECT_EQ(image.stored.padding_voxels, original.stored.padding_voxels) << name;
    EXPECT_EQ(image.volume.hu, original.volume.hu) << name;
  }
  const auto padded =
      std::count(original.volume.hu.begin(), original.volume.hu.end(), std::int16_t{-3024});
  EXPECT_EQ(padded, 0) << "padding must be -1024";
  EXPECT_TRUE(has(original.volume, Code::PADDING));
}

TEST(TransferSyntax, UnsignedCodestreamIsReadAsTheHeaderSays) {
  WSP_REQUIRE_TEST_DATA(data);
  const ReadBack image = read_one(data / "transfer_syntax/small_pydicom/J2K_pixelrep_mismatch.dcm");
  EXPECT_TRUE(has(image.volume, Code::SIGN_REPAIRED));
  // Without repair: 0..8191 with the sum 1163468982; with it every upper value is 8192 less.
  const std::int64_t lowered = 1163468982 - image.stored.sum;
  EXPECT_EQ(lowered % 8192, 0);
  const auto negative =
      std::count_if(image.volume.hu.begin(), image.volume.hu.end(), [](auto v) { return v < 0; });
  EXPECT_EQ(lowered / 8192, negative);
  EXPECT_GE(image.stored.minimum, -4096);
  EXPECT_LE(image.stored.maximum, 4095);
}

TEST(TransferSyntax, OtherModalitiesCanBeMeasured) {
  WSP_REQUIRE_TEST_DATA(data);
  struct Small {
    const char* name;
    std::int64_t sum;
  };
  for (const auto& [name, sum] :
       {Small{"small_pydicom/MR_small.dcm", 2125338},
        Small{"small_pydicom/MR_small_implicit.dcm", 2125338},
        Small{"small_pydicom/MR_small_bigendian.dcm", 2125338},
        Small{"small_pydicom/MR_small_RLE.dcm", 2125338},
        Small{"small_pydicom/MR_small_jpeg_ls_lossless.dcm", 2125338},
        Small{"small_pydicom/MR_small_jp2klossless.dcm", 2125338},
        Small{"small_pydicom/MR_small_padded.dcm", 2125338},
        Small{"small_pydicom/image_dfl.dcm", 33322688},
        Small{"small_pydicom/JPEGLSNearLossless_16.dcm", 6007250},
        Small{"bits/signed-raw-9bit.dcm", 33804530}, Small{"../multiframe/emri_small.dcm", 4493276},
        Small{"../multiframe/emri_small_big_endian.dcm", 4493276}}) {
    const Scan scan = scan_export(data / "transfer_syntax" / name, {});
    ASSERT_EQ(scan.series.size(), 1U) << name;
    const auto measured = measure_series(scan, scan.series.front());
    ASSERT_TRUE(measured.ok()) << name;
    EXPECT_EQ(measured.value().sum, sum) << name;
  }
}

}  // namespace
}  // namespace wsp
