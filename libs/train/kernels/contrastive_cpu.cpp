#include <tbb/blocked_range.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "io/core/vector_clones.hpp"
#include "train/kernels/contrastive.hpp"
#include "train/kernels/contrastive_pair.hpp"
#include "train/kernels/vector_four.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kRows = 4;     // of a register block of the matrix product
constexpr std::int64_t kColumns = 8;  // of the same
constexpr double kSmallestNorm = 1e-12;

std::int64_t round_up(std::int64_t value, std::int64_t to) { return (value + to - 1) / to * to; }

/// Four columns. Spelled out, since GCC 12 transposes the plain loops instead of widening them.
using UnalignedFour = double __attribute__((vector_size(32), aligned(8), may_alias));
constexpr std::int64_t kFours = kColumns / 4;

/// c[rows][columns] (+)= a[rows][depth] * b[depth][columns]; rows and columns are multiples of the
/// register block, the arrays are padded to them. The order of the sum over depth is fixed.
WSP_VECTOR_CLONES("fma", "default")
void matrix_product(const double* a, std::int64_t a_stride, const double* b, std::int64_t b_stride,
                    double* c, std::int64_t c_stride, std::int64_t rows, std::int64_t columns,
                    std::int64_t depth, bool accumulate) {
  for (std::int64_t row = 0; row < rows; row += kRows)
    for (std::int64_t column = 0; column < columns; column += kColumns) {
      Four sum[kRows][kFours] = {};
      double* block = c + row * c_stride + column;
      if (accumulate)
        for (std::int64_t r = 0; r < kRows; ++r)
          for (std::int64_t k = 0; k < kFours; ++k)
            sum[r][k] = *reinterpret_cast<const UnalignedFour*>(block + r * c_stride + 4 * k);
      const double* left = a + row * a_stride;
      const double* right = b + column;
      for (std::int64_t i = 0; i < depth; ++i, right += b_stride) {
        const Four right_0 = *reinterpret_cast<const UnalignedFour*>(right);
        const Four right_1 = *reinterpret_cast<const UnalignedFour*>(right + 4);
        for (std::int64_t r = 0; r < kRows; ++r) {
          const double value = left[r * a_stride + i];
          const Four factor = {value, value, value, value};
          sum[r][0] += factor * right_0;
          sum[r][1] += factor * right_1;
        }
      }
      for (std::int64_t r = 0; r < kRows; ++r)
        for (std::int64_t k = 0; k < kFours; ++k)
          *reinterpret_cast<UnalignedFour*>(block + r * c_stride + 4 * k) = sum[r][k];
    }
}

template <class T>
void check(const ContrastiveProblem<T>& p, std::int64_t tile) {
  const auto require = [](bool ok, const std::string& what) {
    if (!ok) throw Error(ErrorCode::failure, "contrastive loss: " + what);
  };
  require(p.z != nullptr && p.n >= 1 && p.dim >= 1,
          "expected at least one slice and one dimension, found " + std::to_string(p.n) + " and " +
              std::to_string(p.dim));
  require(p.temperature > 0,
          "the temperature is " + std::to_string(p.temperature) + ", expected a positive one");
  require(p.depth == nullptr || p.sigma > 0,
          "sigma is " + std::to_string(p.sigma) + ", expected a positive one");
  require(p.discrete_columns == 0 || p.discrete != nullptr, "the discrete columns are missing");
  require(p.continuous_columns == 0 || (p.continuous != nullptr && p.continuous_sigma != nullptr),
          "the continuous columns or their sigmas are missing");
  for (std::int64_t c = 0; c < p.continuous_columns; ++c)
    require(p.continuous_sigma[c] > 0, "the sigma of continuous column " + std::to_string(c) +
                                           " is " + std::to_string(p.continuous_sigma[c]) +
                                           ", expected a positive one");
  require(tile >= 1, "tiles of " + std::to_string(tile) + " rows, expected at least 1");
}

/// Run body(first, last) over tiles of [0, count), each by one thread from beginning to end.
template <class Body>
void for_tiles(std::int64_t count, std::int64_t tile, const Body& body) {
  const std::int64_t tiles = (count + tile - 1) / tile;
  wsp::parallel_loop(
      tbb::blocked_range<std::int64_t>(0, tiles, 1),
      [&](const auto& range) {
        for (std::int64_t i = range.begin(); i != range.end(); ++i)
          body(i * tile, std::min(count, (i + 1) * tile));
      },
      tbb::simple_partitioner());
}

