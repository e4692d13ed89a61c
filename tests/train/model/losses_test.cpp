#include "train/model/losses.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/model/contrastive_problem.hpp"
#include "train/model/kernel_rows.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;
using torch::Tensor;

constexpr auto kLong = torch::kLong;
constexpr auto kDouble = torch::kDouble;

struct Batch {
  Tensor z1, z2;
  Targets targets;
  [[nodiscard]] Tensor z() const { return torch::cat({z1, z2}); }
};

Batch random_batch(std::int64_t seed, std::int64_t n, std::int64_t dim, std::int64_t classes) {
  torch::manual_seed(static_cast<std::uint64_t>(seed));
  Batch batch{torch::randn({n, dim}, kDouble), torch::randn({n, dim}, kDouble), {}};
  batch.targets.label = torch::randint(-1, classes, {n}, kLong);
  batch.targets.depth = torch::rand({n}, kDouble);
  return batch;
}

void add_columns(Batch& batch) {
  const std::int64_t n = batch.z1.size(0);
  batch.targets.discrete = torch::randint(-1, 2, {2, n}, kLong);
  batch.targets.continuous = torch::rand({2, n}, kDouble);
  batch.targets.continuous_sigma = {0.7, 1.3};
}

KernelOptions wsp_kernel() { return {}; }
KernelOptions supcon_kernel() {
  KernelOptions kernel;
  kernel.use_depth = false;
  return kernel;
}
KernelOptions depth_kernel() {
  KernelOptions kernel;
  kernel.use_label = false;
  return kernel;
}
KernelOptions simclr_kernel() {
  KernelOptions kernel;
  kernel.use_label = kernel.use_depth = false;
  kernel.own_view_only = true;
  return kernel;
}

struct ValueAndGradient {
  double loss = 0;
  Tensor gradient;  ///< of all inputs, one below the other
};

template <class Loss>
ValueAndGradient differentiate(const std::vector<Tensor>& inputs, const Loss& loss) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.detach().clone().requires_grad_(true));
  const Tensor value = loss(leaves);
  value.backward();
  std::vector<Tensor> gradients;
  for (const Tensor& leaf : leaves) gradients.push_back(leaf.grad());
  return {value.item<double>(), torch::cat(gradients)};
}

ValueAndGradient contrastive(const Tensor& z, const Targets& targets, const KernelOptions& kernel,
                             double temperature, std::int64_t tile) {
  return differentiate({z}, [&](const std::vector<Tensor>& leaves) {
    return contrastive_loss(leaves[0], targets, kernel, temperature, tile);
  });
}

