// Compiled, never run: the headers that CUDA kernels share with the CPU must pass nvcc in C++17,
// device code included.
#include "train/kernels/augment.hpp"
#include "train/kernels/augment_cuda.hpp"
#include "train/kernels/augment_pixel.hpp"
#include "train/kernels/contrastive.hpp"
#include "train/kernels/contrastive_cuda.hpp"
#include "train/kernels/contrastive_pair.hpp"
#include "train/kernels/contrastive_tile.hpp"
#include "train/kernels/pool_relu_cuda.hpp"
#include "train/kernels/pool_relu_pixel.hpp"

namespace wsp::train::test {

__global__ void pair_weights(ContrastiveProblem<float> problem, double* out) {
  const std::int64_t a = blockIdx.x;
  const std::int64_t b = threadIdx.x;
  out[a * problem.n + b] = pair_weight(problem, a, b);
}

__global__ void one_pixel(const std::int16_t* hu, const float* affine, std::int64_t size,
                          float* out) {
  *out = augment_pixel(hu, size, to_fixed(affine), threadIdx.x, blockIdx.x);
}

}  // namespace wsp::train::test
