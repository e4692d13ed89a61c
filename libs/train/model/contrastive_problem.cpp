#include "train/model/contrastive_problem.hpp"

namespace wsp::train {

ProblemOfTensors::ProblemOfTensors(const torch::Tensor& z, const Targets& targets,
                                   const KernelOptions& kernel, double temperature) {
  problem.z = z.data_ptr();
  problem.n = z.size(0) / 2;
  problem.dim = z.size(1);
  problem.shape = kernel.shape;
  problem.normalisation = kernel.normalisation;
  problem.sigma = kernel.sigma;
  problem.temperature = temperature;
  problem.label_matters = kernel.use_label;
  problem.own_view_only = kernel.own_view_only;
  if (kernel.own_view_only) return;
  const auto placed = [&](const torch::Tensor& column, torch::ScalarType type) {
    return column.to(z.device(), type).contiguous();
  };
  const auto any = [](const torch::Tensor& columns) {
    return columns.defined() && columns.size(0) > 0;
  };
  if (kernel.use_label) {
    label_ = placed(targets.label, torch::kLong);
    problem.label = label_.data_ptr<std::int64_t>();
  }
  if (kernel.use_depth) {
    depth_ = placed(targets.depth, torch::kDouble);
    problem.depth = depth_.data_ptr<double>();
  }
  if (any(targets.discrete)) {
    discrete_ = placed(targets.discrete, torch::kLong);
    problem.discrete = discrete_.data_ptr<std::int64_t>();
    problem.discrete_columns = discrete_.size(0);
  }
  if (any(targets.continuous)) {
    continuous_ = placed(targets.continuous, torch::kDouble);
    problem.continuous = continuous_.data_ptr<double>();
    problem.continuous_columns = continuous_.size(0);
    problem.continuous_sigma = targets.continuous_sigma.data();
  }
}

std::int64_t ProblemOfTensors::coordinates() const {
  return problem.continuous_columns + (problem.depth != nullptr ? 1 : 0);
}

}  // namespace wsp::train