double distance(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

/// The formula, pair by pair, from scalars.
double contrastive_by_loops(const Batch& batch, const KernelOptions& kernel, double temperature) {
  const std::int64_t n = batch.z1.size(0), views = 2 * n;
  const Tensor z = batch.z();
  const auto at = [](const Tensor& x, std::int64_t i) { return x[i].item<double>(); };
  const Targets& targets = batch.targets;
  const auto weight = [&](std::int64_t t, std::int64_t i) {
    const std::int64_t a = t % n, b = i % n;
    if (t == i) return 0.0;
    if (a == b) return 1.0;
    if (kernel.own_view_only) return 0.0;
    const auto same = [&](const Tensor& column) {
      return at(column, a) == at(column, b) && at(column, a) != -1;
    };
    double w = 1;
    if (kernel.use_label && !same(targets.label)) return 0.0;
    if (targets.discrete.defined())
      for (std::int64_t c = 0; c < targets.discrete.size(0); ++c)
        if (!same(targets.discrete[c])) return 0.0;
    if (kernel.use_depth) {
      const double d = std::abs(at(targets.depth, a) - at(targets.depth, b));
      const double power = kernel.shape == KernelShape::rbf ? d * d : d;
      w *= std::exp(-power / (2 * kernel.sigma * kernel.sigma));
    }
    if (targets.continuous.defined())
      for (std::int64_t c = 0; c < targets.continuous.size(0); ++c) {
        const double d = at(targets.continuous[c], a) - at(targets.continuous[c], b);
        const double sigma = targets.continuous_sigma[static_cast<std::size_t>(c)];
        w *= std::exp(-d * d / (2 * sigma * sigma));
      }
    return w;
  };
  const auto s = [&](std::int64_t t, std::int64_t i) {
    double dot = 0, norm_t = 0, norm_i = 0;
    for (std::int64_t k = 0; k < z.size(1); ++k) {
      const double x = z[t][k].item<double>(), y = z[i][k].item<double>();
      dot += x * y;
      norm_t += x * x;
      norm_i += y * y;
    }
    return dot / std::sqrt(norm_t * norm_i) / temperature;
  };
  double sum = 0;
  for (std::int64_t t = 0; t < views; ++t) {
    double denominator = 0, row_sum = 0;
    for (std::int64_t j = 0; j < views; ++j) {
      if (j != t) denominator += std::exp(s(t, j));
      row_sum += weight(t, j);
    }
    for (std::int64_t i = 0; i < views; ++i) {
      double divisor = row_sum;
      if (kernel.normalisation == Normalisation::reference) {
        divisor = 0;
        for (std::int64_t j = 0; j < views; ++j) divisor += weight(j, i);
      }
      if (i != t) sum -= weight(t, i) / divisor * std::log(std::exp(s(t, i)) / denominator);
    }
  }
  return sum / static_cast<double>(kernel.normalisation == Normalisation::paper ? views : n);
}

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

// Against the formula and finite differences ---------------------------------------------------

std::vector<KernelOptions> every_kernel() {
  std::vector<KernelOptions> kernels = {wsp_kernel(), supcon_kernel(), depth_kernel(),
                                        simclr_kernel()};
  kernels.push_back(wsp_kernel());
  kernels.back().shape = KernelShape::laplacian;
  kernels.back().sigma = 0.6;
  for (std::size_t i = 0; i < 5; ++i) {
    kernels.push_back(kernels[i]);
    kernels.back().normalisation = Normalisation::reference;
  }
  return kernels;
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

// Properties ------------------------------------------------------------------------------------

void expect_same(const ValueAndGradient& a, const ValueAndGradient& b, double tolerance) {
  RC_ASSERT(std::abs(a.loss - b.loss) < tolerance);
  RC_ASSERT(distance(a.gradient, b.gradient) < tolerance);
}

struct Draw {
  Batch batch;
  std::int64_t n, tile;
};

Draw any_batch() {
  const auto seed = *rc::gen::inRange<std::int64_t>(0, 1 << 30);
  const auto n = *rc::gen::inRange<std::int64_t>(2, 10);
  const auto dim = *rc::gen::inRange<std::int64_t>(2, 9);
  return {random_batch(seed, n, dim, 3), n, *rc::gen::element<std::int64_t>(0, 1, 2, 7)};
}

RC_GTEST_PROP(LossProperties, WideSigmaIsSupCon, ()) {
  const Draw draw = any_batch();
  KernelOptions wide = wsp_kernel();
  wide.sigma = 1e6;
  const Tensor z = draw.batch.z();
  expect_same(contrastive(z, draw.batch.targets, wide, 0.1, draw.tile),
              contrastive(z, draw.batch.targets, supcon_kernel(), 0.1, draw.tile), 1e-9);
}

RC_GTEST_PROP(LossProperties, OneClassIsDepthAware, ()) {
  Draw draw = any_batch();
  draw.batch.targets.label.fill_(2);
  const Tensor z = draw.batch.z();
  expect_same(contrastive(z, draw.batch.targets, wsp_kernel(), 0.1, draw.tile),
              contrastive(z, draw.batch.targets, depth_kernel(), 0.1, draw.tile), 1e-12);
}

RC_GTEST_PROP(LossProperties, DistinctOrUnknownLabelsAreSimClr, ()) {
  Draw draw = any_batch();
  draw.batch.targets.label =
      *rc::gen::arbitrary<bool>() ? torch::arange(draw.n, kLong) : torch::full({draw.n}, -1, kLong);
  const Tensor z = draw.batch.z();
  expect_same(contrastive(z, draw.batch.targets, wsp_kernel(), 0.1, draw.tile),
              contrastive(z, draw.batch.targets, simclr_kernel(), 0.1, draw.tile), 1e-12);
}

RC_GTEST_PROP(LossProperties, TheOrderOfSlicesAndOfViewsDoesNotMatter, ()) {
  Draw draw = any_batch();
  add_columns(draw.batch);
  const Batch& batch = draw.batch;
  const Tensor order = torch::randperm(draw.n, kLong);
  Targets moved;
  moved.label = batch.targets.label.index_select(0, order);
  moved.depth = batch.targets.depth.index_select(0, order);
  moved.discrete = batch.targets.discrete.index_select(1, order);
  moved.continuous = batch.targets.continuous.index_select(1, order);
  moved.continuous_sigma = batch.targets.continuous_sigma;
  const Tensor z1 = batch.z1.index_select(0, order), z2 = batch.z2.index_select(0, order);
  const auto kernel = *rc::gen::elementOf(every_kernel());
  const double loss = contrastive(batch.z(), batch.targets, kernel, 0.2, draw.tile).loss;
  const double swapped = contrastive(torch::cat({z2, z1}), moved, kernel, 0.2, draw.tile).loss;
  RC_ASSERT(std::abs(loss - swapped) < 1e-10);
  const double barlow =
      kernel_barlow_loss(batch.z1, batch.z2, batch.targets, kernel, 0.01).item<double>();
  RC_ASSERT(std::abs(barlow - kernel_barlow_loss(z2, z1, moved, kernel, 0.01).item<double>()) <
            1e-9);
}

RC_GTEST_PROP(LossProperties, TheKernelIsSymmetricWithOnesOnTheDiagonal, ()) {
  Draw draw = any_batch();
  add_columns(draw.batch);
  draw.batch.targets.continuous[0][0] = std::nan("");
  const Tensor k = composite_kernel(draw.batch.targets, *rc::gen::elementOf(every_kernel()));
  RC_ASSERT(torch::equal(k, k.t()));
  RC_ASSERT(torch::equal(k.diagonal(), torch::ones({draw.n}, kDouble)));
  RC_ASSERT(k.min().item<double>() >= 0 && k.max().item<double>() <= 1);
  // An unknown value is like no other.
  RC_ASSERT(k[0].sum().item<double>() == 1.0);
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

// Losses of a continuous label
// ---------------------------------------------------------------------

/// A batch with one number a slice, some of them equal and some unknown.
Batch numbered_batch(std::int64_t seed, std::int64_t n, std::int64_t dim) {
  Batch batch = random_batch(seed, n, dim, 3);
  batch.targets.value = torch::randint(20, 30, {n}, kDouble) / 4;
  batch.targets.value[n / 2] = std::nan("");
  batch.targets.continuous = batch.targets.value.unsqueeze(0);
  batch.targets.continuous_sigma = {0.8};
  return batch;
}

KernelOptions number_kernel() {
  KernelOptions kernel;
  kernel.use_label = kernel.use_depth = false;
  return kernel;
}

template <class Loss>
ValueAndGradient of_z(const Batch& batch, torch::ScalarType type, const Loss& loss) {
  return differentiate({batch.z().to(type)},
                       [&](const std::vector<Tensor>& leaves) { return loss(leaves[0]); });
}

// y-Aware is the contrastive loss of a Gaussian column alone.
TEST(ContinuousLosses, YAwareEqualsTheLoops) {
  for (const std::int64_t n : {2, 7}) {
    Batch batch = numbered_batch(n, n, 5);
    batch.targets.value.fill_(0);  // has no effect
    batch.targets.continuous = torch::rand({1, n}, kDouble) * 4;
    const double expected = contrastive_by_loops(batch, number_kernel(), 0.2);
    for (const std::int64_t tile : {0, 3})
      EXPECT_NEAR(contrastive(batch.z(), batch.targets, number_kernel(), 0.2, tile).loss, expected,
                  1e-10);
  }
}

TEST(ContinuousLosses, TheDenseFormsEqualTheKernelsOfTheCpu) {
  for (const std::int64_t n : {2, 5, 23}) {
    const Batch batch = numbered_batch(n, n, 6);
    const Targets& targets = batch.targets;
    const auto exponential = of_z(batch, kDouble, [&](const Tensor& z) {
      return weighted_repulsion_loss(z, targets, number_kernel(), 0.2, 4);
    });
    const auto dense = of_z(batch, kDouble, [&](const Tensor& z) {
      return dense_weighted_repulsion_loss(z, targets, number_kernel(), 0.2);
    });
    EXPECT_NEAR(exponential.loss, dense.loss, 1e-9);
    EXPECT_LT(distance(exponential.gradient, dense.gradient), 1e-9);
    const auto ranks = of_z(
        batch, kDouble, [&](const Tensor& z) { return rank_contrast_loss(z, targets, 1.3, 4); });
    const auto dense_ranks = of_z(batch, kDouble, [&](const Tensor& z) {
      return dense_rank_contrast_loss(z, targets.value, 1.3);
    });
    EXPECT_NEAR(ranks.loss, dense_ranks.loss, 1e-9);
    EXPECT_LT(distance(ranks.gradient, dense_ranks.gradient), 1e-9);
    EXPECT_EQ(ranks.gradient[n / 2].abs().max().item<double>(), 0);
  }
}

TEST(ContinuousLosses, HalfPrecisionIsComputedInFloatAndFloatIsCloseToDouble) {
  const Batch batch = numbered_batch(3, 9, 16);
  for (const bool exponential : {true, false}) {
    const auto loss = [&](const Tensor& z) {
      return exponential ? weighted_repulsion_loss(z, batch.targets, number_kernel(), 0.2)
                         : rank_contrast_loss(z, batch.targets, 2);
    };
    const auto exact = of_z(batch, kDouble, loss), single = of_z(batch, torch::kFloat, loss);
    EXPECT_NEAR(single.loss, exact.loss, 1e-5 * (1 + exact.loss));
    EXPECT_LT(distance(single.gradient.to(kDouble), exact.gradient), 1e-5);
    EXPECT_EQ(loss(batch.z().to(torch::kBFloat16)).scalar_type(), torch::kFloat);
    const torch::NoGradGuard no_grad;
    EXPECT_EQ(loss(batch.z()).item<double>(), exact.loss);
  }
}

TEST(ContinuousLosses, NobodyKnownIsNoGradient) {
  Batch batch = numbered_batch(5, 4, 3);
  batch.targets.value.fill_(std::nan(""));
  for (const bool dense : {true, false}) {
    const auto found = of_z(batch, kDouble, [&](const Tensor& z) {
      return dense ? dense_rank_contrast_loss(z, batch.targets.value, 2)
                   : rank_contrast_loss(z, batch.targets, 2);
    });
    EXPECT_EQ(found.loss, 0);
    EXPECT_EQ(found.gradient.abs().max().item<double>(), 0);
  }
}

TEST(ContinuousLosses, RefuseWhatHasNoMeaning) {
  const Batch batch = numbered_batch(7, 4, 3);
  Targets none = batch.targets;
  none.value = Tensor();
  none.continuous = Tensor();
  EXPECT_THROW(rank_contrast_loss(batch.z(), none, 2), Error);
  EXPECT_THROW(contrastive_loss(batch.z(), none, number_kernel(), 0.1), Error);
  EXPECT_THROW(weighted_repulsion_loss(batch.z(), none, number_kernel(), 0.1), Error);
  none.value = torch::rand({3}, kDouble);
  EXPECT_THROW(rank_contrast_loss(batch.z(), none, 2), Error);
  EXPECT_THROW(rank_contrast_loss(batch.z(), batch.targets, 0), Error);
  EXPECT_THROW(rank_contrast_loss(batch.z(), batch.targets, 2, -1), Error);
  EXPECT_THROW(weighted_repulsion_loss(batch.z(), batch.targets, number_kernel(), 0.1, -1), Error);
}

}  // namespace
}  // namespace wsp::train
