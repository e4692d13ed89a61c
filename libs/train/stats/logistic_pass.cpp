#include "train/stats/logistic_pass.hpp"

#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>

#include "io/core/parallel.hpp"
#include "io/core/vector_clones.hpp"
#include "train/kernels/vector_four.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kGroup = 4;  // rows that one pass over the coefficients serves
constexpr std::int64_t kTile = 8;   // rows that stay in the cache while every problem looks at them
constexpr std::int64_t kBlock = 1 << 18;  // features that one task reads at least: some 0.1 ms

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

WSP_VECTOR_CLONES("fma", "default")
void widen(const float* x, std::int64_t n, double* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<double>(x[i]);
}

// z[r] += x[r] . v for up to 4 rows of d features.
WSP_VECTOR_CLONES("fma", "default")
void products(const double* x, std::int64_t rows, std::int64_t d, const double* v, double* z) {
  const std::int64_t whole = d / 8 * 8;
  Four even[kGroup] = {}, odd[kGroup] = {}, v0, v1, x0, x1;
  if (rows == kGroup) {
    for (std::int64_t j = 0; j < whole; j += 8) {
      load_four(v + j, v0);
      load_four(v + j + 4, v1);
#pragma GCC unroll 4
      for (std::int64_t r = 0; r < kGroup; ++r) {
        load_four(x + r * d + j, x0);
        load_four(x + r * d + j + 4, x1);
        even[r] += x0 * v0;
        odd[r] += x1 * v1;
      }
    }
  } else {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t j = 0; j < whole; j += 8) {
        load_four(v + j, v0);
        load_four(v + j + 4, v1);
        load_four(x + r * d + j, x0);
        load_four(x + r * d + j + 4, x1);
        even[r] += x0 * v0;
        odd[r] += x1 * v1;
      }
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    z[r] += sum_four(even[r] + odd[r]);
    for (std::int64_t j = whole; j < d; ++j) z[r] += x[r * d + j] * v[j];
  }
}

// g += sum over up to 4 rows of r[k] * x[k].
WSP_VECTOR_CLONES("fma", "default")
void add_rows(const double* x, std::int64_t rows, std::int64_t d, const double* r, double* g) {
  std::int64_t j = 0;
  if (rows == kGroup)
    for (; j + 4 <= d; j += 4) {
      Four sum, a, b, c, e;
      load_four(g + j, sum);
      load_four(x + j, a);
      load_four(x + d + j, b);
      load_four(x + 2 * d + j, c);
      load_four(x + 3 * d + j, e);
      store_four(g + j, sum + ((r[0] * a + r[1] * b) + (r[2] * c + r[3] * e)));
    }
  for (; j < d; ++j)
    for (std::int64_t k = 0; k < rows; ++k) g[j] += r[k] * x[k * d + j];
}

double log1p_exp(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

}  // namespace

double logistic(double z) {
  const double e = std::exp(-std::abs(z));
  return z >= 0 ? 1 / (1 + e) : e / (1 + e);
}

// Consecutive subjects.
struct LogisticPass::Block {
  std::int64_t first, last;
};

// Of one problem over one block: of losses, of residuals, of residuals times features.
struct LogisticPass::Sums {
  double loss = 0, residuals = 0;
  std::vector<double> raw{};
};

LogisticPass::LogisticPass(const ProbeSet& set, std::span<const float> narrow)
    : set_(set), narrow_(narrow) {}

void LogisticPass::add(const Block& block, std::span<const LogisticPoint> points,
                       std::span<const double> directions, std::span<Sums> sums) const {
  const std::int64_t d = set_.dimensions;
  for (Sums& s : sums) s.raw.assign(at(d), 0);
  std::vector<double> wide(narrow_.empty() ? 0 : at(kTile * d));
  for (std::int64_t s = block.first; s < block.last; ++s) {
    const std::int64_t end = set_.first[at(s) + 1];
    for (std::int64_t tile = set_.first[at(s)]; tile < end; tile += kTile) {
      const std::int64_t rows = std::min(kTile, end - tile);
      const double* x = set_.x.data() + tile * d;
      if (!narrow_.empty()) {
        widen(narrow_.data() + tile * d, rows * d, wide.data());
        x = wide.data();
      }
      for (std::size_t p = 0; p < points.size(); ++p) {
        const double weight = points[p].problem->weight[at(s)];
        if (weight > 0)
          add_tile(x, rows, d, directions.data() + p * at(d + 1), weight,
                   points[p].problem->positive[at(s)] != 0 ? 1 : 0, sums[p]);
      }
    }
  }
}