/// The loss of one problem. Anchors t and others i are views in [0, 2n); their slices are t mod n.
/// With s = u_t . u_i / tau and normalised weights w, L = scale * sum_ti w_ti (lse_t - s_ti) and
/// dL/ds_ti = scale * (q_t p_ti - w_ti), where p is the softmax of row t and q_t its sum of
/// weights. With weighted repulsion s = (u_t . u_i - 1) / tau, the softmax is that of s_ti (1 -
/// k_ti), k the weight before its normalisation, and the derivative has p_ti (1 - k_ti).
template <class T>
class Contrastive {
 public:
  Contrastive(const ContrastiveProblem<T>& problem, std::int64_t tile)
      : p_(problem),
        views_(2 * problem.n),
        tile_(std::min(tile, views_)),
        u_stride_(round_up(problem.dim, kColumns)),
        t_stride_(round_up(views_, kColumns) + kColumns),
        by_column_(problem.normalisation == Normalisation::reference &&
                   !problem.weighted_repulsion),
        scale_(loss_scale(problem)),
        norm_(static_cast<std::size_t>(views_)),
        lse_(static_cast<std::size_t>(views_)),
        weight_sum_(static_cast<std::size_t>(views_)),
        slice_sum_(static_cast<std::size_t>(problem.n)),
        u_(static_cast<std::size_t>((views_ + kRows) * u_stride_)),
        transposed_(static_cast<std::size_t>(problem.dim * t_stride_)) {}

  double loss() {
    normalise_rows();
    sum_weights();
    std::vector<double> of_anchor(static_cast<std::size_t>(views_));
    for_tiles(views_, tile_, [&](std::int64_t first, std::int64_t last) {
      forward(first, last, of_anchor.data());
    });
    double sum = 0;
    for (const double value : of_anchor) sum += value;
    return scale_ * sum;
  }

  /// After loss().
  void gradient(T* grad) const {
    for_tiles(views_, tile_,
              [&](std::int64_t first, std::int64_t last) { backward(first, last, grad); });
  }

 private:
  [[nodiscard]] std::int64_t slice(std::int64_t view) const {
    return view < p_.n ? view : view - p_.n;
  }

  static double& at(std::vector<double>& v, std::int64_t i) {
    return v[static_cast<std::size_t>(i)];
  }
  static double at(const std::vector<double>& v, std::int64_t i) {
    return v[static_cast<std::size_t>(i)];
  }

