#include "preprocess/segment/segmenter.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>
#include <utility>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/medical/image_file.hpp"
#include "io/shard/state.hpp"
#include "preprocess/pipeline/ingest.hpp"
#include "preprocess/pipeline/plan_report.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// Calls everything above 80 HU liver, and fails where a volume begins with the marks below.
class FakeSegmenter : public Segmenter {
 public:
  static constexpr std::int16_t kFails = -1001, kThrows = -1002, kStopsTheJob = -1003;
  bool at_once = false, says_probability = false, waits_for_another = false;
  std::string name = "fake-1";
  std::atomic<int> calls{0}, inside{0}, most_inside{0};

  [[nodiscard]] std::string identity() const override { return name; }
  [[nodiscard]] bool concurrent() const override { return at_once; }
  Outcome<Segmentation> segment(const Volume& volume) override {
    ++calls;
    most_inside = std::max(most_inside.load(), ++inside);
    struct Leave {
      std::atomic<int>& count;
      ~Leave() { --count; }
    } leave{inside};
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (waits_for_another && most_inside < 2 && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    if (volume.hu[0] == kFails)
      return Rejection{"", "mask", Code::SEGMENTER_FAILED, "the volume is shorter than the model"};
    if (volume.hu[0] == kThrows) throw std::runtime_error("a library gave up");
    if (volume.hu[0] == kStopsTheJob) throw Error(ErrorCode::failure, "the device is gone");
    Segmentation made;
    made.mask.geometry = volume.geometry;
    for (const std::int16_t hu : volume.hu) made.mask.voxels.push_back(hu > 80 ? 1 : 0);
    // Certain of the liver, and half of a twentieth of everything else.
    for (std::size_t i = 0; says_probability && i < volume.hu.size(); ++i)
      made.probability.push_back(made.mask.voxels[i] != 0 ? 255 : i % 20 == 0 ? 127 : 0);
    return made;
  }
};

class SegmenterTest : public testing::Test {
 protected:
  SegmenterTest() {
    fs::create_directories(work_.path() / "export");
    options_.input = work_.path() / "export";
    options_.output = work_.path() / "dataset";
    options_.config.ids = IdMode::keep;
    options_.config.size = 32;
    options_.config.shards = 2;
    options_.tool_version = "test";
    options_.segmenter = &segmenter_;
  }
  // 32 x 32 x 20 at 5 mm: a block of liver, a speck apart from it, a hole inside.
  void add(const std::string& name, std::int16_t first = -1000) const {
    Geometry g;
    g.size = {32, 32, 20};
    g.spacing_mm = {5, 5, 5};
    std::vector<std::int16_t> hu(static_cast<std::size_t>(g.voxels()), 20);
    for (std::int64_t z = 4; z < 16; ++z)
      for (std::int64_t y = 8; y < 24; ++y)
        for (std::int64_t x = 8; x < 24; ++x)
          hu[static_cast<std::size_t>((z * 32 + y) * 32 + x)] = x == 12 && y == 12 ? 20 : 110;
    hu[static_cast<std::size_t>((18 * 32 + 2) * 32 + 2)] = 110;
    hu[0] = first;
    write_nifti(options_.input / (name + ".nii.gz"), g, hu);
  }
  nlohmann::json provenance(const std::string& name) const {
    return nlohmann::json::parse(
        read_file(state_directory(options_.output) / "cases" / (name + ".json")));
  }

