// The same tests once more, with every foreign file read in a worker process: their answers are the
// same. Chosen by WSP_TEST_ISOLATED in the environment of a test.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "io/core/worker_pool.hpp"
#include "io/medical/scan.hpp"

namespace wsp {
namespace {

class Isolated final : public testing::Environment {
 public:
  void SetUp() override {
    if (std::getenv("WSP_TEST_ISOLATED") == nullptr) return;
    initialise_medical_io();
    pool_ = std::make_unique<WorkerPool>(WorkerLimits{std::uint64_t{4} << 30, 60},
                                         prepare_medical_workers);
  }
  void TearDown() override { pool_.reset(); }

 private:
  std::unique_ptr<WorkerPool> pool_;
};

const testing::Environment* const g_environment =
    testing::AddGlobalTestEnvironment(new Isolated);  // gtest's from here on

}  // namespace
}  // namespace wsp
