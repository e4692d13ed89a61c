#include <cuda_runtime.h>

#include "train/kernels/augment_cuda.hpp"
#include "train/kernels/augment_thread.hpp"

namespace wsp::train {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kMaxGridZ = 65535;

/// A block draws kThreads runs of a view; the views of an image are neighbours in z, so that the
/// second finds the source in cache. The map is converted once a block: six slow 64-bit
/// conversions.
template <PixelType kType, bool kPacked>
__global__ void __launch_bounds__(kThreads)
    draw_views(const std::int16_t* __restrict__ hu, const float* __restrict__ affine,
               std::int64_t n, std::int64_t views, std::int32_t size,
               typename Stored<kType>::Bits* __restrict__ out) {
  __shared__ FixedAffine map;
  const std::uint32_t run = blockIdx.x * kThreads + threadIdx.x;
  for (std::int64_t z = blockIdx.z; z < n * views; z += gridDim.z) {
    const std::int64_t image = z / views;
    const std::int64_t target = z % views * n + image;
    __syncthreads();  // nobody draws by the map before
    if (threadIdx.x == 0) map = to_fixed(affine + target * 6);
    __syncthreads();
    augment_run<kType, kPacked>(hu, image, size, map, run, out, target);
  }
}

template <PixelType kType>
cudaError_t launch(const std::int16_t* hu, const float* affine, std::int64_t n, std::int64_t views,
                   std::int64_t size, void* out, cudaStream_t stream) {
  const auto side = static_cast<std::int32_t>(size);
  const auto depth = static_cast<unsigned>(n * views < kMaxGridZ ? n * views : kMaxGridZ);
  const dim3 grid((augment_runs<kType>(side) + kThreads - 1) / kThreads, 1, depth);
  auto* bits = static_cast<typename Stored<kType>::Bits*>(out);
  if (augment_packs<kType>(size, out))
    draw_views<kType, true><<<grid, kThreads, 0, stream>>>(hu, affine, n, views, side, bits);
  else
    draw_views<kType, false><<<grid, kThreads, 0, stream>>>(hu, affine, n, views, side, bits);
  return cudaGetLastError();
}

}  // namespace

int augment_cuda(const std::int16_t* hu, const float* affine, std::int64_t n, std::int64_t views,
                 std::int64_t size, PixelType type, void* out, void* stream) noexcept {
  if (n < 1 || views < 1 || size < 1 || size > kMaxAugmentSize) return cudaErrorInvalidValue;
  const auto queue = static_cast<cudaStream_t>(stream);
  switch (type) {
    case PixelType::f32:
      return launch<PixelType::f32>(hu, affine, n, views, size, out, queue);
    case PixelType::bf16:
      return launch<PixelType::bf16>(hu, affine, n, views, size, out, queue);
    case PixelType::f16:
      return launch<PixelType::f16>(hu, affine, n, views, size, out, queue);
  }
  return cudaErrorInvalidValue;
}

const char* cuda_error_text(int code) noexcept {
  return cudaGetErrorString(static_cast<cudaError_t>(code));
}

}  // namespace wsp::train
