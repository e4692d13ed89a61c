// The losses against golden values, loops and finite differences.
#include "train/model/losses.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "io/core/error.hpp"
#include "losses_support.hpp"
#include "support/test_data.hpp"
#include "train/model/contrastive_problem.hpp"
#include "train/model/kernel_rows.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;
using test::add_columns;
using test::Batch;
using test::contrastive;
using test::contrastive_by_loops;
using test::depth_kernel;
using test::differentiate;
using test::distance;
using test::every_kernel;
using test::kDouble;
using test::kLong;
using test::random_batch;
using test::simclr_kernel;
using test::supcon_kernel;
using test::wsp_kernel;
using torch::Tensor;

// Golden values ---------------------------------------------------------------------------------

struct GoldenKey {
  std::string method;
  KernelOptions kernel;
  bool unlabelled = false;
  double lambda = 0.005;
};

/// Read a key such as wsp/paper/laplacian/sigma=0.1.
std::optional<GoldenKey> parse_key(const std::string& text) {
  GoldenKey key;
  std::stringstream stream(text);
  std::getline(stream, key.method, '/');
  if (key.method == "supcon")
    key.kernel = supcon_kernel();
  else if (key.method == "depth-aware")
    key.kernel = depth_kernel();
  else if (key.method == "simclr" || key.method == "byol-simsiam" || key.method == "barlow-twins")
    key.kernel = simclr_kernel();
  else if (key.method != "wsp" && key.method != "kernel-byol" &&
           key.method != "kernel-barlow-twins")
    return std::nullopt;
  for (std::string word; std::getline(stream, word, '/');) {
    if (word == "reference")
      key.kernel.normalisation = Normalisation::reference;
    else if (word == "laplacian")
      key.kernel.shape = KernelShape::laplacian;
    else if (word == "every-third-unlabelled")
      key.unlabelled = true;
    else if (word.starts_with("sigma="))
      key.kernel.sigma = std::stod(word.substr(6));
    else if (word.starts_with("lambda="))
      key.lambda = std::stod(word.substr(7));
    else if (word != "paper" && word != "negative-cosine")
      ADD_FAILURE() << "unknown word '" << word << "' in the golden case " << text;
  }
  return key;
}

Tensor matrix(const json& rows) {
  std::vector<double> values;
  for (const auto& row : rows)
    for (const double value : row) values.push_back(value);
  return torch::tensor(values, kDouble).reshape({static_cast<std::int64_t>(rows.size()), -1});
}

/// What the key's loss computes of (z1, z2); tile counts for the contrastive ones only.
Tensor golden_loss(const GoldenKey& key, const Tensor& z1, const Tensor& z2, const Targets& targets,
                   double temperature, std::int64_t tile) {
  if (key.method == "byol-simsiam")
    return kernel_regression_loss(z1, z2, targets, key.kernel) / 2 - 1;
  if (key.method == "kernel-byol")
    return (kernel_regression_loss(z1, z2, targets, key.kernel) +
            kernel_regression_loss(z2, z1, targets, key.kernel)) /
           2;
  if (key.method.ends_with("barlow-twins"))
    return kernel_barlow_loss(z1, z2, targets, key.kernel, key.lambda);
  return contrastive_loss(torch::cat({z1, z2}), targets, key.kernel, temperature, tile);
}

void expect_golden(const json& data, const std::string& text, const json& expected) {
  const auto key = parse_key(text);
  if (!key) {
    std::fprintf(stderr, "*** NO LOSS FOR THE GOLDEN CASE %s ***\n", text.c_str());
    return;
  }
  Targets targets;
  auto labels = data.at("label").get<std::vector<std::int64_t>>();
  if (key->unlabelled)
    for (std::size_t i = 0; i < labels.size(); i += 3) labels[i] = -1;
  targets.label = torch::tensor(labels, kLong);
  targets.depth = torch::tensor(data.at("depth").get<std::vector<double>>(), kDouble);
  const Tensor z1 = matrix(data.at("z1")), z2 = matrix(data.at("z2"));
  const Tensor gradient =
      torch::cat({matrix(expected.at("grad_z1")), matrix(expected.at("grad_z2"))});
  const double loss = expected.at("loss");
  const double temperature = data.at("tau");
  for (const std::int64_t tile : {0, 1, 3, 5, 1000}) {
    SCOPED_TRACE(text + ", n = " + std::to_string(labels.size()) + ", tile " +
                 std::to_string(tile));
    for (const auto type : {kDouble, torch::kFloat}) {
      const auto found = differentiate({z1.to(type), z2.to(type)}, [&](const auto& leaves) {
        return golden_loss(*key, leaves[0], leaves[1], targets, temperature, tile);
      });
      const double scale = gradient.abs().max().item<double>();
      if (type == kDouble) {
        EXPECT_NEAR(found.loss, loss, 1e-9);
        EXPECT_LT(distance(found.gradient, gradient), 1e-9);
      } else {
        EXPECT_NEAR(found.loss, loss, 2e-5 * std::max(1.0, std::abs(loss)));
        EXPECT_LT(distance(found.gradient.to(kDouble), gradient), 1e-4 * std::max(0.1, scale));
      }
    }
  }
}

