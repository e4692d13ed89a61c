#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "io/core/vector_clones.hpp"
#include "train/kernels/rank_contrast.hpp"
#include "train/kernels/vector_four.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kLanes = 4;  // rows are padded to it with zeros

/// |a - b| of rows of `length` numbers, by the differences: products would lose what two views of a
/// slice differ in.
WSP_VECTOR_CLONES("fma", "default")
double distance(const double* a, const double* b, std::int64_t length) {
  Four sum{};
  for (std::int64_t k = 0; k < length; k += kLanes) {
    Four x, y;
    load_four(a + k, x);
    load_four(b + k, y);
    const Four difference = x - y;
    sum += difference * difference;
  }
  return std::sqrt(sum_four(sum));
}

/// to += factor * (a - b)
WSP_VECTOR_CLONES("fma", "default")
void add_difference(double factor, const double* a, const double* b, std::int64_t length,
                    double* to) {
  const Four factors = {factor, factor, factor, factor};
  for (std::int64_t k = 0; k < length; k += kLanes) {
    Four x, y, sum;
    load_four(a + k, x);
    load_four(b + k, y);
    load_four(to + k, sum);
    sum += factors * (x - y);
    store_four(to + k, sum);
  }
}

/// log of a sum of exponentials that grows term by term and never overflows or vanishes.
class LogSum {
 public:
  void add(double exponent, double times = 1) {
    if (exponent <= top_) {
      sum_ += times * std::exp(exponent - top_);
    } else {
      sum_ = sum_ * std::exp(top_ - exponent) + times;
      top_ = exponent;
    }
  }
  [[nodiscard]] double value() const { return top_ + std::log(sum_); }

 private:
  double top_ = -std::numeric_limits<double>::infinity(), sum_ = 0;
};

/// The views of known y, in the order of y: then those whose y is at least as far from an anchor's
/// as another's are a part at either end.
template <class T>
class RankContrast {
 public:
  RankContrast(const RankContrastProblem<T>& p, std::int64_t tile)
      : p_(p), stride_((p.dim + kLanes - 1) / kLanes * kLanes) {
    for (std::int64_t view = 0; view < 2 * p.n; ++view)
      if (!std::isnan(p.value[view % p.n])) view_.push_back(view);
    std::stable_sort(view_.begin(), view_.end(),
                     [&](auto a, auto b) { return p.value[a % p.n] < p.value[b % p.n]; });
    views_ = static_cast<std::int64_t>(view_.size());
    tile_ = std::min(tile, std::max<std::int64_t>(views_, 1));
    rows_.resize(static_cast<std::size_t>(views_ * stride_));
    for (std::int64_t i = 0; i < views_; ++i) {
      const std::int64_t view = view_[static_cast<std::size_t>(i)];
      y_.push_back(p.value[view % p.n]);
      std::copy_n(p.z + view * p.dim, p.dim, rows_.data() + i * stride_);
    }
  }

  /// The loss; dL/dz into grad where that is not null.
  double run(T* grad) {
    if (grad != nullptr) {
      std::fill_n(grad, 2 * p_.n * p_.dim, T{0});
      gradient_.assign(rows_.size(), 0);
      slope_.resize(static_cast<std::size_t>(tile_ * views_));
    }
    std::vector<double> of_anchor(static_cast<std::size_t>(views_));
    for (std::int64_t first = 0; first < views_; first += tile_) {
      const std::int64_t last = std::min(views_, first + tile_);
      wsp::parallel_loop(first, last, [&](std::int64_t i) {
        of_anchor[static_cast<std::size_t>(i)] = anchor(i, grad == nullptr ? nullptr : slopes(i));
      });
      if (grad == nullptr) continue;
      // Each view as the other of this tile's anchors: a row of the gradient is one thread's.
      wsp::parallel_loop(std::int64_t{0}, views_, [&](std::int64_t k) {
        for (std::int64_t i = first; i < last; ++i)
          add_difference(slopes(i)[k], row(k), row(i), stride_, gradient_.data() + k * stride_);
      });
      // And each of them as the anchor.
      wsp::parallel_loop(first, last, [&](std::int64_t i) {
        for (std::int64_t k = 0; k < views_; ++k)
          add_difference(slopes(i)[k], row(i), row(k), stride_, gradient_.data() + i * stride_);
      });
    }
    const double pairs =
        std::max(1.0, static_cast<double>(views_) * static_cast<double>(views_ - 1));
    if (grad != nullptr)
      for (std::int64_t i = 0; i < views_; ++i)
        for (std::int64_t k = 0; k < p_.dim; ++k)
          grad[view_[static_cast<std::size_t>(i)] * p_.dim + k] =
              static_cast<T>(gradient_[static_cast<std::size_t>(i * stride_ + k)] / pairs);
    return std::accumulate(of_anchor.begin(), of_anchor.end(), 0.0) / pairs;
  }