// direction: [dimensions + 1], on features as they are in memory, the last the offset.
void LogisticPass::add_tile(const double* x, std::int64_t rows, std::int64_t d,
                            const double* direction, double weight, double y, Sums& sums) {
  for (std::int64_t first = 0; first < rows; first += kGroup) {
    const std::int64_t group = std::min(kGroup, rows - first);
    double z[kGroup] = {direction[d], direction[d], direction[d], direction[d]}, residual[kGroup];
    products(x + first * d, group, d, direction, z);
    for (std::int64_t k = 0; k < group; ++k) {
      sums.loss += weight * (log1p_exp(z[k]) - y * z[k]);
      residual[k] = weight * (logistic(z[k]) - y);
      sums.residuals += residual[k];
    }
    add_rows(x + first * d, group, d, residual, sums.raw.data());
  }
}

void LogisticPass::operator()(std::span<LogisticPoint> points) const {
  const std::int64_t d = set_.dimensions;
  std::vector<double> directions(points.size() * at(d + 1));
  for (std::size_t p = 0; p < points.size(); ++p) {
    const std::vector<double>& w = *points[p].at;
    double* direction = directions.data() + p * at(d + 1);
    direction[d] = w[at(d)];
    for (std::int64_t j = 0; j < d; ++j) {
      direction[j] = w[at(j)] / points[p].problem->scale[at(j)];
      direction[d] -= direction[j] * points[p].problem->mean[at(j)];
    }
  }
  // Blocks follow from the set alone, and so does the order of the sums.
  std::vector<Block> blocks;
  const std::int64_t least = kBlock / d + 1;
  for (std::int64_t s = 0, first = 0; s < set_.subjects(); ++s) {
    if (s + 1 < set_.subjects() && set_.first[at(s) + 1] - set_.first[at(first)] < least) continue;
    blocks.push_back({first, s + 1});
    first = s + 1;
  }
  std::vector<Sums> sums(blocks.size() * points.size());
  const auto task = [&](std::size_t b) {
    add(blocks[b], points, directions, std::span(sums).subspan(b * points.size(), points.size()));
  };
  // Isolated: a thread that waits for the end of a pass begins no other fit.
  if (blocks.size() == 1)
    task(0);
  else
    tbb::this_task_arena::isolate([&] { wsp::parallel_loop(std::size_t{0}, blocks.size(), task); });
  for (std::size_t p = 0; p < points.size(); ++p) {
    Sums& total = sums[p];
    for (std::size_t b = 1; b < blocks.size(); ++b) {
      const Sums& part = sums[b * points.size() + p];
      total.loss += part.loss;
      total.residuals += part.residuals;
      for (std::int64_t j = 0; j < d; ++j) total.raw[at(j)] += part.raw[at(j)];
    }
    const LogisticProblem& problem = *points[p].problem;
    const std::vector<double>& w = *points[p].at;
    double penalty = 0;
    std::vector<double>& gradient = points[p].gradient;
    gradient.resize(at(d) + 1);
    for (std::int64_t j = 0; j < d; ++j) {
      penalty += w[at(j)] * w[at(j)];
      gradient[at(j)] = problem.c * (total.raw[at(j)] - problem.mean[at(j)] * total.residuals) /
                            problem.scale[at(j)] +
                        w[at(j)];
    }
    gradient[at(d)] = problem.c * total.residuals;
    points[p].value = problem.c * total.loss + penalty / 2;
  }
}

}  // namespace wsp::train