  test::TemporaryDirectory work_;
  FakeSegmenter segmenter_;
  IngestOptions options_;
};

TEST_F(SegmenterTest, MakesTheMaskThatNoOtherSourceHas) {
  for (const char* name : {"a", "b", "c", "d"}) add(name);
  segmenter_.waits_for_another = true;
  const IngestSummary summary = ingest(options_);
  EXPECT_EQ(summary.cases, 4U);
  EXPECT_EQ(summary.quarantined_cases, 0U);
  EXPECT_EQ(segmenter_.calls, 4);
  EXPECT_EQ(segmenter_.most_inside, 2) << "one is on the device while the other has its grid made";
  const auto json = provenance("a");
  EXPECT_EQ(json["mask"]["source"], "segmenter");
  EXPECT_EQ(json["slices"]["liver_first"], 4);
  EXPECT_EQ(json["slices"]["liver_last"], 15);
  // Predicted masks are cleaned: the speck is gone, the hole is filled.
  EXPECT_EQ(summary.flags.at("MASK_CLEANED"), 4U);
  EXPECT_NEAR(json["mask"]["liver_ml"].get<double>(), 16 * 16 * 12 * 0.125, 1);
  EXPECT_TRUE(verify_dataset(options_.output).empty());
}

TEST_F(SegmenterTest, ItsFailureIsTheCasesAlone) {
  add("good");
  add("short", FakeSegmenter::kFails);
  add("thrown", FakeSegmenter::kThrows);
  const IngestSummary summary = ingest(options_);
  EXPECT_EQ(summary.cases, 1U);
  EXPECT_EQ(summary.quarantine_codes.at("SEGMENTER_FAILED"), 2U);
  const std::string quarantine = read_file(state_directory(options_.output) / "quarantine.tsv");
  EXPECT_NE(quarantine.find("case\tshort\tSEGMENTER_FAILED\tthe volume is shorter"),
            std::string::npos)
      << quarantine;
  EXPECT_NE(
      quarantine.find(
          "case\tthrown\tSEGMENTER_FAILED\tthe model failed on this volume: a library gave up"),
      std::string::npos)
      << quarantine;
  EXPECT_NE(read_file(state_directory(options_.output) / "ledger.tsv")
                .find("SEGMENTER_FAILED\trejected\tshort"),
            std::string::npos);
}

TEST_F(SegmenterTest, GivenMasksComeFirst) {
  add("a");
  fs::create_directories(work_.path() / "masks");
  Geometry g;
  g.size = {32, 32, 20};
  g.spacing_mm = {5, 5, 5};
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(g.voxels()), 0);
  for (std::int64_t z = 6; z < 12; ++z)
    for (std::int64_t i = 300; i < 700; ++i) mask[static_cast<std::size_t>(z * 1024 + i)] = 1;
  write_nifti(work_.path() / "masks" / "a.nii.gz", g, mask);
  options_.masks = work_.path() / "masks";
  EXPECT_EQ(ingest(options_).cases, 1U);
  EXPECT_EQ(segmenter_.calls, 0);
  EXPECT_EQ(provenance("a")["mask"]["source"], "file");
}

// On oneTBB's threads or on two of its own: the same dataset.
TEST_F(SegmenterTest, WhereItWorksDoesNotShow) {
  for (const char* name : {"a", "b", "c", "d", "e"}) add(name);
  add("failed", FakeSegmenter::kFails);
  std::vector<std::string> indices;
  for (const bool at_once : {false, true}) {
    segmenter_.at_once = at_once;
    options_.output = work_.path() / (at_once ? "threads" : "device");
    EXPECT_EQ(ingest(options_).cases, 5U);
    indices.push_back(read_file(options_.output / "dataset.json"));
  }
  EXPECT_EQ(indices[0], indices[1]);
}

TEST_F(SegmenterTest, ItsErrorStopsTheJobAndNothingHangs) {
  for (const char* name : {"a", "b", "c", "e", "f", "g"}) add(name);
  add("d", FakeSegmenter::kStopsTheJob);
  for (const bool at_once : {false, true}) {
    segmenter_.at_once = at_once;
    options_.output = work_.path() / (at_once ? "threads" : "device");
    try {
      (void)ingest(options_);
      FAIL() << "expected the job to stop";
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()), "the device is gone");
    }
    EXPECT_FALSE(fs::exists(options_.output / "dataset.json"));
  }
}

