#pragma once
#include <cstddef>
#include <cstdint>

#include "train/kernels/contrastive.hpp"

/// The tiled contrastive loss on CUDA. Not yet run on a card: it compiles wherever nvcc is found,
/// its kernels' code is run thread by thread on the host in the tests, and nothing uses it by
/// default.
namespace wsp::train {

enum class EmbeddingType { f32, bf16, f16 };

/// `exact`: float32 products. `tensor`: tensor cores; unit rows and pair gradients rounded to half
/// precision (11 bits: unit rows lie within [-1, 1], where bfloat16 would keep 8 at the same
/// speed), sums in float32.
enum class ContrastivePrecision { exact, tensor };

/// Depth and continuous columns together that the kernels take.
constexpr int kMostCoordinates = 8;

/// Bytes of device memory that contrastive_cuda needs beside its arguments: O(n * dim), at most 512
/// row blocks' partial gradients; 0 where the sizes are out of range.
[[nodiscard]] std::size_t contrastive_cuda_workspace(const ContrastiveProblem<void>& problem,
                                                     ContrastivePrecision precision) noexcept;

/// Compute what contrastive_loss_cpu computes. All pointers of `problem` are device memory except
/// continuous_sigma, and z holds `type`; loss: one double, grad: [2n][dim] float32 or nullptr,
/// workspace: of contrastive_cuda_workspace, aligned to 256 bytes, all on the device. `stream` is a
/// cudaStream_t; the call does not wait for it and may be captured in a graph. No atomics: the same
/// input gives the same bits, on any card of one compute capability. A NaN in a depth or a
/// continuous column makes the slice match only itself; one in z makes the loss NaN.
/// `tensor` needs code compiled for compute capability 7.5 or later and becomes `exact` without it.
/// Returns 0 or a cudaError_t; invalid value for sizes, sigmas or a temperature that are not
/// positive, more than 2^29 slices, 2^20 dimensions or kMostCoordinates.
[[nodiscard]] int contrastive_cuda(const ContrastiveProblem<void>& problem, EmbeddingType type,
                                   ContrastivePrecision precision, double* loss, float* grad,
                                   void* workspace, void* stream) noexcept;

}  // namespace wsp::train
