#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "train/kernels/augment_cuda.hpp"
#include "train/kernels/augment_pixel.hpp"

namespace wsp::train {
namespace {

constexpr unsigned kBlockX = 32;
constexpr unsigned kBlockY = 8;
constexpr std::int64_t kMaxGridZ = 65535;

template <class Out>
__device__ Out narrow(float value);
template <>
__device__ float narrow<float>(float value) {
  return value;
}
template <>
__device__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__device__ __half narrow<__half>(float value) {
  return __float2half_rn(value);
}

/// One thread per output pixel; the views of an image are neighbours in z, so that the second finds
/// the source in cache.
template <class Out>
__global__ void draw_views(const std::int16_t* __restrict__ hu, const float* __restrict__ affine,
                           std::int64_t n, std::int64_t views, std::int64_t size,
                           Out* __restrict__ out) {
  const std::int64_t x = std::int64_t{blockIdx.x} * kBlockX + threadIdx.x;
  const std::int64_t y = std::int64_t{blockIdx.y} * kBlockY + threadIdx.y;
  if (x >= size || y >= size) return;
  for (std::int64_t z = blockIdx.z; z < n * views; z += gridDim.z) {
    const std::int64_t image = z / views;
    const std::int64_t target = z % views * n + image;
    const FixedAffine map = to_fixed(affine + target * 6);
    out[(target * size + y) * size + x] =
        narrow<Out>(augment_pixel(hu + image * size * size, size, map, x, y));
  }
}

template <class Out>
cudaError_t launch(const std::int16_t* hu, const float* affine, std::int64_t n, std::int64_t views,
                   std::int64_t size, void* out, cudaStream_t stream) {
  const auto side = static_cast<unsigned>(size);
  const auto depth = static_cast<unsigned>(n * views < kMaxGridZ ? n * views : kMaxGridZ);
  const dim3 grid((side + kBlockX - 1) / kBlockX, (side + kBlockY - 1) / kBlockY, depth);
  draw_views<Out><<<grid, dim3(kBlockX, kBlockY), 0, stream>>>(hu, affine, n, views, size,
                                                               static_cast<Out*>(out));
  return cudaGetLastError();
}

}  // namespace

int augment_cuda(const std::int16_t* hu, const float* affine, std::int64_t n, std::int64_t views,
                 std::int64_t size, PixelType type, void* out, void* stream) noexcept {
  if (n < 1 || views < 1 || size < 1 || size > kMaxAugmentSize) return cudaErrorInvalidValue;
  const auto queue = static_cast<cudaStream_t>(stream);
  switch (type) {
    case PixelType::f32:
      return launch<float>(hu, affine, n, views, size, out, queue);
    case PixelType::bf16:
      return launch<__nv_bfloat16>(hu, affine, n, views, size, out, queue);
    case PixelType::f16:
      return launch<__half>(hu, affine, n, views, size, out, queue);
  }
  return cudaErrorInvalidValue;
}

const char* cuda_error_text(int code) noexcept {
  return cudaGetErrorString(static_cast<cudaError_t>(code));
}

}  // namespace wsp::train