TEST_F(SegmenterTest, SaysHowSureItIs) {
  segmenter_.says_probability = true;
  add("a");
  (void)ingest(options_);
  const auto mask = provenance("a")["mask"];
  // The block with its hole filled: 12 slices of 256, of which one voxel each is at most half sure.
  const double voxels = 12 * 256, total = 32 * 32 * 20;
  EXPECT_NEAR(mask["mean_probability"].get<double>(), 1 - 12.0 / voxels, 12 / voxels);
  const double elsewhere = (total - voxels) / 20 * 127 / 255;
  EXPECT_NEAR(mask["confidence"].get<double>(), 2 * voxels / (2 * voxels + elsewhere), 0.01);
  EXPECT_EQ(mask["components"], 1);
  EXPECT_EQ(mask["predicted_components"], 2);
  EXPECT_EQ(mask["border_contact"], nlohmann::json::array());
  EXPECT_EQ(mask["extent_mm"], 60);
  EXPECT_NEAR(mask["mean_hu"].get<double>(), 110 - 12 * 90.0 / voxels, 0.01);
}

TEST_F(SegmenterTest, CachedMasksAskNobody) {
  for (const char* name : {"a", "b"}) add(name, name[0] == 'a' ? -1000 : -999);
  options_.mask_cache = work_.path() / "cache";
  segmenter_.says_probability = true;
  (void)ingest(options_);
  const std::string first = read_file(options_.output / "dataset.json");
  options_.output = work_.path() / "again";
  (void)ingest(options_);
  EXPECT_EQ(segmenter_.calls, 2);
  EXPECT_EQ(read_file(options_.output / "dataset.json"), first);
  // The same volume under another name is the same volume; another model is not.
  add("c");
  options_.output = work_.path() / "more";
  (void)ingest(options_);
  EXPECT_EQ(segmenter_.calls, 2);
  segmenter_.name = "fake-2";
  options_.output = work_.path() / "other";
  (void)ingest(options_);
  EXPECT_GT(segmenter_.calls, 2);
}

TEST_F(SegmenterTest, ACacheThatNobodyAskedForMayBeMissing) {
  add("a");
  write_file_atomic(work_.path() / "file", std::string_view("no directory"));
  options_.mask_cache = work_.path() / "file" / "cache";
  EXPECT_THROW((void)ingest(options_), Error);
  options_.mask_cache_asked_for = false;
  EXPECT_EQ(ingest(options_).cases, 1U);
}

// Equal volumes that are on the device at once: both store the same file.
TEST_F(SegmenterTest, EqualVolumesStoreOneMask) {
  options_.mask_cache = work_.path() / "cache";
  for (int i = 0; i < 12; ++i) add("v" + std::to_string(i));
  segmenter_.waits_for_another = true;
  for (int turn = 0; turn < 10; ++turn) {
    fs::remove_all(*options_.mask_cache);
    options_.output = work_.path() / ("turn-" + std::to_string(turn));
    segmenter_.most_inside = 0;
    EXPECT_EQ(ingest(options_).cases, 12U);
    EXPECT_EQ(std::distance(fs::directory_iterator(*options_.mask_cache), fs::directory_iterator()),
              1);
  }
}

