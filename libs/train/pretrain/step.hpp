#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/model/method.hpp"
#include "train/run/distributed.hpp"
#include "train/run/grad_scaler.hpp"

namespace wsp::train {

struct StepOptions {
  std::int64_t micro_batch = 0;  ///< slices of this rank embedded at once; 0: all
  std::string precision = "fp32";
  double loss_weight = 1;  ///< 1 / accumulated batches
  /// Called before the backward pass through the networks after which the batch's gradient is
  /// whole.
  std::function<void()> before_last_backward = {};
};

struct StepResult {
  torch::Tensor loss;        ///< scalar, of the whole batch over all ranks
  torch::Tensor embeddings;  ///< [2n, dim], detached, all ranks
};

/// Add the gradient of one (global) batch to the parameters' gradients: exactly that of the whole
/// batch whatever the micro-batch or the number of ranks, where no layer uses batch statistics.
/// views: [2m, 1, s, s] of this rank; targets: of all n slices. With several ranks the caller sums
/// the parameters' gradients over them.
StepResult backward_batch(Method& method, const torch::Tensor& views, const Targets& targets,
                          const StepOptions& options, const GradScaler& scaler, Ranks& ranks);

/// The views of slices [at, at + count) of this rank, [2 count, 1, s, s]; asked for twice must give
/// the same.
using ViewPieces = std::function<torch::Tensor(std::int64_t at, std::int64_t count)>;
/// The same for m slices whose views are drawn when they are needed, so that no more than a
/// micro-batch of them is in memory.
StepResult backward_batch(Method& method, const ViewPieces& views, std::int64_t m,
                          const Targets& targets, const StepOptions& options,
                          const GradScaler& scaler, Ranks& ranks);

}  // namespace wsp::train
