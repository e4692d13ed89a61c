#pragma once
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "train/kernels/contrastive.hpp"

namespace wsp::train::test {

/// Run with `threads` TBB threads, also where the machine has fewer cores.
template <class Body>
auto with_threads(int threads, const Body& body) {
  tbb::global_control control(tbb::global_control::max_allowed_parallelism,
                              static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  return arena.execute(body);
}

/// Loss and gradient of one call.
struct Evaluated {
  double loss = 0;
  std::vector<double> grad;
};

inline Evaluated evaluate(const ContrastiveProblem<double>& p, std::int64_t tile, int threads = 2) {
  Evaluated e;
  e.grad.resize(static_cast<std::size_t>(2 * p.n * p.dim));
  e.loss = with_threads(threads, [&] { return contrastive_loss_cpu(p, tile, e.grad.data()); });
  return e;
}

/// The loss once more, as the paper's sums read: 2N x 2N loops, weights from their definition, no
/// tile, no shared function. The gradient of it is taken by differences where it is needed.
inline double loss_by_loops(const ContrastiveProblem<double>& p) {
  const std::int64_t views = 2 * p.n;
  const auto weight = [&](std::int64_t t, std::int64_t i) -> double {
    if (t == i) return 0;
    const std::int64_t a = t % p.n;
    const std::int64_t b = i % p.n;
    if (a == b) return 1;
    if (p.own_view_only) return 0;
    if (p.label_matters) {
      if (p.label == nullptr) return 0;
      if (p.label[a] < 0 || p.label[b] < 0 || p.label[a] != p.label[b]) return 0;
    }
    double w = 1;
    for (std::int64_t c = 0; c < p.discrete_columns; ++c) {
      const std::int64_t va = p.discrete[c * p.n + a];
      const std::int64_t vb = p.discrete[c * p.n + b];
      if (va < 0 || va != vb) return 0;
    }
    if (p.depth != nullptr) {
      const double d = std::abs(p.depth[a] - p.depth[b]);
      w *= std::exp(-(p.shape == KernelShape::rbf ? d * d : d) / (2 * p.sigma * p.sigma));
    }
    for (std::int64_t c = 0; c < p.continuous_columns; ++c) {
      const double d = p.continuous[c * p.n + a] - p.continuous[c * p.n + b];
      w *= std::exp(-d * d / (2 * p.continuous_sigma[c] * p.continuous_sigma[c]));
    }
    return w;
  };
  const auto similarity = [&](std::int64_t t, std::int64_t i) {
    double product = 0, tt = 0, ii = 0;
    for (std::int64_t k = 0; k < p.dim; ++k) {
      const double x = p.z[t * p.dim + k];
      const double y = p.z[i * p.dim + k];
      product += x * y;
      tt += x * x;
      ii += y * y;
    }
    return product / std::sqrt(tt) / std::sqrt(ii) / p.temperature;
  };
  double sum = 0;
  for (std::int64_t t = 0; t < views; ++t) {
    double denominator = 0;
    for (std::int64_t j = 0; j < views; ++j)
      if (j != t) denominator += std::exp(similarity(t, j) - 1 / p.temperature);
    for (std::int64_t i = 0; i < views; ++i) {
      if (weight(t, i) == 0) continue;
      double total = 0;
      for (std::int64_t k = 0; k < views; ++k)
        total += p.normalisation == Normalisation::paper ? weight(t, k) : weight(k, i);
      sum -= weight(t, i) / total * (similarity(t, i) - 1 / p.temperature - std::log(denominator));
    }
  }
  const bool supcon = p.label_matters && !p.own_view_only && p.label != nullptr &&
                      p.depth == nullptr && p.discrete_columns + p.continuous_columns == 0;
  const bool mean = p.normalisation == Normalisation::paper || supcon;
  return sum / static_cast<double>(mean ? views : p.n);
}

}  // namespace wsp::train::test
