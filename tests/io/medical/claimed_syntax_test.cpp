// Transfer syntaxes that the meta header claims and the data set denies.
#include <dcmtk/config/osconfig.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "dicom_writer.hpp"
#include "four_slices.hpp"
#include "io/medical/scan.hpp"
#include "medical_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::expect_truth;
using test::has;
using test::kSlices;
using test::scan_all;
using test::TemporaryDirectory;
using test::verdict;
using test::write_dicom;
using test::write_stack;

std::string bytes_of_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The length of preamble, prefix and meta header.
std::size_t meta_size(const std::string& file) {
  const auto byte = [&](std::size_t i) { return std::size_t{static_cast<unsigned char>(file[i])}; };
  return 144 + byte(140) + (byte(141) << 8U);
}

/// Put another file's meta header before a data set.
void claim(const fs::path& data, const fs::path& meta, const fs::path& out) {
  const std::string d = bytes_of_file(data), m = bytes_of_file(meta);
  std::ofstream(out, std::ios::binary) << m.substr(0, meta_size(m)) << d.substr(meta_size(d));
}

TEST(TransferSyntaxClaim, NativeDataSetsAreReadAsTheyAreWritten) {
  const std::vector<E_TransferSyntax> native{EXS_LittleEndianImplicit, EXS_LittleEndianExplicit,
                                             EXS_BigEndianExplicit};
  for (const E_TransferSyntax written : native)
    for (const E_TransferSyntax named : native) {
      const TemporaryDirectory data, meta, out;
      write_stack(
          data.path(), [](int, DcmDataset&) {}, written);
      write_stack(
          meta.path(), [](int, DcmDataset&) {}, named);
      for (int k = 0; k < kSlices; ++k) {
        const std::string name = std::to_string(k);
        claim(data.path() / name, meta.path() / name, out.path() / name);
      }
      const Scan scan = scan_all(out.path());
      expect_truth(scan);
      EXPECT_EQ(scan.series.at(0).transfer_syntax, DcmXfer(written).getXferID());
      EXPECT_EQ(has(scan.series[0].flags, Code::SYNTAX_REPAIRED), written != named);
      EXPECT_EQ(
          has(read_series(scan, scan.series[0], {}).value().volume.flags, Code::SYNTAX_REPAIRED),
          written != named);
    }
}

TEST(TransferSyntaxClaim, CompressedPixelsAreKnownByTheirCodestream) {
  WSP_REQUIRE_TEST_DATA(data);
  initialise_medical_io();
  const auto file = [&](const std::string& uid) {
    for (const auto& e :
         fs::directory_iterator(data / "transfer_syntax/same_ct_image_15_encodings"))
      if (e.path().string().ends_with("_1.2.840.10008.1.2" + uid + ".dcm")) return e.path();
    return fs::path();
  };
  // Fragments under a native name, native pixels under the name of compression.
  for (const auto& [written, named, found] :
       std::vector<std::array<std::string, 3>>{{".5", ".1", ".5"},
                                               {".4.57", ".1", ".4.57"},
                                               {".4.70", ".1", ".4.57"},
                                               {".4.80", ".1", ".4.80"},
                                               {".4.90", ".1", ".4.90"},
                                               {".1", ".4.70", ".1"},
                                               {".1", ".4.90", ".1"},
                                               {".1", ".5", ".1"}}) {
    const TemporaryDirectory out;
    claim(file(written), file(named), out.path() / "image");
    const Scan scan = scan_all(out.path());
    ASSERT_EQ(verdict(scan), "USED") << written << named;
    EXPECT_EQ(scan.series[0].transfer_syntax, "1.2.840.10008.1.2" + found);
    EXPECT_TRUE(has(scan.series[0].flags, Code::SYNTAX_REPAIRED));
    const auto read = read_series(scan, scan.series[0], {});
    ASSERT_TRUE(read.ok()) << written << " as " << named << " " << read.rejection().detail;
    EXPECT_EQ(read.value().stored.sum, 19640763 - 1024 * 512 * 512) << written;
  }
}

TEST(TransferSyntaxClaim, MasksAreReadThroughTheSameDoor) {
  WSP_REQUIRE_TEST_DATA(data);
  initialise_medical_io();
  const fs::path in = data / "reported/12-rtstruct-un-64k/in";
  const LoadedVolume volume = test::load_only_series(in);
  const TemporaryDirectory meta, out;
  write_dicom(meta.path() / "implicit", {}, EXS_LittleEndianImplicit);
  claim(in / "rt.dcm", meta.path() / "implicit", out.path() / "rt.dcm");
  const auto mask = read_rtstruct_mask(out.path() / "rt.dcm", volume, {});
  ASSERT_TRUE(mask.ok()) << mask.rejection().detail;
  EXPECT_EQ(std::count(mask.value().voxels.begin(), mask.value().voxels.end(), 1), 4954);
}

TEST(TransferSyntaxClaim, WhatMakesNoSenseStaysUnreadable) {
  initialise_medical_io();
  const TemporaryDirectory directory;
  write_dicom(directory.path() / "slice", {});
  const std::string file = bytes_of_file(directory.path() / "slice");
  std::string noise = file.substr(0, meta_size(file));
  for (int i = 0; i < 500; ++i) noise.push_back(static_cast<char>(i * 37 + 11));
  std::ofstream(directory.path() / "noise.dcm", std::ios::binary) << noise;
  const Scan scan = scan_all(directory.path());
  EXPECT_EQ(to_string(scan.files.at(0).code), "UNREADABLE");
  EXPECT_EQ(to_string(scan.files.at(1).code), "USED");
}

}  // namespace
}  // namespace wsp
