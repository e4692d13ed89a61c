#include "train/model/cuda_graph.hpp"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <torch/version.h>

#include "io/core/error.hpp"

/// Compiled wherever nvcc is found, linked where LibTorch has CUDA.
namespace wsp::train {
namespace {

using c10::cuda::CUDAStream;

// The loader's threads pin memory meanwhile, which only a capture of this thread's own calls lets
// them.
void begin_capture(at::cuda::CUDAGraph& graph) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1)
  graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
#else
  graph.capture_begin();
#endif
}

// `second` goes on after what `first` was given so far.
void follow(const CUDAStream& first, const CUDAStream& second) {
  cudaEvent_t event = nullptr;
  const auto check = [](cudaError_t code) {
    if (code != cudaSuccess)
      throw Error(ErrorCode::failure, std::string("CUDA graph: ") + cudaGetErrorString(code));
  };
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  const cudaError_t recorded = cudaEventRecord(event, first.stream());
  const cudaError_t waits = cudaStreamWaitEvent(second.stream(), event, 0);
  cudaEventDestroy(event);  // CUDA frees it once both streams are past it
  check(recorded);
  check(waits);
}

class CudaRecorder final : public WorkRecorder {
 public:
  explicit CudaRecorder(const torch::Device& device)
      : device_(device),
        side_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {}

  void run(const Work& work) override {
    const c10::cuda::CUDAGuard on_card(device_);
    const CUDAStream usual = c10::cuda::getCurrentCUDAStream(device_.index());
    follow(usual, side_);
    {
      const c10::cuda::CUDAStreamGuard on_side(side_);
      work();
    }
    follow(side_, usual);
  }

  void record(const Work& work) override {
    const c10::cuda::CUDAGuard on_card(device_);
    torch::cuda::synchronize(device_.index());
    // The recording allocates in a pool of its own, and while it records nothing can be freed: what
    // the usual passes left in theirs would be held beside it.
    c10::cuda::CUDACachingAllocator::emptyCache();
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    {
      const c10::cuda::CUDAStreamGuard on_side(side_);
      begin_capture(*graph);
      try {
        work();
      } catch (...) {
        end_broken_capture(*graph);
        throw;
      }
      graph->capture_end();
    }
    graph_ = std::move(graph);
  }

  void replay() override {
    if (!graph_) throw Error(ErrorCode::failure, "CUDA graph: replayed before it was recorded");
    const c10::cuda::CUDAGuard on_card(device_);
    graph_->replay();
  }

 private:
  // The stream must not stay in capture; that this recording is lost is known already.
  static void end_broken_capture(at::cuda::CUDAGraph& graph) noexcept {
    try {
      graph.capture_end();
    } catch (const std::exception&) {
      (void)cudaGetLastError();
    }
  }

  torch::Device device_;
  CUDAStream side_;
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
};

}  // namespace

bool cuda_graphs_built() { return true; }

std::unique_ptr<WorkRecorder> make_cuda_recorder(const torch::Device& device) {
  if (!device.is_cuda())
    throw Error(ErrorCode::usage, "CUDA graphs need a card, and this runs on " + device.str());
  return std::make_unique<CudaRecorder>(device);
}

}  // namespace wsp::train
