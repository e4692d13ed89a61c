#pragma once

#include <cmath>

#include "train/model/contrastive_problem.hpp"
#include "train/model/kernel_rows.hpp"
#include "train/model/losses.hpp"

/// Batches, kernels and gradients for the tests of losses.
namespace wsp::train::test {

using torch::Tensor;

inline constexpr auto kLong = torch::kLong;

inline constexpr auto kDouble = torch::kDouble;

struct Batch {
  Tensor z1, z2;
  Targets targets;
  [[nodiscard]] Tensor z() const { return torch::cat({z1, z2}); }
};

inline Batch random_batch(std::int64_t seed, std::int64_t n, std::int64_t dim,
                          std::int64_t classes) {
  torch::manual_seed(static_cast<std::uint64_t>(seed));
  Batch batch{torch::randn({n, dim}, kDouble), torch::randn({n, dim}, kDouble), {}};
  batch.targets.label = torch::randint(-1, classes, {n}, kLong);
  batch.targets.depth = torch::rand({n}, kDouble);
  return batch;
}

inline void add_columns(Batch& batch) {
  const std::int64_t n = batch.z1.size(0);
  batch.targets.discrete = torch::randint(-1, 2, {2, n}, kLong);
  batch.targets.continuous = torch::rand({2, n}, kDouble);
  batch.targets.continuous_sigma = {0.7, 1.3};
}

inline KernelOptions wsp_kernel() { return {}; }

inline KernelOptions supcon_kernel() {
  KernelOptions kernel;
  kernel.use_depth = false;
  return kernel;
}

inline KernelOptions depth_kernel() {
  KernelOptions kernel;
  kernel.use_label = false;
  return kernel;
}

inline KernelOptions simclr_kernel() {
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

inline ValueAndGradient contrastive(const Tensor& z, const Targets& targets,
                                    const KernelOptions& kernel, double temperature,
                                    std::int64_t tile) {
  return differentiate({z}, [&](const std::vector<Tensor>& leaves) {
    return contrastive_loss(leaves[0], targets, kernel, temperature, tile);
  });
}

inline double distance(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

/// The formula, pair by pair, from scalars.
inline double contrastive_by_loops(const Batch& batch, const KernelOptions& kernel,
                                   double temperature) {
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

// Against the formula and finite differences ---------------------------------------------------

inline std::vector<KernelOptions> every_kernel() {
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

}  // namespace wsp::train::test