TEST(Losses, EveryGoldenCaseIsMetDenseAndTiledInFloat64AndFloat32) {
  WSP_REQUIRE_GOLDEN(directory);
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const json golden = json::parse(file);
    if (!golden.contains("cases")) continue;
    for (const json& data : golden.at("cases")) {
      if (!data.contains("z1")) continue;
      for (const auto& [key, expected] : data.at("expected").items()) {
        expect_golden(data, key, expected);
        ++cases;
      }
    }
  }
  EXPECT_GT(cases, 0) << "no golden case in " << directory;
  RecordProperty("cases", cases);
}

TEST(Losses, ContrastiveIsTheFormulaPairByPairWithFurtherColumns) {
  for (const std::int64_t seed : {1, 2}) {
    Batch batch = random_batch(seed, 6, 5, 2);
    add_columns(batch);
    for (const KernelOptions& kernel : every_kernel()) {
      const double expected = contrastive_by_loops(batch, kernel, 0.3);
      for (const std::int64_t tile : {0, 1, 4, 64})
        EXPECT_NEAR(contrastive(batch.z(), batch.targets, kernel, 0.3, tile).loss, expected, 1e-11)
            << "seed " << seed << ", tile " << tile;
    }
  }
}

TEST(Losses, GradientsAreThoseOfFiniteDifferencesWithFurtherColumns) {
  Batch batch = random_batch(5, 4, 3, 2);
  add_columns(batch);
  using Loss = std::function<Tensor(const Tensor&, const Tensor&)>;
  std::vector<Loss> losses;
  for (const KernelOptions& kernel : every_kernel()) {
    for (const std::int64_t tile : {0, 3})
      losses.push_back([&batch, kernel, tile](const Tensor& a, const Tensor& b) {
        return contrastive_loss(torch::cat({a, b}), batch.targets, kernel, 0.4, tile);
      });
    losses.push_back([&batch, kernel](const Tensor& a, const Tensor& b) {
      return kernel_regression_loss(a, b, batch.targets, kernel);
    });
    losses.push_back([&batch, kernel](const Tensor& a, const Tensor& b) {
      return kernel_barlow_loss(a, b, batch.targets, kernel, 0.02);
    });
  }
  constexpr double kStep = 1e-5;
  for (const Loss& loss : losses) {
    const auto exact = differentiate(
        {batch.z1, batch.z2}, [&](const auto& leaves) { return loss(leaves[0], leaves[1]); });
    const Tensor z = batch.z();
    Tensor numeric = torch::zeros_like(z);
    const torch::NoGradGuard no_grad;
    for (std::int64_t i = 0; i < z.numel(); ++i) {
      const auto moved = [&](double by) {
        Tensor shifted = z.clone();
        shifted.view({-1})[i] += by;
        return loss(shifted.slice(0, 0, 4), shifted.slice(0, 4)).item<double>();
      };
      numeric.view({-1})[i] = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    }
    EXPECT_LT(distance(exact.gradient, numeric), 1e-7);
  }
}

TEST(Losses, WithoutNeighboursKernelBarlowTwinsIsThePlainOne) {
  Batch batch = random_batch(6, 12, 5, 2);
  batch.targets.label = torch::arange(12, kLong);
  const auto loss = [&](const KernelOptions& kernel) {
    return kernel_barlow_loss(batch.z1, batch.z2, batch.targets, kernel, 0.01).item<double>();
  };
  // The kernel's form standardises once more, with an eps of 1e-5.
  EXPECT_NEAR(loss(wsp_kernel()), loss(simclr_kernel()), 1e-3);
}

