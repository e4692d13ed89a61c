#include <cuda_runtime.h>

#include "train/kernels/augment_cuda.hpp"
#include "train/kernels/augment_pixel.hpp"

namespace wsp::train {
namespace {

constexpr unsigned kBlockX = 32;
constexpr unsigned kBlockY = 8;
constexpr unsigned kRows = 4;  // of a thread: to fixed point are six slow 64-bit conversions
constexpr std::int64_t kMaxGridZ = 65535;

/// One thread per kRows output pixels of a column; the views of an image are neighbours in z, so
/// that the second finds the source in cache.
template <PixelType kType>
__global__ void draw_views(const std::int16_t* __restrict__ hu, const float* __restrict__ affine,
                           std::int64_t n, std::int64_t views, std::int64_t size,
                           typename Stored<kType>::Bits* __restrict__ out) {
  const std::int64_t x = std::int64_t{blockIdx.x} * kBlockX + threadIdx.x;
  const std::int64_t first = std::int64_t{blockIdx.y} * (kBlockY * kRows) + threadIdx.y;
  if (x >= size) return;
  for (std::int64_t z = blockIdx.z; z < n * views; z += gridDim.z) {
    const std::int64_t image = z / views;
    const std::int64_t target = z % views * n + image;
    const FixedAffine map = to_fixed(affine + target * 6);
    WSP_UNROLLED (row, static_cast<int>(kRows)) {
      const std::int64_t y = first + row * std::int64_t{kBlockY};
      if (y >= size) break;
      out[(target * size + y) * size + x] =
          Stored<kType>::bits(augment_pixel(hu + image * size * size, size, map, x, y));
    }
  }
}

template <PixelType kType>
cudaError_t launch(const std::int16_t* hu, const float* affine, std::int64_t n, std::int64_t views,
                   std::int64_t size, void* out, cudaStream_t stream) {
  const auto side = static_cast<unsigned>(size);
  const auto depth = static_cast<unsigned>(n * views < kMaxGridZ ? n * views : kMaxGridZ);
  const dim3 grid((side + kBlockX - 1) / kBlockX, (side + kBlockY * kRows - 1) / (kBlockY * kRows),
                  depth);
  draw_views<kType><<<grid, dim3(kBlockX, kBlockY), 0, stream>>>(
      hu, affine, n, views, size, static_cast<typename Stored<kType>::Bits*>(out));
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
