#include "train/model/losses.hpp"

#include <limits>

#include "io/core/error.hpp"
#include "train/model/kernel_rows.hpp"

namespace wsp::train {
namespace {

constexpr double kVarianceEps = 1e-5;

/// Number of slices of two matrices of equal shape.
std::int64_t slices_of_pair(const torch::Tensor& a, const torch::Tensor& b) {
  require_of_loss(a.dim() == 2 && a.sizes() == b.sizes() && a.size(0) > 0,
                  "expected two matrices of the same shape [n, dim]");
  return a.size(0);
}

/// K divided by the sums of its rows, in the type of `like`.
torch::Tensor row_normalised(const Targets& targets, const KernelOptions& kernel,
                             const torch::Tensor& like) {
  const torch::Tensor k = composite_kernel(targets, kernel);
  return (k / k.sum(1, true)).to(like.options());
}

/// Columns with mean 0 and (biased) variance 1.
torch::Tensor standardised(const torch::Tensor& z) {
  const torch::Tensor centred = z - z.mean(0, true);
  return centred / (centred.square().mean(0, true) + kVarianceEps).sqrt();
}

/// NaN in a continuous column means unknown, which is like nothing else: weight 0.
torch::Tensor known(const torch::Tensor& weight) { return weight.nan_to_num(0.0); }

}  // namespace

void require_of_loss(bool ok, const std::string& what) {
  if (!ok) throw Error(ErrorCode::failure, "loss: " + what);
}

torch::Tensor at_least_float(const torch::Tensor& x) {
  const bool small = x.scalar_type() == torch::kHalf || x.scalar_type() == torch::kBFloat16;
  return small ? x.to(torch::kFloat) : x;
}

torch::Tensor unit_rows(const torch::Tensor& x) {
  return x / x.norm(2, {1}, true).clamp_min(1e-12);
}

void check_targets(const Targets& targets, const KernelOptions& kernel, std::int64_t n) {
  const auto vector_of = [n](const torch::Tensor& x) {
    return x.defined() && x.dim() == 1 && x.size(0) == n;
  };
  const auto columns_of = [n](const torch::Tensor& x) {
    return !x.defined() || (x.dim() == 2 && x.size(1) == n);
  };
  if (kernel.own_view_only) return;
  const auto any = [](const torch::Tensor& x) { return x.defined() && x.size(0) > 0; };
  require_of_loss(
      kernel.use_label || kernel.use_depth || any(targets.discrete) || any(targets.continuous),
      "the kernel has nothing to tell slices apart by: expected a label, a depth or a column");
  const auto size = std::to_string(n);
  require_of_loss(!kernel.use_label || vector_of(targets.label), "expected " + size + " labels");
  require_of_loss(!kernel.use_depth || vector_of(targets.depth), "expected " + size + " depths");
  require_of_loss(!kernel.use_depth || kernel.sigma > 0,
                  "sigma is " + std::to_string(kernel.sigma) + ", expected a positive one");
  require_of_loss(columns_of(targets.discrete) && columns_of(targets.continuous),
                  "expected further label columns of shape [columns, " + size + "]");
  const auto columns = targets.continuous.defined() ? targets.continuous.size(0) : 0;
  require_of_loss(static_cast<std::int64_t>(targets.continuous_sigma.size()) >= columns,
                  "a continuous label column has no sigma");
  for (std::int64_t c = 0; c < columns; ++c)
    require_of_loss(targets.continuous_sigma[static_cast<std::size_t>(c)] > 0,
                    "the sigma of a continuous label column is not positive");
}

bool mean_over_anchors(const Targets& targets, const KernelOptions& kernel) {
  const auto none = [](const torch::Tensor& x) { return !x.defined() || x.size(0) == 0; };
  const bool supcon = kernel.use_label && !kernel.use_depth && !kernel.own_view_only &&
                      none(targets.discrete) && none(targets.continuous);
  return kernel.normalisation == Normalisation::paper || supcon;
}

torch::Tensor kernel_rows(const Targets& targets, const KernelOptions& kernel, std::int64_t first,
                          std::int64_t last) {
  const torch::NoGradGuard no_grad;
  const auto& reference = targets.label.defined() ? targets.label : targets.depth;
  require_of_loss(reference.defined(), "expected labels or depths");
  const std::int64_t n = reference.size(0);
  const auto options = torch::TensorOptions().dtype(torch::kDouble).device(reference.device());
  const torch::Tensor own = torch::arange(first, last, reference.options().dtype(torch::kLong))
                                .unsqueeze(1)
                                .eq(torch::arange(n, reference.options().dtype(torch::kLong)));
  if (kernel.own_view_only) return own.to(torch::kDouble);

  torch::Tensor weight = torch::ones({last - first, n}, options);
  const auto rows = [first, last](const torch::Tensor& column) {
    return column.slice(0, first, last).unsqueeze(1);
  };
  const auto match = [&](const torch::Tensor& column) {
    const torch::Tensor row = rows(column);
    weight.mul_(row.eq(column).logical_and_(row.ne(-1)));
  };
  const auto decay = [&](const torch::Tensor& column, double sigma, KernelShape shape) {
    const torch::Tensor values = column.to(torch::kDouble);
    const torch::Tensor difference = rows(values) - values;
    const torch::Tensor distance =
        shape == KernelShape::rbf ? difference.square_() : difference.abs_();
    weight.mul_(known(distance.mul_(-1 / (2 * sigma * sigma)).exp_()));
  };
  if (kernel.use_label) match(targets.label);
  if (targets.discrete.defined())
    for (std::int64_t c = 0; c < targets.discrete.size(0); ++c) match(targets.discrete[c]);
  if (kernel.use_depth) decay(targets.depth, kernel.sigma, kernel.shape);
  if (targets.continuous.defined())
    for (std::int64_t c = 0; c < targets.continuous.size(0); ++c)
      decay(targets.continuous[c], targets.continuous_sigma[static_cast<std::size_t>(c)],
            KernelShape::rbf);
  return weight.masked_fill_(own, 1.0);
}

torch::Tensor composite_kernel(const Targets& targets, const KernelOptions& kernel) {
  const auto& reference = targets.label.defined() ? targets.label : targets.depth;
  require_of_loss(reference.defined() && reference.dim() == 1, "expected labels or depths");
  check_targets(targets, kernel, reference.size(0));
  return kernel_rows(targets, kernel, 0, reference.size(0));
}

void check_contrastive(const torch::Tensor& z, const Targets& targets, const KernelOptions& kernel,
                       double temperature) {
  require_of_loss(
      z.dim() == 2 && z.size(0) > 0 && z.size(0) % 2 == 0,
      "expected embeddings [2n, dim], found " + std::to_string(z.dim()) + " dimensions");
  require_of_loss(temperature > 0, "the temperature is " + std::to_string(temperature) +
                                       ", expected a positive one");
  check_targets(targets, kernel, z.size(0) / 2);
}

torch::Tensor contrastive_loss(const torch::Tensor& z, const Targets& targets,
                               const KernelOptions& kernel, double temperature, std::int64_t tile) {
  check_contrastive(z, targets, kernel, temperature);
  require_of_loss(tile >= 0, "the tile is negative");
  const std::int64_t n = z.size(0) / 2;

  const NoAutocast no_autocast;
  const torch::Tensor u = unit_rows(at_least_float(z));
  if (tile > 0) return tiled_contrastive_loss(u, targets, kernel, temperature, tile);

  const torch::Tensor self = torch::eye(2 * n, u.options().dtype(torch::kBool));
  const torch::Tensor k = kernel_rows(targets, kernel, 0, n);
  const torch::Tensor weight = k.repeat({2, 2}).masked_fill_(self, 0.0);
  // The kernel is symmetric, so that a column's sum is that of the row of the same number.
  const bool by_row = kernel.normalisation == Normalisation::paper;
  const torch::Tensor w = (weight / weight.sum(by_row ? 1 : 0, true)).to(u.scalar_type());

  // log(exp s_ti / sum_j exp s_tj) = s_ti - lse_t. Split so that the diagonal, whose weight is 0,
  // meets no infinity.
  const torch::Tensor s = torch::mm(u, u.t()) / temperature;
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  const torch::Tensor lse = s.masked_fill(self, minus_infinity).logsumexp(1);
  const torch::Tensor sum = (w.sum(1) * lse).sum() - (w * s).sum();
  return sum / static_cast<double>(mean_over_anchors(targets, kernel) ? 2 * n : n);
}

torch::Tensor kernel_regression_loss(const torch::Tensor& p, const torch::Tensor& target,
                                     const Targets& targets, const KernelOptions& kernel) {
  const std::int64_t n = slices_of_pair(p, target);
  check_targets(targets, kernel, n);
  const NoAutocast no_autocast;
  const torch::Tensor a = unit_rows(at_least_float(p));
  const torch::Tensor b = unit_rows(at_least_float(target));
  // sum_i W_ti (2 - 2 cos(p_t, z_i)) = 2 - 2 p_t . (W z)_t, since the rows of W sum to 1.
  const torch::Tensor aim =
      kernel.own_view_only ? b : torch::mm(row_normalised(targets, kernel, b), b);
  return 2 - 2 * (a * aim).sum(1).mean();
}

torch::Tensor kernel_barlow_loss(const torch::Tensor& z1, const torch::Tensor& z2,
                                 const Targets& targets, const KernelOptions& kernel,
                                 double lambda) {
  const std::int64_t n = slices_of_pair(z1, z2);
  check_targets(targets, kernel, n);
  const NoAutocast no_autocast;
  const torch::Tensor a = standardised(at_least_float(z1));
  const torch::Tensor b = standardised(at_least_float(z2));
  const auto direction = [&](const torch::Tensor& from, const torch::Tensor& to) {
    const torch::Tensor c = torch::mm(from.t(), to) / static_cast<double>(n);
    const torch::Tensor on_diagonal = c.diagonal();
    return (1 - on_diagonal).square().sum() +
           lambda * (c.square().sum() - on_diagonal.square().sum());
  };
  // The cross-correlation with the roles exchanged is the transposed one.
  if (kernel.own_view_only) return direction(a, b);
  const torch::Tensor w = row_normalised(targets, kernel, a);
  return (direction(a, standardised(torch::mm(w, b))) +
          direction(b, standardised(torch::mm(w, a)))) /
         2;
}

}  // namespace wsp::train
