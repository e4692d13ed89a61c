#pragma once
#include <torch/torch.h>

#include <functional>
#include <memory>

/// CUDA graphs behind an interface that the host can stand in for. They have not run on a card yet.
namespace wsp::train {

/// Work that is recorded once and played again. Everything that it reads and writes must keep its
/// place in memory, and nothing in it may wait for the device or depend on a number of the host
/// that changes. Not thread-safe.
class WorkRecorder {
 public:
  using Work = std::function<void()>;
  virtual ~WorkRecorder() = default;
  /// Do the work as usual, where it will be recorded: libraries choose algorithms and take
  /// workspaces.
  virtual void run(const Work& work) = 0;
  /// Record the work without doing it. Throws what the work throws; then nothing is recorded.
  virtual void record(const Work& work) = 0;
  /// Do what was recorded, behind everything that the current stream was given.
  virtual void replay() = 0;
};

/// True where this program can record: its LibTorch has CUDA, and nvcc was found when it was built.
[[nodiscard]] bool cuda_graphs_built();

/// A recorder of the card's work (at::cuda::CUDAGraph) on a side stream. Tensors made while
/// recording live in a pool of the graph's until it is gone; each replay writes them anew. Throws
/// Error(usage) where cuda_graphs_built() is false or `device` is no card.
[[nodiscard]] std::unique_ptr<WorkRecorder> make_cuda_recorder(const torch::Device& device);

}  // namespace wsp::train
