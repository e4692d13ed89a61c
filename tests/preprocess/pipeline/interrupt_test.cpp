// SIGTERM was asked for before each step: it must stop and change nothing.
#include "io/core/interrupt.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/shard/dataset.hpp"
#include "preprocess/phantom/cohort.hpp"
#include "preprocess/pipeline/ingest.hpp"
#include "preprocess/pipeline/scan_report.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

void ask_to_stop() {
  install_interrupt_handlers();
  std::raise(SIGTERM);
  ASSERT_EQ(interrupt_signal(), SIGTERM);
}

void expect_stop(const std::function<void()>& step) {
  try {
    step();
    ADD_FAILURE() << "ran to its end";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::interrupted) << e.what();
  }
}

// One test: what was asked of the process cannot be taken back.
TEST(Interrupt, StopsEveryLongStep) {
  const test::TemporaryDirectory work;
  phantom::CohortOptions cohort;
  cohort.out = work.path() / "cohort";
  cohort.subjects = 1;
  cohort.size = 64;
  cohort.min_slices = cohort.max_slices = 12;
  cohort.nifti = true;
  phantom::make_cohort(cohort);
  IngestOptions options;
  options.input = cohort.out / "export";
  options.output = work.path() / "dataset";
  options.masks = cohort.out / "truth";
  options.config.ids = IdMode::keep;
  options.config.size = 64;
  options.tool_version = "test";
  ASSERT_EQ(ingest(options).cases, 1U);
  ASSERT_TRUE(verify_dataset(options.output).empty());
  const std::string dataset = read_file(options.output / "dataset.json");
  const Scan scan = scan_export(options.input, {});
  IngestPlan plan;
  plan.series.resize(scan.series.size());

  ask_to_stop();
  expect_stop([&] { (void)scan_export(options.input, {}); });
  expect_stop([&] { (void)scan_report(scan, plan, true); });
  expect_stop([&] { (void)verify_dataset(options.output); });
  cohort.out = work.path() / "another";
  expect_stop([&] { phantom::make_cohort(cohort); });
  expect_stop([&] { (void)ingest(options); });
  EXPECT_EQ(read_file(options.output / "dataset.json"), dataset)
      << "an ingest that was stopped while it scanned took the dataset away";
  options.output = work.path() / "new";
  expect_stop([&] { (void)ingest(options); });
  EXPECT_FALSE(fs::exists(options.output));
}

}  // namespace
}  // namespace wsp