TEST_F(SegmenterTest, ComparesItsMasksWithGivenOnes) {
  add("a");
  add("b", FakeSegmenter::kFails);
  add("c");
  fs::create_directories(work_.path() / "masks");
  Geometry g;
  g.size = {32, 32, 20};
  g.spacing_mm = {5, 5, 5};
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(g.voxels()), 0);
  for (std::int64_t z = 4; z < 16; ++z)
    for (std::int64_t y = 8; y < 24; ++y)
      for (std::int64_t x = 8; x < 16; ++x)  // half of the block
        mask[static_cast<std::size_t>((z * 32 + y) * 32 + x)] = 1;
  for (const char* name : {"a.nii.gz", "b.nii.gz"})
    write_nifti(work_.path() / "masks" / name, g, mask);
  options_.masks = work_.path() / "masks";
  options_.config.compare_masks = true;
  const IngestSummary summary = ingest(options_);
  EXPECT_EQ(summary.cases, 3U) << "a model that fails costs no case its given mask";
  ASSERT_EQ(summary.comparisons.size(), 2U);
  EXPECT_NEAR(summary.comparisons[0].dice, 2.0 * 0.5 / 1.5, 1e-4);
  EXPECT_EQ(summary.comparisons[1].code, "SEGMENTER_FAILED");
  EXPECT_NEAR(*mean_dice(summary.comparisons), 2.0 / 3, 1e-4);
  EXPECT_EQ(
      read_file(state_directory(options_.output) / "mask_comparison.tsv"),
      "case\tgiven\tdice\tgiven_ml\tmodel_ml\tvolume_error_percent\thd95_mm\tfirst_off\tlast_off\t"
      "first_off_mm\tlast_off_mm\tkept_iou\tdoubts\tcode\n"
      "a\tfile\t0.6667\t192.0\t384.0\t+100.0\t40.00\t+0\t+0\t+0.0\t+0.0\t1.0000\tplace,shape\t\n"
      "b\tfile\t\t\t\t\t\t\t\t\t\t\t\tSEGMENTER_FAILED\n");
  EXPECT_EQ(provenance("c")["mask"]["source"], "segmenter");
  // A run that takes the cases over reports the same.
  const IngestSummary again = ingest(options_);
  EXPECT_EQ(again.reused_cases, 3U);
  EXPECT_EQ(comparison_text(again.comparisons), comparison_text(summary.comparisons));
  EXPECT_TRUE(verify_dataset(options_.output).empty());
  options_.segmenter = nullptr;
  options_.output = work_.path() / "alone";
  EXPECT_THROW((void)ingest(options_), Error);
}

TEST_F(SegmenterTest, ADryRunAsksNobodyAndWritesNothing) {
  add("a");
  options_.mask_cache = work_.path() / "cache";
  const fs::path output = std::exchange(options_.output, {});
  const Forecast open = forecast(options_, false);
  ASSERT_EQ(open.taken.size(), 1U);
  EXPECT_TRUE(open.taken.begin()->second.open);
  EXPECT_EQ(open.taken.begin()->second.mask_source, "model");
  EXPECT_EQ(segmenter_.calls, 0);
  options_.segmenter = nullptr;
  const Forecast refused = forecast(options_, false);
  EXPECT_TRUE(refused.taken.empty());
  ASSERT_EQ(refused.plan.rejections.size(), 1U);
  EXPECT_EQ(refused.plan.rejections.front().code, Code::NO_LIVER_MASK);
  EXPECT_FALSE(fs::exists(output));
  EXPECT_FALSE(fs::exists(*options_.mask_cache));
}

TEST_F(SegmenterTest, AnotherVersionMakesTheCasesAgainAndNeedsNoForce) {
  for (const char* name : {"a", "b"}) add(name);
  EXPECT_EQ(ingest(options_).cases, 2U);
  EXPECT_EQ(ingest(options_).reused_cases, 2U);
  options_.tool_version = "another";
  const IngestSummary summary = ingest(options_);
  EXPECT_EQ(summary.cases, 2U);
  EXPECT_EQ(summary.reused_cases, 0U);
  EXPECT_TRUE(verify_dataset(options_.output).empty());
}

TEST_F(SegmenterTest, AnotherModelIsAnotherDataset) {
  add("a");
  (void)ingest(options_);
  EXPECT_EQ(ingest(options_).reused_cases, 1U);
  EXPECT_EQ(segmenter_.calls, 1);
  segmenter_.name = "fake-2";
  EXPECT_THROW((void)ingest(options_), Error);
  options_.force = true;
  EXPECT_EQ(ingest(options_).reused_cases, 0U);
  EXPECT_EQ(segmenter_.calls, 2);
}

}  // namespace
}  // namespace wsp
