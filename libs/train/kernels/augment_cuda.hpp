#pragma once
#include <cstdint>

#include "train/kernels/pixel_type.hpp"

/// The fused augmentation on CUDA. Not yet run on a card: it compiles wherever nvcc is found, its
/// pixel function is tested on the host, and nothing uses it by default.
namespace wsp::train {

/// Draw all views of a batch in one launch, as augment_cpu does (float32: the same bits).
/// All pointers are device memory: hu [n][size][size] int16; affine [views][n][6] float32 (the
/// Affine of augment.hpp); out [views][n][size][size] of `type`, which with one channel is
/// channels-last too. `stream` is a cudaStream_t, nullptr the default one; the call does not wait
/// for it. An affine that augment_cpu refuses is clamped to its bounds; NaN points outside.
/// Returns 0 or the cudaError_t of the launch; invalid value where a count is not positive or size
/// is above 32768.
[[nodiscard]] int augment_cuda(const std::int16_t* hu, const float* affine, std::int64_t n,
                               std::int64_t views, std::int64_t size, PixelType type, void* out,
                               void* stream) noexcept;

/// Say in words what a code of augment_cuda means; a static string.
[[nodiscard]] const char* cuda_error_text(int code) noexcept;

}  // namespace wsp::train
