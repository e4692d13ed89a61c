#include "io/core/error.hpp"
#include "train/model/cuda_graph.hpp"

/// In place of cuda_graph.cpp where nvcc or LibTorch's CUDA is absent.
namespace wsp::train {

bool cuda_graphs_built() { return false; }

std::unique_ptr<WorkRecorder> make_cuda_recorder(const torch::Device&) {
  throw Error(ErrorCode::usage, "this build has no CUDA graphs: use --cuda-graph off");
}

}  // namespace wsp::train
