#include <algorithm>
#include <limits>

#include "train/model/kernel_rows.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// The sum over anchors of one loss, tile by tile. With unit rows u, s_ti = u_t . u_i / tau, the
/// normalised weights w_ti and q_t = sum_i w_ti:
///   L = scale * sum_t (q_t lse_t - sum_i w_ti s_ti),  dL/ds_ti = scale * (q_t p_ti - w_ti),
/// p the softmax of row t without its diagonal. Since L is one number, dL/du needs no value from
/// the backward pass except a factor: both come out of one pass over the tiles, and what is kept is
/// one matrix of the size of u.
class Tiles {
 public:
  Tiles(const Tensor& u, const Targets& targets, const KernelOptions& kernel, double temperature,
        std::int64_t tile)
      : u_(u),
        targets_(targets),
        kernel_(kernel),
        n_(u.size(0) / 2),
        tile_(std::min(tile, 2 * n_)),
        temperature_(temperature),
        scale_(1 / static_cast<double>(mean_over_anchors(targets, kernel) ? 2 * n_ : n_)) {
    if (kernel.normalisation == Normalisation::reference) column_sums_ = sums_of_views();
  }

  /// The loss; adds dL/du to `gradient` where that is defined.
  Tensor run(const Tensor& gradient) const {
    // Sums over tiles in float64: their order then hardly shows.
    Tensor loss = torch::zeros({}, u_.options().dtype(torch::kDouble));
    // A tile lies within one view, so that its slices are a range.
    for (std::int64_t view = 0; view < 2; ++view)
      for (std::int64_t first = 0; first < n_; first += tile_)
        add_tile(view, first, std::min(n_, first + tile_), loss, gradient);
    return (loss * scale_).to(u_.scalar_type());
  }

 private:
  /// Sum of an anchor's weights, or by symmetry of its column: both views of every slice, without
  /// itself, whose kernel is 1. [n] float64.
  Tensor sums_of_views() const {
    std::vector<Tensor> sums;
    for (std::int64_t first = 0; first < n_; first += tile_)
      sums.push_back(kernel_rows(targets_, kernel_, first, std::min(n_, first + tile_)).sum(1) * 2 -
                     1);
    return torch::cat(sums);
  }

  void add_tile(std::int64_t view, std::int64_t first, std::int64_t last, Tensor& loss,
                const Tensor& gradient) const {
    const std::int64_t row = view * n_ + first;
    const std::int64_t rows = last - first;
    // Anchor row + r is itself in column row + r.
    const auto self_of = [row](const Tensor& matrix) { return matrix.diagonal(row); };

    Tensor k = kernel_rows(targets_, kernel_, first, last);
    k = column_sums_.defined() ? k.div_(column_sums_) : k.div_(k.sum(1, true) * 2 - 1);
    Tensor w = k.repeat({1, 2}).to(u_.scalar_type());
    self_of(w).zero_();
    const Tensor q = w.sum(1, true);

    const Tensor anchors = u_.slice(0, row, row + rows);
    Tensor s = torch::mm(anchors, u_.t()).div_(temperature_);
    const Tensor attraction = (w * s).sum(torch::kDouble);
    self_of(s).fill_(-std::numeric_limits<double>::infinity());
    const Tensor lse = s.logsumexp(1, true);
    loss.add_((q * lse).sum(torch::kDouble)).sub_(attraction);
    if (!gradient.defined()) return;

    const Tensor g = s.sub_(lse).exp_().mul_(q).sub_(w).mul_(scale_ / temperature_);
    gradient.slice(0, row, row + rows).addmm_(g, u_);
    gradient.addmm_(g.t(), anchors);
  }

  const Tensor& u_;
  const Targets& targets_;
  const KernelOptions& kernel_;
  std::int64_t n_, tile_;
  double temperature_, scale_;
  Tensor column_sums_;
};

struct ContrastiveFunction : torch::autograd::Function<ContrastiveFunction> {
  static Variable forward(AutogradContext* context, const Variable& u, const Tiles* tiles,
                          bool with_gradient) {
    Tensor gradient;
    if (with_gradient) gradient = torch::zeros_like(u);
    Tensor loss = tiles->run(gradient);
    if (with_gradient) context->save_for_backward({gradient});
    return loss;
  }

  static variable_list backward(AutogradContext* context, const variable_list& outer) {
    return {context->get_saved_variables()[0] * outer[0], Variable(), Variable()};
  }
};

}  // namespace

Tensor tiled_contrastive_loss(const Tensor& u, const Targets& targets, const KernelOptions& kernel,
                              double temperature, std::int64_t tile) {
  const Tensor values = u.detach();
  const Tiles tiles(values, targets, kernel, temperature, tile);
  return ContrastiveFunction::apply(u, &tiles, torch::GradMode::is_enabled() && u.requires_grad());
}

}  // namespace wsp::train
