#include <functional>
#include <limits>

#include "io/core/error.hpp"
#include "train/kernels/rank_contrast.hpp"
#include "train/model/contrastive_problem.hpp"
#include "train/model/kernel_rows.hpp"

/// Losses of a continuous label that have kernels of their own on the CPU, in double, and a plain
/// Torch expression elsewhere.
namespace wsp::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr std::int64_t kUsualTile = 64;

/// The loss of z, and dL/dz into the tensor where that is defined.
using CpuLoss = std::function<double(const Tensor& z, const Tensor& gradient)>;

struct CpuLossFunction : torch::autograd::Function<CpuLossFunction> {
  static Variable forward(AutogradContext* context, const Variable& z, const CpuLoss* loss,
                          bool with_gradient) {
    Tensor gradient;
    if (with_gradient) gradient = torch::empty_like(z);
    const double value = (*loss)(z.detach(), gradient);
    if (with_gradient) context->save_for_backward({gradient});
    return torch::full({}, value, z.options());
  }

  static variable_list backward(AutogradContext* context, const variable_list& outer) {
    return {context->get_saved_variables()[0] * outer[0], Variable(), Variable()};
  }
};

Tensor apply(const Tensor& z, const CpuLoss& loss) {
  return CpuLossFunction::apply(z.contiguous(), &loss,
                                torch::GradMode::is_enabled() && z.requires_grad());
}

template <class T>
T* data_or_null(const Tensor& gradient) {
  return gradient.defined() ? gradient.data_ptr<T>() : nullptr;
}

}  // namespace

Tensor dense_weighted_repulsion_loss(const Tensor& z, const Targets& targets,
                                     const KernelOptions& kernel, double temperature) {
  const Tensor u = unit_rows(z);
  const Tensor self = torch::eye(u.size(0), u.options().dtype(torch::kBool));
  const Tensor weight =
      kernel_rows(targets, kernel, 0, u.size(0) / 2).repeat({2, 2}).masked_fill_(self, 0.0);
  const Tensor s = (torch::mm(u, u.t()) - 1) / temperature;
  const Tensor lse = (s * (1 - weight).to(s.scalar_type()))
                         .masked_fill(self, -std::numeric_limits<double>::infinity())
                         .logsumexp(1);
  const Tensor w = (weight / weight.sum(1, true)).to(s.scalar_type());
  return (lse - (w * s).sum(1)).mean();
}

Tensor dense_rank_contrast_loss(const Tensor& z, const Tensor& value, double temperature) {
  const Tensor y = value.repeat({2});
  const Tensor known = y.isnan().logical_not();
  // Who is unknown, and the anchor itself, comes last and counts for nobody: no row is taken out,
  // which would wait for the card.
  const Tensor pair = known.unsqueeze(1)
                          .logical_and(known.unsqueeze(0))
                          .logical_and(torch::eye(y.size(0), known.options()).logical_not());
  const Tensor apart =
      (y.unsqueeze(1) - y.unsqueeze(0)).abs().masked_fill(pair.logical_not(), -1.0);
  const auto [ranked, order] = apart.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  constexpr std::int64_t kWithoutProducts = 2;
  const Tensor s = torch::cdist(z, z, 2.0, kWithoutProducts).div(-temperature).gather(1, order);
  const Tensor nearer = ranked.neg();
  const Tensor end =
      torch::searchsorted(nearer, nearer, /*out_int32=*/false, /*right=*/true).sub(1);
  const Tensor lse = s.logcumsumexp(1).gather(1, end);
  const Tensor counts = pair.gather(1, order).to(s.scalar_type());
  return ((lse - s) * counts).sum() / counts.sum().clamp_min(1);
}

Tensor weighted_repulsion_loss(const Tensor& z, const Targets& targets, const KernelOptions& kernel,
                               double temperature, std::int64_t tile) {
  check_contrastive(z, targets, kernel, temperature);
  require_of_loss(tile >= 0, "the tile is negative");
  const NoAutocast no_autocast;
  const Tensor rows = at_least_float(z);
  if (!rows.is_cpu()) return dense_weighted_repulsion_loss(rows, targets, kernel, temperature);
  return apply(rows, [&](const Tensor& values, const Tensor& gradient) {
    ProblemOfTensors tensors(values, targets, kernel, temperature);
    tensors.problem.weighted_repulsion = true;
    return AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "weighted_repulsion_loss", [&] {
      return contrastive_loss_cpu(tensors.typed<scalar_t>(), tile > 0 ? tile : kUsualTile,
                                  data_or_null<scalar_t>(gradient));
    });
  });
}

Tensor rank_contrast_loss(const Tensor& z, const Targets& targets, double temperature,
                          std::int64_t tile) {
  require_of_loss(
      z.dim() == 2 && z.size(0) > 0 && z.size(0) % 2 == 0,
      "expected embeddings [2n, dim], found " + std::to_string(z.dim()) + " dimensions");
  const std::int64_t n = z.size(0) / 2;
  require_of_loss(targets.value.defined() && targets.value.dim() == 1 && targets.value.size(0) == n,
                  "expected " + std::to_string(n) + " values of a continuous label");
  require_of_loss(temperature > 0, "the temperature is " + std::to_string(temperature) +
                                       ", expected a positive one");
  require_of_loss(tile >= 0, "the tile is negative");
  const NoAutocast no_autocast;
  const Tensor rows = at_least_float(z);
  const Tensor value = targets.value.to(rows.device(), torch::kDouble).contiguous();
  if (!rows.is_cpu()) return dense_rank_contrast_loss(rows, value, temperature);
  return apply(rows, [&](const Tensor& values, const Tensor& gradient) {
    return AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "rank_contrast_loss", [&] {
      const RankContrastProblem<scalar_t> problem{values.data_ptr<scalar_t>(), n, values.size(1),
                                                  value.data_ptr<double>(), temperature};
      return rank_contrast_loss_cpu(problem, tile > 0 ? tile : kUsualTile,
                                    data_or_null<scalar_t>(gradient));
    });
  });
}

}  // namespace wsp::train
