#include "preprocess/segment/segmenter.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/medical/image_file.hpp"
#include "preprocess/pipeline/ingest.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// Calls everything above 80 HU liver, and fails where a volume begins with the marks below.
class FakeSegmenter : public Segmenter {
 public:
  static constexpr std::int16_t kFails = -1001, kThrows = -1002;
  std::string name = "fake-1";
  std::atomic<int> calls{0}, inside{0}, most_inside{0};

  [[nodiscard]] std::string identity() const override { return name; }
  Outcome<Segmentation> segment(const Volume& volume) override {
    ++calls;
    most_inside = std::max(most_inside.load(), ++inside);
    struct Leave {
      std::atomic<int>& count;
      ~Leave() { --count; }
    } leave{inside};
    if (volume.hu[0] == kFails)
      return Rejection{"", "mask", Code::SEGMENTER_FAILED, "the volume is shorter than the model"};
    if (volume.hu[0] == kThrows) throw std::runtime_error("a library gave up");
    Segmentation made;
    made.mask.geometry = volume.geometry;
    for (const std::int16_t hu : volume.hu) made.mask.voxels.push_back(hu > 80 ? 1 : 0);
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
    return nlohmann::json::parse(read_file(options_.output / "cases" / (name + ".json")));
  }

  test::TemporaryDirectory work_;
  FakeSegmenter segmenter_;
  IngestOptions options_;
};

TEST_F(SegmenterTest, MakesTheMaskThatNoOtherSourceHas) {
  for (const char* name : {"a", "b", "c", "d"}) add(name);
  const IngestSummary summary = ingest(options_);
  EXPECT_EQ(summary.cases, 4U);
  EXPECT_EQ(summary.quarantined_cases, 0U);
  EXPECT_EQ(segmenter_.calls, 4);
  EXPECT_EQ(segmenter_.most_inside, 1) << "concurrent() is false";
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
  const std::string quarantine = read_file(options_.output / "quarantine.tsv");
  EXPECT_NE(quarantine.find("case\tshort\tSEGMENTER_FAILED\tthe volume is shorter"),
            std::string::npos)
      << quarantine;
  EXPECT_NE(quarantine.find("case\tthrown\tSEGMENTER_FAILED"), std::string::npos) << quarantine;
  EXPECT_NE(read_file(options_.output / "ledger.tsv").find("SEGMENTER_FAILED\trejected\tshort"),
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
