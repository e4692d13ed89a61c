#pragma once
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "train/kernels/contrastive.hpp"

namespace wsp::train::test {

/// A random batch, owning what the ContrastiveProblem borrows.
struct Batch {
  std::vector<double> z, depth, continuous;
  std::vector<std::int64_t> label, discrete;
  std::vector<double> continuous_sigma{0.7, 1.3};
  std::int64_t n, dim;

  Batch(std::uint32_t seed, std::int64_t slices, std::int64_t width, int classes,
        bool some_unknown = true)
      : n(slices), dim(width) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> uniform;
    std::uniform_int_distribution<std::int64_t> a_class(some_unknown ? -1 : 0, classes - 1);
    for (std::int64_t i = 0; i < 2 * n * dim; ++i) z.push_back(normal(random));
    for (std::int64_t i = 0; i < n; ++i) {
      depth.push_back(uniform(random));
      label.push_back(a_class(random));
    }
    for (std::int64_t i = 0; i < 2 * n; ++i) {
      discrete.push_back(std::uniform_int_distribution<std::int64_t>(-1, 1)(random));
      const double value = normal(random);
      const bool unknown = some_unknown && i % 7 == 3;
      continuous.push_back(unknown ? std::numeric_limits<double>::quiet_NaN() : value);
    }
  }

  [[nodiscard]] ContrastiveProblem<double> problem() const {
    ContrastiveProblem<double> p;
    p.z = z.data();
    p.n = n;
    p.dim = dim;
    p.label = label.data();
    p.depth = depth.data();
    p.sigma = 0.3;
    p.temperature = 0.2;
    return p;
  }
};

/// The members of the family that the tests go through, by number.
constexpr int kVariants = 9;
inline ContrastiveProblem<double> variant(const Batch& batch, int number) {
  auto p = batch.problem();
  switch (number) {
    case 1:
      p.shape = KernelShape::laplacian;
      break;
    case 2:
      p.depth = nullptr;  // SupCon
      break;
    case 3:
      p.label_matters = false;  // depth-Aware
      break;
    case 4:
      p.own_view_only = true;  // SimCLR
      break;
    case 5:
      p.label = nullptr;  // SimCLR once more
      break;
    case 6:
      p.discrete = batch.discrete.data();
      p.discrete_columns = 2;
      p.continuous = batch.continuous.data();
      p.continuous_sigma = batch.continuous_sigma.data();
      p.continuous_columns = 2;
      break;
    case 7:
      p.continuous = batch.continuous.data();
      p.continuous_sigma = batch.continuous_sigma.data();
      p.continuous_columns = 1;
      p.label_matters = false;
      p.depth = nullptr;
      break;
    case 8:
      p.temperature = 0.001;
      break;
    default:
      break;
  }
  return p;
}

/// The same problem for the CUDA kernels: of another type of z, which is given by itself.
inline ContrastiveProblem<void> with_embeddings(const ContrastiveProblem<double>& p,
                                                const void* z) {
  ContrastiveProblem<void> other;
  other.z = z;
  other.n = p.n;
  other.dim = p.dim;
  other.label = p.label;
  other.depth = p.depth;
  other.discrete = p.discrete;
  other.discrete_columns = p.discrete_columns;
  other.continuous = p.continuous;
  other.continuous_sigma = p.continuous_sigma;
  other.continuous_columns = p.continuous_columns;
  other.shape = p.shape;
  other.normalisation = p.normalisation;
  other.sigma = p.sigma;
  other.temperature = p.temperature;
  other.label_matters = p.label_matters;
  other.own_view_only = p.own_view_only;
  return other;
}

}  // namespace wsp::train::test
