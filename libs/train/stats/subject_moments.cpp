#include "train/stats/subject_moments.hpp"

#include <cmath>
#include <limits>

#include "io/core/parallel.hpp"
#include "io/core/vector_clones.hpp"
#include "train/stats/binary_logistic.hpp"

namespace wsp::train {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

WSP_VECTOR_CLONES("avx2", "default")
void add(const double* x, std::int64_t d, double* sums) {
  for (std::int64_t j = 0; j < d; ++j) sums[j] += x[j];
}

WSP_VECTOR_CLONES("avx2", "default")
void add_deviations(const double* x, const double* centre, std::int64_t d, double* sums,
                    double* squares) {
  for (std::int64_t j = 0; j < d; ++j) {
    const double deviation = x[j] - centre[j];
    sums[j] += deviation;
    squares[j] += deviation * deviation;
  }
}

WSP_VECTOR_CLONES("avx2", "default")
void add_weighted(const double* x, const double* y, double w, std::int64_t d, double* a,
                  double* b) {
  for (std::int64_t j = 0; j < d; ++j) {
    a[j] += w * x[j];
    b[j] += w * y[j];
  }
}

}  // namespace

SubjectMoments::SubjectMoments(const ProbeSet& set) : set_(set) {
  const std::int64_t d = set.dimensions, subjects = set.subjects();
  const auto each_slice = [&](auto&& visit) {
    wsp::parallel_loop(std::int64_t{0}, subjects, [&](std::int64_t s) {
      for (std::int64_t r = set.first[at(s)]; r < set.first[at(s) + 1]; ++r)
        visit(s, set.x.data() + r * d);
    });
  };
  centre_.assign(at(d), 0);
  sums_.assign(at(subjects * d), 0);
  squares_.assign(at(subjects * d), 0);
  each_slice([&](std::int64_t s, const double* x) { add(x, d, sums_.data() + s * d); });
  for (std::int64_t s = 0; s < subjects; ++s) add(sums_.data() + s * d, d, centre_.data());
  for (double& m : centre_) m /= static_cast<double>(set.rows());
  sums_.assign(sums_.size(), 0);
  each_slice([&](std::int64_t s, const double* x) {
    add_deviations(x, centre_.data(), d, sums_.data() + s * d, squares_.data() + s * d);
  });
}

void SubjectMoments::standardiser(std::span<const double> weight, std::vector<double>& mean,
                                  std::vector<double>& scale) const {
  const std::int64_t d = set_.dimensions;
  std::vector<double> shift(at(d)), square(at(d));
  double n = 0;
  for (std::int64_t s = 0; s < set_.subjects(); ++s) {
    if (!(weight[at(s)] > 0)) continue;
    n += weight[at(s)] * static_cast<double>(set_.first[at(s) + 1] - set_.first[at(s)]);
    add_weighted(sums_.data() + s * d, squares_.data() + s * d, weight[at(s)], d, shift.data(),
                 square.data());
  }
  mean.resize(at(d));
  scale.assign(at(d), 1);
  // What rounding alone can leave of a constant is no scale.
  constexpr double eps = std::numeric_limits<double>::epsilon();
  for (std::int64_t j = 0; j < d; ++j) {
    shift[at(j)] /= n;
    square[at(j)] /= n;
    mean[at(j)] = centre_[at(j)] + shift[at(j)];
    double variance = square[at(j)] - shift[at(j)] * shift[at(j)];
    // These subjects lie close together and far from the others: the difference has lost its
    // digits.
    if (!(variance > 1e-4 * square[at(j)])) variance = by_slices(weight, j, mean[at(j)]);
    const double noise = n * eps * mean[at(j)];
    if (variance > n * eps * variance + noise * noise) scale[at(j)] = std::sqrt(variance);
  }
}

double SubjectMoments::by_slices(std::span<const double> weight, std::int64_t feature,
                                 double& mean) const {
  double n = 0, sum = 0, squares = 0;
  const auto each_slice = [&](auto&& visit) {
    for (std::int64_t s = 0; s < set_.subjects(); ++s)
      for (std::int64_t r = set_.first[at(s)]; r < set_.first[at(s) + 1] && weight[at(s)] > 0; ++r)
        visit(set_.x[at(r * set_.dimensions + feature)], weight[at(s)]);
  };
  each_slice([&](double x, double w) {
    n += w;
    sum += w * x;
  });
  mean = sum / n;
  each_slice([&](double x, double w) { squares += w * ((x - mean) * (x - mean)); });
  return squares / n;
}

}  // namespace wsp::train
