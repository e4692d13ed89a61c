#include "io/core/error.hpp"
#include "train/model/cuda_kernels.hpp"

namespace wsp::train {

void require_cuda_kernels(const torch::Device& device) {
  if (!cuda_kernels_built())
    throw Error(
        ErrorCode::usage,
        "this build has no CUDA kernels: configuring found no nvcc, or a LibTorch without CUDA. "
        "Use --cuda-kernels off, or build again with both (the message \"CUDA kernels\" of CMake "
        "says what is missing)");
  if (!device.is_cuda())
    throw Error(ErrorCode::usage, "--cuda-kernels on needs a card, and this runs on " +
                                      device.str() + ": use --device cuda or --cuda-kernels off");
}

}  // namespace wsp::train
