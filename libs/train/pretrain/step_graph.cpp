#include "train/pretrain/step_graph.hpp"

#include "io/core/error.hpp"
#include "train/run/device.hpp"

namespace wsp::train {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::usage, "--cuda-graph on " + why + ", or --cuda-graph off");
}

// Into the buffer that the recording reads, made from the first batch.
void keep_in_place(torch::Tensor& place, const torch::Tensor& value) {
  if (!place.defined() || !value.defined()) {
    if (place.defined() != value.defined())
      throw Error(ErrorCode::failure, "a batch has other targets than the recorded one");
    return;
  }
  if (place.sizes() != value.sizes() || place.scalar_type() != value.scalar_type())
    throw Error(ErrorCode::failure, "a batch has another shape or type than the recorded one");
  place.copy_(value, /*non_blocking=*/true);
}

torch::Tensor own_copy(const torch::Tensor& value) {
  return value.defined() ? value.detach().clone() : value;
}

}  // namespace

void check_step_graph(const std::string& asked, const TrainConfig& config,
                      const torch::Device& device) {
  if (asked == "off") return;
  if (asked != "on")
    throw Error(ErrorCode::usage, "--cuda-graph is '" + asked + "': expected one of off, on");
  if (!device.is_cuda())
    refuse("needs a card, and this runs on " + device.str() + ": use --device cuda");
  if (config.micro_batch > 0 && config.micro_batch < config.batch)
    refuse(
        "records a step over the whole batch, and --micro-batch draws the views of each piece "
        "within it, from numbers "
        "of the host: leave --micro-batch out");
  if (config.ranks > 1)
    refuse("records the step of one process, and " + std::to_string(config.ranks) +
           " ranks exchange their outputs within it: start one process");
  if (config.precision == "fp16")
    refuse(
        "records numbers of the host as they are, and the scale of fp16 changes: use --precision "
        "bf16");
  if (!cuda_graphs_built())
    refuse(
        "is not in this build: configuring found no nvcc, or a LibTorch without CUDA. Build again "
        "with both");
}

void StepGraph::take(const torch::Tensor& views, const Targets& targets) {
  if (!views_.defined()) {
    views_ = own_copy(views);
    targets_ = {own_copy(targets.label),      own_copy(targets.depth),  own_copy(targets.discrete),
                own_copy(targets.continuous), targets.continuous_sigma, own_copy(targets.value)};
    return;
  }
  keep_in_place(views_, views);
  keep_in_place(targets_.label, targets.label);
  keep_in_place(targets_.depth, targets.depth);
  keep_in_place(targets_.discrete, targets.discrete);
  keep_in_place(targets_.continuous, targets.continuous);
  keep_in_place(targets_.value, targets.value);
  if (targets_.continuous_sigma != targets.continuous_sigma)
    throw Error(ErrorCode::failure, "a batch has other sigmas than the recorded one");
}

void StepGraph::record(const WorkRecorder::Work& work) {
  try {
    recorder_->record(work);
  } catch (const std::exception& e) {
    if (is_out_of_memory(e) || find_device_fault(e.what()) != nullptr) throw;
    throw Error(ErrorCode::failure,
                "--cuda-graph on: the step could not be recorded: use --cuda-graph off (" +
                    first_line(e) + ")");
  }
}

StepResult StepGraph::run(const torch::Tensor& views, const Targets& targets) {
  take(views, targets);
  const auto work = [this] { result_ = work_(views_, targets_); };
  if (done_ < kWarmUp) {
    ++done_;
    recorder_->run(work);
    return result_;
  }
  if (!recorded_) {
    result_ = {};  // what the usual passes left goes back to their pool first
    record(work);
    recorded_ = true;
  }
  recorder_->replay();
  return result_;
}

}  // namespace wsp::train
