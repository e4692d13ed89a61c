#pragma once
#include <functional>
#include <memory>
#include <string>

#include "train/model/cuda_graph.hpp"
#include "train/pretrain/config.hpp"
#include "train/pretrain/step.hpp"

namespace wsp::train {

/// Throw Error(usage) unless --cuda-graph is off, or on and the step of this run can be recorded,
/// saying what stands in the way.
void check_step_graph(const std::string& asked, const TrainConfig& config,
                      const torch::Device& device);

/// The gradient of a batch as a recording: forward, loss and backward. The first batches are
/// computed as usual, on the recorder's stream; then the work is recorded, and every further batch
/// is a copy into the recording's own buffers and one launch. The optimizer's step stays outside:
/// its learning rate is a number of the host. Not thread-safe.
class StepGraph {
 public:
  /// Adds the gradient of one batch to the parameters'; given the same buffers every time.
  using Work = std::function<StepResult(const torch::Tensor& views, const Targets& targets)>;
  static constexpr int kWarmUp = 3;  ///< batches that are computed as usual

  StepGraph(std::unique_ptr<WorkRecorder> recorder, Work work)
      : recorder_(std::move(recorder)), work_(std::move(work)) {}
  /// The result's tensors are overwritten by the next call. Throws Error(failure) for a batch of
  /// another shape than the first or a step that cannot be recorded, and what the work throws.
  StepResult run(const torch::Tensor& views, const Targets& targets);
  [[nodiscard]] bool recorded() const { return recorded_; }

 private:
  void take(const torch::Tensor& views, const Targets& targets);
  void record(const WorkRecorder::Work& work);

  std::unique_ptr<WorkRecorder> recorder_;
  Work work_;
  torch::Tensor views_;
  Targets targets_;
  StepResult result_;
  int done_ = 0;
  bool recorded_ = false;
};

}  // namespace wsp::train
