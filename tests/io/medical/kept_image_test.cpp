// What the scan decoded is what the read would decode, and is never more than it may be.
#include "io/medical/kept_image.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <thread>

#include "dicom_writer.hpp"
#include "io/medical/isolated.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using dicom::DecodedFrame, dicom::KeptImage, dicom::KeptRoom;
using test::constant_pixels, test::DicomSlice, test::TemporaryDirectory, test::write_dicom;

constexpr std::uint64_t kAmple = std::uint64_t{1} << 30;

std::string bytes_of_frame(const DecodedFrame& frame) {
  wire::Writer writer;
  writer.put(frame);
  return writer.bytes();
}

Scan scan_of(const std::filesystem::path& path, std::uint64_t kept_bytes) {
  ScanOptions options;
  options.min_slices = 1;
  options.kept_bytes = kept_bytes;
  return scan_export(path, options);
}

std::uint64_t kept_in(const Scan& scan) {
  std::uint64_t bytes = 0;
  for (const FileEntry& file : scan.files) bytes += file.kept == nullptr ? 0 : file.kept->bytes();
  return bytes;
}

Outcome<LoadedVolume> read_first(const Scan& scan) {
  return read_series(scan, scan.series.at(0), {false, false, true});
}

void expect_equal(const Outcome<LoadedVolume>& a, const Outcome<LoadedVolume>& b) {
  ASSERT_EQ(a.ok(), b.ok());
  if (!a.ok()) {
    EXPECT_EQ(to_string(a.rejection().code), to_string(b.rejection().code));
    return;
  }
  const LoadedVolume &one = a.value(), &other = b.value();
  EXPECT_EQ(one.volume.hu, other.volume.hu);
  EXPECT_EQ(one.volume.flags, other.volume.flags);
  EXPECT_EQ(one.stored.sum, other.stored.sum);
  EXPECT_EQ(one.stored.minimum, other.stored.minimum);
  EXPECT_EQ(one.stored.maximum, other.stored.maximum);
  EXPECT_EQ(one.stored.padding_voxels, other.stored.padding_voxels);
  EXPECT_EQ(one.file_hashes, other.file_hashes);
}

TEST(KeptImage, StepsGiveTheValues) {
  std::mt19937 random(7);
  for (const int range : {1, 50, 127, 128, 129, 4000, 65536})
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{999}}) {
      std::vector<std::int16_t> values(n), unpacked(n);
      for (auto& value : values) value = static_cast<std::int16_t>(random() % range - range / 2);
      const auto steps = dicom::pack_steps(values);
      if (range <= 128) {
        EXPECT_EQ(steps.size(), n);
      }
      dicom::unpack_steps(steps, unpacked);
      EXPECT_EQ(unpacked, values) << range << " " << n;
    }
  constexpr std::int16_t kLow = std::numeric_limits<std::int16_t>::min(),
                         kHigh = std::numeric_limits<std::int16_t>::max();
  const std::vector<std::int16_t> values{kLow, kHigh, kLow, 0, -127, 0, 127, 0, -128, 0, 128, -1};
  std::vector<std::int16_t> unpacked(values.size());
  dicom::unpack_steps(dicom::pack_steps(values), unpacked);
  EXPECT_EQ(unpacked, values);
}

// Field by field, as frames cross from one process to another.
TEST(KeptImage, IsTheWholeFrame) {
  const Digest hash = sha256("the file"), other = sha256("another");
  DecodedFrame frame;
  frame.columns = 3;
  frame.rows = 2;
  frame.slope = 0.5F;
  frame.intercept = -1000;
  frame.sign_repaired = true;
  frame.padding_range = {-2000, -1999};
  frame.words = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  DecodedFrame plain = frame;
  const auto words = std::make_shared<std::vector<std::int16_t>>(
      std::vector<std::int16_t>{5, -3000, 0, 32767, -32768, 1});
  plain.plain = {*words, words};
  frame.stored = {-2000, 4, 32767, -32768, 5, -1999};
  DecodedFrame marked = frame;
  marked.padding = {1, 0, 0, 0, 0, 1};
  for (const DecodedFrame& one : {frame, marked, plain}) {
    KeptImage kept(std::make_shared<KeptRoom>(kAmple));
    EXPECT_FALSE(kept.find(hash).has_value());
    kept.keep(hash, one);
    EXPECT_FALSE(kept.find(other).has_value());
    ASSERT_TRUE(kept.find(hash).has_value());
    EXPECT_EQ(bytes_of_frame(*kept.find(hash)), bytes_of_frame(one));
    kept.drop();
    EXPECT_FALSE(kept.find(hash).has_value());
  }
  for (const std::int32_t wide : {32768, -32769}) {
    frame.stored.back() = wide;
    KeptImage kept(std::make_shared<KeptRoom>(kAmple));
    kept.keep(hash, frame);
    EXPECT_TRUE(kept.empty());
  }
}