TEST(Losses, TheProblemGivenToTheKernelsIsThatOfTheTensors) {
  for (const bool columns : {false, true})
    for (KernelOptions kernel : {wsp_kernel(), supcon_kernel(), depth_kernel(), simclr_kernel()})
      for (const auto normalisation : {Normalisation::paper, Normalisation::reference})
        for (const auto shape : {KernelShape::rbf, KernelShape::laplacian}) {
          Batch batch = random_batch(21, 17, 5, 2);
          if (columns) add_columns(batch);
          kernel.normalisation = normalisation;
          kernel.shape = shape;
          kernel.sigma = 0.3;
          const double expected =
              contrastive_loss(batch.z(), batch.targets, kernel, 0.2).item<double>();
          if (columns)  // other types and strides
            batch.targets.discrete = batch.targets.discrete.to(torch::kInt).t().contiguous().t();
          const Tensor z = batch.z();
          const ProblemOfTensors tensors(z, batch.targets, kernel, 0.2);
          const ContrastiveProblem<void>& p = tensors.problem;
          EXPECT_EQ(tensors.coordinates(),
                    kernel.own_view_only ? 0 : (columns ? 2 : 0) + (kernel.use_depth ? 1 : 0));
          const ContrastiveProblem<double> typed{z.data_ptr<double>(),
                                                 p.n,
                                                 p.dim,
                                                 p.label,
                                                 p.depth,
                                                 p.discrete,
                                                 p.discrete_columns,
                                                 p.continuous,
                                                 p.continuous_sigma,
                                                 p.continuous_columns,
                                                 p.shape,
                                                 p.normalisation,
                                                 p.sigma,
                                                 p.temperature,
                                                 p.label_matters,
                                                 p.own_view_only};
          EXPECT_NEAR(contrastive_loss_cpu<double>(typed, 8, nullptr), expected,
                      1e-11 * (1 + expected));
        }
}

TEST(Losses, TheOuterFactorReachesTheTiledGradient) {
  const Batch batch = random_batch(3, 5, 4, 2);
  const auto scaled = [&](std::int64_t tile) {
    return differentiate({batch.z()}, [&](const auto& leaves) {
      return contrastive_loss(leaves[0], batch.targets, wsp_kernel(), 0.2, tile) * 1024 + 3;
    });
  };
  EXPECT_LT(distance(scaled(0).gradient, scaled(2).gradient), 1e-9);
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(contrastive_loss(batch.z(), batch.targets, wsp_kernel(), 0.2, 2).requires_grad());
}

// Precision and refusals ------------------------------------------------------------------------

TEST(Losses, HalfPrecisionEmbeddingsAreSummedInFloat32) {
  const Batch batch = random_batch(9, 8, 16, 2);
  const Tensor z = batch.z().to(torch::kBFloat16);
  for (const std::int64_t tile : {0, 3}) {
    const Tensor loss = contrastive_loss(z, batch.targets, wsp_kernel(), 0.1, tile);
    EXPECT_EQ(loss.scalar_type(), torch::kFloat);
    EXPECT_NEAR(loss.item<double>(),
                contrastive(z.to(kDouble), batch.targets, wsp_kernel(), 0.1, 0).loss, 1e-4);
  }
}

TEST(Losses, AnEmbeddingOfZerosHasAFiniteGradient) {
  Batch batch = random_batch(9, 4, 8, 2);
  batch.z1[0].zero_();
  for (const std::int64_t tile : {0, 3})
    EXPECT_TRUE(
        torch::isfinite(contrastive(batch.z(), batch.targets, wsp_kernel(), 0.1, tile).gradient)
            .all()
            .item<bool>());
}

TEST(Losses, ImpossibleSettingsAreRefused) {
  const Batch batch = random_batch(1, 4, 3, 2);
  KernelOptions flat = wsp_kernel();
  flat.sigma = 0;
  EXPECT_THROW(contrastive_loss(batch.z(), batch.targets, flat, 0.1), Error);
  EXPECT_THROW(contrastive_loss(batch.z(), batch.targets, wsp_kernel(), 0), Error);
  EXPECT_THROW(contrastive_loss(batch.z1.slice(0, 0, 3), batch.targets, wsp_kernel(), 0.1), Error);
  EXPECT_THROW(contrastive_loss(batch.z1, batch.targets, wsp_kernel(), 0.1), Error);
  Targets without_sigma = batch.targets;
  without_sigma.continuous = torch::rand({1, 4}, kDouble);
  EXPECT_THROW(contrastive_loss(batch.z(), without_sigma, wsp_kernel(), 0.1), Error);
}

}  // namespace
}  // namespace wsp::train
