#include "train/pretrain/telemetry.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// Rows of a pairwise matrix that are in memory at once.
constexpr std::int64_t kRowsAtOnce = 1024;

torch::Tensor checked(const torch::Tensor& z) {
  if (z.dim() != 2 || z.size(0) < 2 || z.size(0) % 2 != 0 || z.size(1) < 1)
    throw Error(ErrorCode::failure, "embeddings must be [2n, dim], two views of n slices");
  return z.detach().to(torch::kFloat64);
}

bool finite(const torch::Tensor& values) { return torch::isfinite(values).all().item<bool>(); }

torch::Tensor unit_length(const torch::Tensor& z) {
  return z / z.norm(2, {1}, true).clamp_min(1e-12);
}

// Of one view, u: [n, dim] of unit length.
double view_uniformity(const torch::Tensor& u) {
  const std::int64_t n = u.size(0);
  double sum = 0;
  for (std::int64_t begin = 0; begin < n; begin += kRowsAtOnce) {
    const torch::Tensor rows = u.slice(0, begin, std::min(begin + kRowsAtOnce, n));
    // |u_i - u_j|^2 = 2 - 2 cos; rows of zeros are not of unit length, hence the norms.
    const torch::Tensor squares =
        rows.square().sum(1, true) + u.square().sum(1).unsqueeze(0) - 2 * rows.matmul(u.t());
    torch::Tensor near = torch::exp(-2 * squares.clamp_min(0));
    near.diagonal(begin).zero_();  // A slice is no pair with itself.
    sum += near.sum().item<double>();
  }
  return std::log(sum / static_cast<double>(n * (n - 1)));
}

double entropy_of(const torch::Tensor& p) {
  return -torch::special::xlogy(p, p).sum().item<double>();
}

}  // namespace

KernelSpread kernel_spread(const torch::Tensor& weights, const KernelOptions& kernel) {
  const torch::NoGradGuard no_grad;
  if (weights.dim() != 2 || weights.size(0) != weights.size(1) || weights.size(0) < 1)
    throw Error(ErrorCode::failure, "kernel weights must be [n, n]");
  if (kernel.own_view_only) return {1, 0};
  const torch::Tensor w = weights.detach().to(torch::kFloat64);
  // Every other slice counts with both of its views; both views of a slice are alike as anchors.
  const torch::Tensor own = w.diagonal();
  const torch::Tensor sum = 2 * w.sum(1) - own;
  const torch::Tensor squares = 2 * w.square().sum(1) - own.square();
  const torch::Tensor logs =
      2 * torch::special::xlogy(w, w).sum(1) - torch::special::xlogy(own, own);
  // -sum (w/S) log (w/S) = log S - (sum w log w) / S
  return {(sum.square() / squares).mean().item<double>(),
          (sum.log() - logs / sum).mean().item<double>()};
}

double alignment(const torch::Tensor& z) {
  const torch::NoGradGuard no_grad;
  const std::vector<torch::Tensor> views = unit_length(checked(z)).chunk(2);
  return (views[0] - views[1]).square().sum(1).mean().item<double>();
}

double uniformity(const torch::Tensor& z) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor u = unit_length(checked(z));
  if (u.size(0) < 4 || !finite(u)) return kNone;
  const std::vector<torch::Tensor> views = u.chunk(2);
  return (view_uniformity(views[0]) + view_uniformity(views[1])) / 2;
}

double rank_me(const torch::Tensor& z) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor values = checked(z);
  if (!finite(values)) return kNone;
  const torch::Tensor singular = torch::linalg_svdvals(values);
  const double sum = singular.sum().item<double>();
  return sum > 0 ? std::exp(entropy_of(singular / sum)) : 0;
}

double embedding_std(const torch::Tensor& z) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor u = unit_length(checked(z));
  return u.std(0, false).mean().item<double>() * std::sqrt(static_cast<double>(u.size(1)));
}

Telemetry measure_telemetry(const torch::Tensor& z, const torch::Tensor& weights,
                            const KernelOptions& kernel) {
  Telemetry result;
  result.kernel = kernel_spread(weights, kernel);
  result.alignment = alignment(z);
  result.uniformity = uniformity(z);
  result.rank_me = rank_me(z);
  result.embedding_std = embedding_std(z);
  return result;
}

Telemetry measure_telemetry(const torch::Tensor& z, const Targets& targets,
                            const KernelOptions& kernel) {
  const torch::NoGradGuard no_grad;
  const std::int64_t n = z.size(0) / 2;
  if (n <= kMostMeasured) return measure_telemetry(z, composite_kernel(targets, kernel), kernel);
  const torch::Tensor chosen =
      torch::arange(kMostMeasured, torch::TensorOptions(z.device()).dtype(torch::kLong))
          .mul_(n)
          .div_(kMostMeasured, "floor");
  Targets some;
  some.continuous_sigma = targets.continuous_sigma;
  if (targets.label.defined()) some.label = targets.label.index_select(0, chosen);
  if (targets.depth.defined()) some.depth = targets.depth.index_select(0, chosen);
  if (targets.discrete.defined()) some.discrete = targets.discrete.index_select(1, chosen);
  if (targets.continuous.defined()) some.continuous = targets.continuous.index_select(1, chosen);
  return measure_telemetry(z.index_select(0, torch::cat({chosen, chosen + n})),
                           composite_kernel(some, kernel), kernel);
}

}  // namespace wsp::train
