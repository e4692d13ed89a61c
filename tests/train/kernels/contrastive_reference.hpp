#pragma once
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
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

/// How much view i is a positive of anchor t, before any normalisation, from its definition.
inline double pair_weight(const ContrastiveProblem<double>& p, std::int64_t t, std::int64_t i) {
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
    if (std::isnan(d)) return 0;
    w *= std::exp(-d * d / (2 * p.continuous_sigma[c] * p.continuous_sigma[c]));
  }
  return w;
}

/// The loss once more, as the paper's sums read: 2N x 2N loops, weights from their definition, no
/// tile, no shared function. The gradient of it is taken by differences where it is needed.
inline double loss_by_loops(const ContrastiveProblem<double>& p) {
  const std::int64_t views = 2 * p.n;
  const auto weight = [&](std::int64_t t, std::int64_t i) { return pair_weight(p, t, i); };
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

/// The loss and, at some views only, its gradient, [views.size()][dim]: what a batch of tens of
/// thousands can be compared with. Every pair is looked at once, (2n)^2 dim operations in float64,
/// for the loss and each anchor's two sums; a row of the gradient then takes 2n dim of them.
/// Weights from their definition, normalised as in the paper; shares nothing with
/// contrastive_loss_cpu.
inline Evaluated evaluate_at(const ContrastiveProblem<double>& p,
                             const std::vector<std::int64_t>& views, int threads = 2) {
  constexpr std::int64_t kBlock = 64;
  const std::int64_t all = 2 * p.n, blocks = (all + kBlock - 1) / kBlock, dim = p.dim;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  std::vector<double> unit(at(all * dim)), length(at(all));
  std::vector<double> columns(at(blocks * dim * kBlock));  // [block][dim][kBlock]: read along views
  for (std::int64_t t = 0; t < all; ++t) {
    const double* z = p.z + t * dim;
    length[at(t)] = std::sqrt(std::inner_product(z, z + dim, z, 0.0));
    for (std::int64_t k = 0; k < dim; ++k)
      columns[at((t / kBlock * dim + k) * kBlock + t % kBlock)] = unit[at(t * dim + k)] =
          z[k] / length[at(t)];
  }
  // Of anchor t and the views of a block: (cosine - 1) / temperature, which no exponential
  // overflows.
  const auto similarities = [&](std::int64_t t, std::int64_t block, double* s) {
    std::fill_n(s, kBlock, 0.0);
    for (std::int64_t k = 0; k < dim; ++k) {
      const double x = unit[at(t * dim + k)];
      const double* column = columns.data() + (block * dim + k) * kBlock;
      for (std::int64_t i = 0; i < kBlock; ++i) s[i] += x * column[i];
    }
    for (std::int64_t i = 0; i < kBlock; ++i) s[i] = (s[i] - 1) / p.temperature;
  };
  const auto each_pair = [&](std::int64_t t, std::int64_t block, const double* s, auto&& take) {
    for (std::int64_t i = block * kBlock; i < std::min(all, (block + 1) * kBlock); ++i)
      if (i != t) take(i, s[i - block * kBlock], pair_weight(p, t, i));
  };

  std::vector<double> of_anchor(at(all)), total(at(all)), denominator(at(all));
  Evaluated found;
  found.grad.resize(views.size() * at(dim));
  with_threads(threads, [&] {
    tbb::parallel_for(std::int64_t{0}, blocks, [&](std::int64_t rows) {
      const std::int64_t last = std::min(all, (rows + 1) * kBlock);
      std::vector<double> pull(at(kBlock));
      double s[kBlock];
      for (std::int64_t block = 0; block < blocks; ++block)
        for (std::int64_t t = rows * kBlock; t < last; ++t) {
          similarities(t, block, s);
          each_pair(t, block, s, [&](std::int64_t, double similarity, double weight) {
            denominator[at(t)] += std::exp(similarity);
            total[at(t)] += weight;
            pull[at(t - rows * kBlock)] += weight * similarity;
          });
        }
      for (std::int64_t t = rows * kBlock; t < last; ++t)
        of_anchor[at(t)] =
            std::log(denominator[at(t)]) - pull[at(t - rows * kBlock)] / total[at(t)];
    });
    tbb::parallel_for(std::size_t{0}, views.size(), [&](std::size_t row) {
      const std::int64_t t = views[row];
      std::vector<double> sum(at(dim));
      double s[kBlock];
      for (std::int64_t block = 0; block < blocks; ++block) {
        similarities(t, block, s);
        // As an anchor and as a view of the other anchors: probability less weight.
        each_pair(t, block, s, [&](std::int64_t i, double similarity, double weight) {
          const double probability = std::exp(similarity);
          const double factor = probability / denominator[at(t)] - weight / total[at(t)] +
                                probability / denominator[at(i)] - weight / total[at(i)];
          for (std::int64_t k = 0; k < dim; ++k) sum[at(k)] += factor * unit[at(i * dim + k)];
        });
      }
      const double* u = unit.data() + t * dim;
      const double along = std::inner_product(u, u + dim, sum.begin(), 0.0);
      for (std::int64_t k = 0; k < dim; ++k)
        found.grad[row * at(dim) + at(k)] =
            (sum[at(k)] - along * u[k]) /
            (static_cast<double>(all) * p.temperature * length[at(t)]);
    });
  });
  found.loss = std::accumulate(of_anchor.begin(), of_anchor.end(), 0.0) / static_cast<double>(all);
  return found;
}

}  // namespace wsp::train::test