TEST(KeptImage, AnImageLargerThanThoseOfCtIsNotKept) {
  const Digest hash = sha256("the file");
  for (const std::int64_t rows : {2048, 2049}) {
    DecodedFrame frame;
    frame.columns = 2048;
    frame.rows = rows;
    frame.stored.resize(static_cast<std::size_t>(frame.columns * rows));
    KeptImage kept(std::make_shared<KeptRoom>(kAmple));
    kept.keep(hash, frame);
    EXPECT_EQ(kept.empty(), rows > 2048);
  }
}

TEST(KeptImage, RoomIsGivenBackWhateverThreadsDo) {
  DecodedFrame frame;
  frame.columns = frame.rows = 16;
  frame.stored.resize(256);
  const Digest hash = sha256("the file");
  const auto room = std::make_shared<KeptRoom>(kAmple);
  {
    KeptImage kept(room);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 300; ++i) {
          kept.keep(hash, frame);
          if (const auto found = kept.find(hash)) {
            EXPECT_EQ(found->stored, frame.stored);
          }
          if (t == 0) kept.drop();
        }
      });
    for (auto& thread : threads) thread.join();
  }
  EXPECT_FALSE(room->take(kAmple + 1));
  EXPECT_TRUE(room->is_full());
  EXPECT_TRUE(room->take(kAmple));
}

TEST(KeptImage, EveryEncodingIsReadAsWithoutIt) {
  WSP_REQUIRE_TEST_DATA(data);
  int served = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(data / "transfer_syntax")) {
    if (!entry.is_regular_file()) continue;
    SCOPED_TRACE(entry.path());
    const Scan scan = scan_of(entry.path(), kAmple), without = scan_of(entry.path(), 0);
    ASSERT_EQ(scan.series.size(), without.series.size());
    EXPECT_EQ(kept_in(without), 0U);
    if (scan.series.empty()) continue;
    EXPECT_EQ(to_string(scan.series[0].code), to_string(without.series[0].code));
    const bool kept = kept_in(scan) > 0;
    expect_equal(read_first(scan), read_first(without));
    EXPECT_EQ(kept_in(scan), 0U);  // nobody reads it again
    served += kept ? 1 : 0;
  }
  // Deflated, RLE, JPEG lossy and lossless, JPEG-LS, JPEG 2000 of the one image alone.
  EXPECT_GE(served, 12);
}

/// Slices of noise, deflated.
void write_series(const std::filesystem::path& folder, int count, unsigned seed) {
  std::mt19937 random(seed);
  for (int k = 0; k < count; ++k) {
    DicomSlice s;
    s.columns = s.rows = 64;
    s.position = {0, 0, 1.0 * k};
    s.sop_uid = "1.2.3." + std::to_string(k + 1);
    s.pixels = constant_pixels(s, 0);
    for (auto& p : s.pixels) p = static_cast<std::uint16_t>(random() % 200 - 100);
    write_dicom(folder / std::to_string(k), s, EXS_DeflatedLittleEndianExplicit);
  }
}

TEST(KeptImage, AFileThatChangedIsDecodedAnew) {
  const TemporaryDirectory directory, again;
  write_series(directory.path(), 3, 1);
  const Scan scan = scan_of(directory.path(), kAmple);
  for (const FileEntry& file : scan.files) ASSERT_FALSE(file.kept->empty());
  write_series(again.path(), 3, 2);
  std::filesystem::copy_file(again.path() / "1", directory.path() / "1",
                             std::filesystem::copy_options::overwrite_existing);
  expect_equal(read_first(scan), read_first(scan_of(directory.path(), 0)));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(scan.files[i].kept->empty(), i != 1);
  // A file that is gone is not read out of memory.
  const Scan gone = scan_of(directory.path(), kAmple);
  std::filesystem::remove(directory.path() / "2");
  EXPECT_FALSE(read_first(gone).ok());
}

TEST(KeptImage, NoMoreIsKeptThanThereIsRoomFor) {
  const TemporaryDirectory directory;
  write_series(directory.path(), 20, 3);
  const auto whole = read_first(scan_of(directory.path(), 0));
  std::uint64_t last = 0;
  for (const std::uint64_t room : {8000, 30000, 1 << 20}) {
    Scan scan = scan_of(directory.path(), room);
    const std::uint64_t kept = keep_images_of(scan, {0});
    EXPECT_GT(kept, last);
    EXPECT_LE(kept, room);
    last = kept;
    expect_equal(read_first(scan), whole);
    EXPECT_EQ(keep_images_of(scan, {0}), 0U);
  }
  Scan scan = scan_of(directory.path(), kAmple);
  EXPECT_EQ(keep_images_of(scan, {}), 0U);
  EXPECT_EQ(kept_in(scan), 0U);
}

}  // namespace
}  // namespace wsp
