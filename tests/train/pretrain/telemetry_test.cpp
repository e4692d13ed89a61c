#include "train/pretrain/telemetry.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/python.hpp"
#include "support/test_data.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

json to_json(const torch::Tensor& matrix) {
  const torch::Tensor m = matrix.to(torch::kFloat64).contiguous();
  json rows = json::array();
  for (std::int64_t i = 0; i < m.size(0); ++i)
    rows.push_back(std::vector<double>(m.data_ptr<double>() + i * m.size(1),
                                       m.data_ptr<double>() + (i + 1) * m.size(1)));
  return rows;
}

// Gaussian kernel on depth, times equality of the label.
torch::Tensor made_kernel(std::int64_t n, std::int64_t classes, double sigma) {
  const torch::Tensor depth = torch::rand({n}, torch::kFloat64);
  const torch::Tensor label = torch::randint(classes, {n}, torch::kInt64);
  const torch::Tensor difference = depth.unsqueeze(1) - depth.unsqueeze(0);
  return torch::exp(-difference.square() / (2 * sigma * sigma)) *
         (label.unsqueeze(1) == label.unsqueeze(0)).to(torch::kFloat64);
}

TEST(Telemetry, AgreesWithLoopsInNumpy) {
  WSP_REQUIRE_PYTHON("numpy");
  const test::TemporaryDirectory work;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    SCOPED_TRACE(seed);
    torch::manual_seed(seed);
    const std::int64_t n = 17, dim = seed == 1 ? 8 : 50;
    const torch::Tensor z = torch::randn({2 * n, dim}, torch::kFloat64) + 0.3;
    const torch::Tensor weights = made_kernel(n, 3, 0.1);
    write_file_atomic(work.path() / "case.json",
                      json{{"z", to_json(z)}, {"weights", to_json(weights)}}.dump());
    int status = 0;
    const std::string output = test::run_command(
        test::python() + " " WSP_SOURCE_DIR "/tests/train/pretrain/telemetry_reference.py " +
            (work.path() / "case.json").string(),
        status);
    ASSERT_EQ(status, 0) << output;
    const json expected = json::parse(output);
    const Telemetry found = measure_telemetry(z, weights, {});
    EXPECT_NEAR(found.kernel.effective_positives, expected["effective_positives"].get<double>(),
                1e-10);
    EXPECT_NEAR(found.kernel.entropy, expected["entropy"].get<double>(), 1e-10);
    EXPECT_NEAR(found.alignment, expected["alignment"].get<double>(), 1e-10);
    EXPECT_NEAR(found.uniformity, expected["uniformity"].get<double>(), 1e-10);
    EXPECT_NEAR(found.rank_me, expected["rank_me"].get<double>(), 1e-9);
    EXPECT_NEAR(found.embedding_std, expected["embedding_std"].get<double>(), 1e-10);
  }
}

TEST(Telemetry, OfFloatsWithGradientIsThatOfTheirValues) {
  torch::manual_seed(4);
  const torch::Tensor z = torch::randn({12, 5}, torch::requires_grad());
  const torch::Tensor exact = z.detach().to(torch::kFloat64);
  const torch::Tensor weights = made_kernel(6, 2, 0.2);
  const Telemetry a = measure_telemetry(z, weights, {});
  const Telemetry b = measure_telemetry(exact, weights, {});
  EXPECT_EQ(a.alignment, b.alignment);
  EXPECT_EQ(a.uniformity, b.uniformity);
  EXPECT_EQ(a.rank_me, b.rank_me);
  EXPECT_EQ(a.embedding_std, b.embedding_std);
}

TEST(KernelSpread, OfEqualWeightsIsTheNumberOfPositives) {
  const torch::Tensor all = torch::ones({5, 5});
  EXPECT_DOUBLE_EQ(kernel_spread(all, {}).effective_positives, 9);
  EXPECT_DOUBLE_EQ(kernel_spread(all, {}).entropy, std::log(9.0));
  // Only the own other view: all labels distinct, or SimCLR whatever the kernel.
  EXPECT_DOUBLE_EQ(kernel_spread(torch::eye(5), {}).effective_positives, 1);
  EXPECT_NEAR(kernel_spread(torch::eye(5), {}).entropy, 0, 1e-15);
  EXPECT_DOUBLE_EQ(kernel_spread(all, {.own_view_only = true}).effective_positives, 1);
  EXPECT_DOUBLE_EQ(kernel_spread(all, {.own_view_only = true}).entropy, 0);
  // Classes of 3 and 2 slices: 5 positives for the views of the first, 3 for those of the second.
  torch::Tensor classes = torch::zeros({5, 5});
  classes.slice(0, 0, 3).slice(1, 0, 3).fill_(1);
  classes.slice(0, 3, 5).slice(1, 3, 5).fill_(1);
  EXPECT_DOUBLE_EQ(kernel_spread(classes, {}).effective_positives, (3 * 5 + 2 * 3) / 5.0);
  EXPECT_THROW(kernel_spread(torch::ones({2, 3}), {}), Error);
}

