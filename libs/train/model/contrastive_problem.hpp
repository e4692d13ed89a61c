#pragma once
#include <torch/torch.h>

#include "train/kernels/contrastive.hpp"
#include "train/model/losses.hpp"

namespace wsp::train {

/// What contrastive_loss() is given, as the kernels take it: pointers into tensors on the device of
/// z, which this keeps in the types that the kernels read. continuous_sigma stays a pointer into
/// the targets.
struct ProblemOfTensors {
  /// z: contiguous, [2n, dim], of any type; it and the targets must outlive this.
  ProblemOfTensors(const torch::Tensor& z, const Targets& targets, const KernelOptions& kernel,
                   double temperature);
  ProblemOfTensors(const ProblemOfTensors&) = delete;
  ProblemOfTensors& operator=(const ProblemOfTensors&) = delete;

  /// The same with the type of z, which must be T.
  template <class T>
  [[nodiscard]] ContrastiveProblem<T> typed() const {
    const ContrastiveProblem<void>& p = problem;
    return {static_cast<const T*>(p.z),
            p.n,
            p.dim,
            p.label,
            p.depth,
            p.discrete,
            p.discrete_columns,
            p.continuous,
            p.continuous_sigma,
            p.continuous_columns,
            p.shape,
            p.normalisation,
            p.sigma,
            p.temperature,
            p.label_matters,
            p.own_view_only,
            p.weighted_repulsion};
  }
  /// Depth, where it counts, and continuous columns.
  [[nodiscard]] std::int64_t coordinates() const;

  ContrastiveProblem<void> problem;

 private:
  torch::Tensor label_, depth_, discrete_, continuous_;
};

}  // namespace wsp::train
