#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/model/method.hpp"
#include "train/pretrain/step.hpp"
#include "train/pretrain/step_graph.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/on_its_way.hpp"
#include "train/run/optimizer.hpp"

namespace wsp::bench {

/// As wsp-train's options of these names.
struct StepChoices {
  std::string encoder = "tinynet", norm = "batch", precision = "fp32", channels_last = "auto";
  std::int64_t batch = 16, size = 160, micro_batch = 0, loss_tile = 0;
  bool cuda_kernels = false, cuda_graph = false;
};

/// The trainer's step without the loader: views from int16, forward, WSP loss, backward, gradient
/// norm, Adam. One step after another on the device, none waited for: the host reads a step's
/// numbers with the next one.
struct WholeStep {
  StepChoices how;
  torch::Device device;
  std::unique_ptr<train::Method> method;
  train::FlatParameters parameters;
  train::Optimizer optimizer;
  train::GradScaler scaler;
  train::Ranks ranks;
  torch::Tensor hu;  ///< [batch, size, size] int16
  train::Targets targets;
  std::optional<train::StepGraph> graph;

  WholeStep(const StepChoices& choices, const torch::Device& on);
  WholeStep(const WholeStep&) = delete;
  WholeStep& operator=(const WholeStep&) = delete;

  /// Parameters of the two views of every slice, those of a step's own.
  [[nodiscard]] std::vector<train::ViewParameters> drawn(int step) const;
  [[nodiscard]] train::ViewDrawing drawing() const;
  /// Add the gradient of a step's batch to parameters.
  train::StepResult gradient(int step, std::int64_t micro_batch);
  /// Adam, unless the gradient is not finite, which then becomes zero.
  void update(const train::StepResult& result);
  /// Of the last step; waits for it.
  [[nodiscard]] double last_loss();

 private:
  train::OnItsWay late_;
  double loss_ = 0;
};

}  // namespace wsp::bench