 private:
  [[nodiscard]] const double* row(std::int64_t i) const { return rows_.data() + i * stride_; }
  /// Of anchor i and every k: dL/d|z_i - z_k| / |z_i - z_k|, not yet divided by the pairs.
  double* slopes(std::int64_t i) { return slope_.data() + i % tile_ * views_; }

  /// The others of anchor i, those of the farthest y first, and where each run of equally far ones
  /// ends.
  void rank(std::int64_t i, std::vector<std::int64_t>& others,
            std::vector<std::size_t>& ends) const {
    const double y = y_[static_cast<std::size_t>(i)];
    const auto apart = [&](std::int64_t k) {
      return std::fabs(y_[static_cast<std::size_t>(k)] - y);
    };
    double run = 0;
    for (std::int64_t low = 0, high = views_ - 1; low <= high;) {
      const std::int64_t k = apart(low) > apart(high) ? low++ : high--;
      if (k == i) continue;
      if (!others.empty() && apart(k) != run) ends.push_back(others.size());
      run = apart(k);
      others.push_back(k);
    }
    ends.push_back(others.size());
  }

  /// The sum over anchor i's pairs; its slopes where `slope` is not null.
  double anchor(std::int64_t i, double* slope) const {
    std::vector<std::int64_t> others;
    std::vector<std::size_t> ends;
    rank(i, others, ends);
    std::vector<double> far(others.size()), log_sum(ends.size());
    LogSum denominator;
    double loss = 0;
    for (std::size_t run = 0, at = 0; run < ends.size(); ++run) {
      const std::size_t begin = at;
      for (; at < ends[run]; ++at) {
        far[at] = distance(row(i), row(others[at]), stride_);
        denominator.add(-far[at] / p_.temperature);
        loss += far[at] / p_.temperature;
      }
      if (at > begin)
        loss += static_cast<double>(at - begin) * (log_sum[run] = denominator.value());
    }
    if (slope == nullptr) return loss;
    // k stands in the denominator of every j that is not farther: p_k = exp(s_k) sum_j 1 / Z_j.
    slope[i] = 0;
    LogSum inverse;
    for (std::size_t run = ends.size(); run-- > 0;) {
      const std::size_t begin = run == 0 ? 0 : ends[run - 1];
      if (begin == ends[run]) continue;
      inverse.add(-log_sum[run], static_cast<double>(ends[run] - begin));
      const double log_inverse = inverse.value();
      for (std::size_t at = begin; at < ends[run]; ++at) {
        const double p = std::exp(log_inverse - far[at] / p_.temperature);
        slope[others[at]] = far[at] == 0 ? 0 : (1 - p) / (p_.temperature * far[at]);
      }
    }
    return loss;
  }

  const RankContrastProblem<T>& p_;
  std::int64_t stride_, views_ = 0, tile_ = 1;
  std::vector<std::int64_t> view_;        // [M]: which view of the problem
  std::vector<double> y_, rows_;          // [M], [M][stride]
  std::vector<double> gradient_, slope_;  // [M][stride], [tile][M]
};

template <class T>
void check(const RankContrastProblem<T>& p, std::int64_t tile) {
  const auto require = [](bool ok, const std::string& what) {
    if (!ok) throw Error(ErrorCode::failure, "Rank-N-Contrast: " + what);
  };
  require(p.z != nullptr && p.value != nullptr && p.n >= 1 && p.dim >= 1,
          "expected at least one slice with a value and one dimension, found " +
              std::to_string(p.n) + " and " + std::to_string(p.dim));
  require(p.temperature > 0 && std::isfinite(p.temperature),
          "the temperature is " + std::to_string(p.temperature) + ", expected a positive one");
  require(tile >= 1, "tiles of " + std::to_string(tile) + " rows, expected at least 1");
  require(std::none_of(p.value, p.value + p.n, [](double y) { return std::isinf(y); }),
          "a value is infinite");
}

}  // namespace

template <class T>
double rank_contrast_loss_cpu(const RankContrastProblem<T>& problem, std::int64_t tile, T* grad) {
  check(problem, tile);
  return RankContrast<T>(problem, tile).run(grad);
}

template double rank_contrast_loss_cpu<float>(const RankContrastProblem<float>&, std::int64_t,
                                              float*);
template double rank_contrast_loss_cpu<double>(const RankContrastProblem<double>&, std::int64_t,
                                               double*);

}  // namespace wsp::train