TEST(Telemetry, KnownValues) {
  // Two slices at opposite poles, both views alike.
  const torch::Tensor poles = torch::tensor({{2.0, 0.0}, {-3.0, 0.0}, {1.0, 0.0}, {-1.0, 0.0}});
  EXPECT_DOUBLE_EQ(alignment(poles), 0);
  EXPECT_DOUBLE_EQ(uniformity(poles), -8) << "|u_i - u_j|^2 is 4";
  EXPECT_NEAR(rank_me(poles), 1, 1e-12);
  EXPECT_DOUBLE_EQ(embedding_std(poles), std::sqrt(2.0) / 2) << "deviations 1 and 0, times sqrt(2)";
  // Views at right angles.
  const torch::Tensor turned = torch::tensor({{1.0, 0.0}, {0.0, 1.0}, {0.0, 1.0}, {1.0, 0.0}});
  EXPECT_DOUBLE_EQ(alignment(turned), 2);
  // Orthogonal rows of equal length use every dimension.
  EXPECT_NEAR(rank_me(3 * torch::eye(8, torch::kFloat64)), 8, 1e-12);
  // Everything in one point.
  const torch::Tensor point = torch::ones({8, 16});
  EXPECT_NEAR(uniformity(point), 0, 1e-12);
  EXPECT_NEAR(embedding_std(point), 0, 1e-12);
  EXPECT_NEAR(rank_me(point), 1, 1e-6);
  // A healthy spread: coordinates of unit vectors have variance 1 / dim.
  torch::manual_seed(5);
  const torch::Tensor gaussian = torch::randn({4096, 64});
  EXPECT_NEAR(embedding_std(gaussian), 1, 0.01);
  EXPECT_NEAR(uniformity(gaussian), -4 + 8.0 / 64, 0.02) << "E exp(4 cos) is near exp(8 / dim)";
}

TEST(Telemetry, ManySlicesGoThroughTilesLikeFew) {
  torch::manual_seed(6);
  const torch::Tensor z = torch::randn({2 * 1500, 4}, torch::kFloat64);
  const torch::Tensor u = z / z.norm(2, {1}, true);
  double expected = 0;
  for (const torch::Tensor& view : u.chunk(2))
    expected += torch::exp(-2 * torch::pdist(view).square()).mean().log().item<double>() / 2;
  EXPECT_NEAR(uniformity(z), expected, 1e-10);
}

TEST(Telemetry, DegenerateBatchesGiveNoNumberAndNoCrash) {
  torch::Tensor z = torch::randn({6, 3});
  z[2][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(alignment(z)));
  EXPECT_TRUE(std::isnan(uniformity(z)));
  EXPECT_TRUE(std::isnan(rank_me(z)));
  EXPECT_TRUE(std::isnan(embedding_std(z)));
  z[2][1] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isnan(alignment(z)));
  EXPECT_TRUE(std::isnan(rank_me(z)));
  EXPECT_TRUE(std::isnan(uniformity(torch::ones({2, 3}))));
  const torch::Tensor zero = torch::zeros({4, 3});
  EXPECT_EQ(alignment(zero), 0);
  EXPECT_EQ(rank_me(zero), 0);
  EXPECT_EQ(embedding_std(zero), 0);
  EXPECT_EQ(uniformity(zero), 0);
  for (const torch::Tensor& bad : {torch::ones({3, 2}), torch::ones({4}), torch::ones({0, 2})})
    EXPECT_THROW(rank_me(bad), Error);
}

TEST(CollapseAlarm, GoesOffOnceAfterItsPatience) {
  CollapseAlarm alarm(0.1, 3);
  for (const double value : {0.9, 0.05, 0.05}) EXPECT_FALSE(alarm.update(value));
  EXPECT_FALSE(alarm.active());
  EXPECT_TRUE(alarm.update(0.01));
  EXPECT_TRUE(alarm.active());
  EXPECT_FALSE(alarm.update(0.01)) << "said once";
  EXPECT_FALSE(alarm.update(0.5));
  EXPECT_FALSE(alarm.active());
  EXPECT_FALSE(alarm.update(std::nan(""))) << "the NaN guard speaks for those";
}

}  // namespace
}  // namespace wsp::train