  void normalise_rows() {
    for_tiles(views_, 64, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row) {
        const T* z = p_.z + row * p_.dim;
        double square = 0;
        for (std::int64_t k = 0; k < p_.dim; ++k)
          square += static_cast<double>(z[k]) * static_cast<double>(z[k]);
        const double norm = std::sqrt(square);
        at(norm_, row) = norm;
        // Not std::max: a NaN must stay one.
        const double divisor = norm < kSmallestNorm ? kSmallestNorm : norm;
        for (std::int64_t k = 0; k < p_.dim; ++k) {
          const double value = static_cast<double>(z[k]) / divisor;
          at(u_, row * u_stride_ + k) = value;
          at(transposed_, k * t_stride_ + row) = value;
        }
      }
    });
  }

  /// Sum of a slice's weights over all views but the anchor itself. The kernel is symmetric, so the
  /// sum of a column is that of the row.
  void sum_weights() {
    for_tiles(p_.n, 64, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t a = first; a < last; ++a) {
        double others = 0;
        for (std::int64_t b = 0; b < p_.n; ++b)
          if (b != a) others += pair_weight(p_, a, b);
        at(slice_sum_, a) = 1 + 2 * others;
      }
    });
  }

  [[nodiscard]] double similarity(double cosine) const {
    return (p_.weighted_repulsion ? cosine - 1 : cosine) / p_.temperature;
  }
  /// What a similarity counts in the denominator.
  [[nodiscard]] double repulsion(double weight) const {
    return p_.weighted_repulsion ? 1 - weight : 1;
  }

  [[nodiscard]] double normalised_weight(double weight, std::int64_t anchor_slice,
                                         std::int64_t other_slice) const {
    return weight / at(slice_sum_, by_column_ ? other_slice : anchor_slice);
  }

  /// Similarities over tau of rows [first, last) and columns [left, right), into s[..][tile + pad].
  void similarities(std::int64_t first, std::int64_t last, std::int64_t left, std::int64_t right,
                    std::vector<double>& s) const {
    matrix_product(u_.data() + first * u_stride_, u_stride_, transposed_.data() + left, t_stride_,
                   s.data(), s_stride(), round_up(last - first, kRows),
                   round_up(right - left, kColumns), p_.dim, false);
  }

  [[nodiscard]] std::int64_t s_stride() const { return round_up(tile_, kColumns); }
  [[nodiscard]] std::vector<double> tile_buffer() const {
    return std::vector<double>(static_cast<std::size_t>(round_up(tile_, kRows) * s_stride()));
  }

  void forward(std::int64_t first, std::int64_t last, double* of_anchor) {
    const auto rows = static_cast<std::size_t>(last - first);
    std::vector<double> s = tile_buffer();
    std::vector<double> largest(rows, -std::numeric_limits<double>::infinity());
    std::vector<double> sum(rows), pull(rows), weights(rows);
    for (std::int64_t left = 0; left < views_; left += tile_) {
      const std::int64_t right = std::min(views_, left + tile_);
      similarities(first, last, left, right, s);
      for (std::int64_t t = first; t < last; ++t) {
        const auto r = static_cast<std::size_t>(t - first);
        double* row = s.data() + (t - first) * s_stride();
        double top = largest[r];
        for (std::int64_t i = left; i < right; ++i) {
          double& value = row[i - left];
          value = similarity(value);
          if (i == t) continue;
          const double weight = pair_weight(p_, slice(t), slice(i));
          if (weight != 0) {
            const double w = normalised_weight(weight, slice(t), slice(i));
            pull[r] += w * value;
            weights[r] += w;
          }
          value *= repulsion(weight);
          if (value > top) top = value;
        }
        if (top > largest[r]) {
          sum[r] *= std::exp(largest[r] - top);
          largest[r] = top;
        }
        for (std::int64_t i = left; i < right; ++i)
          if (i != t) sum[r] += std::exp(row[i - left] - top);
      }
    }
    for (std::int64_t t = first; t < last; ++t) {
      const auto r = static_cast<std::size_t>(t - first);
      at(lse_, t) = largest[r] + std::log(sum[r]);
      at(weight_sum_, t) = by_column_ ? weights[r] : 1;
      of_anchor[t] = at(weight_sum_, t) * at(lse_, t) - pull[r];
    }
  }

  void backward(std::int64_t first, std::int64_t last, T* grad) const {
    const std::int64_t rows = last - first;
    std::vector<double> g = tile_buffer();
    std::vector<double> of_u(static_cast<std::size_t>(round_up(rows, kRows) * u_stride_));
    for (std::int64_t left = 0; left < views_; left += tile_) {
      const std::int64_t right = std::min(views_, left + tile_);
      similarities(first, last, left, right, g);
      for (std::int64_t t = first; t < last; ++t) {
        double* row = g.data() + (t - first) * s_stride();
        for (std::int64_t i = left; i < right; ++i) {
          // u_t takes part as the anchor of i and as the other of anchor i: both at once, so that
          // no thread writes where another one does.
          double& value = row[i - left];
          if (i == t) {
            value = 0;
            continue;
          }
          const std::int64_t a = slice(t);
          const std::int64_t b = slice(i);
          const double weight = pair_weight(p_, a, b);
          const double exponent = similarity(value) * repulsion(weight);
          value = repulsion(weight) * (at(weight_sum_, t) * std::exp(exponent - at(lse_, t)) +
                                       at(weight_sum_, i) * std::exp(exponent - at(lse_, i)));
          if (weight != 0)
            value -= normalised_weight(weight, a, b) + normalised_weight(weight, b, a);
        }
      }
      matrix_product(g.data(), s_stride(), u_.data() + left * u_stride_, u_stride_, of_u.data(),
                     u_stride_, round_up(rows, kRows), u_stride_, right - left, left != 0);
    }
    for (std::int64_t t = first; t < last; ++t) {
      const double* u = u_.data() + t * u_stride_;
      const double* du = of_u.data() + (t - first) * u_stride_;
      const double norm = at(norm_, t);
      double along = 0;  // the length of u is fixed, what points along it has no effect
      if (!(norm < kSmallestNorm))
        for (std::int64_t k = 0; k < p_.dim; ++k) along += u[k] * du[k];
      const double factor = scale_ / p_.temperature / (norm < kSmallestNorm ? kSmallestNorm : norm);
      for (std::int64_t k = 0; k < p_.dim; ++k)
        grad[t * p_.dim + k] = static_cast<T>(factor * (du[k] - u[k] * along));
    }
  }

  const ContrastiveProblem<T>& p_;
  std::int64_t views_, tile_, u_stride_, t_stride_;
  bool by_column_;
  double scale_;
  std::vector<double> norm_, lse_, weight_sum_;  // [2n]
  std::vector<double> slice_sum_;                // [n]
  std::vector<double> u_;                        // [2n + kRows][u_stride]: unit rows
  std::vector<double> transposed_;               // [dim][t_stride]
};

}  // namespace

template <class T>
double contrastive_loss_cpu(const ContrastiveProblem<T>& problem, std::int64_t tile, T* grad) {
  check(problem, tile);
  Contrastive<T> contrastive(problem, tile);
  const double loss = contrastive.loss();
  if (grad != nullptr) contrastive.gradient(grad);
  return loss;
}

template double contrastive_loss_cpu<float>(const ContrastiveProblem<float>&, std::int64_t, float*);
template double contrastive_loss_cpu<double>(const ContrastiveProblem<double>&, std::int64_t,
                                             double*);

}  // namespace wsp::train
