#include <cuda_runtime.h>

#include "train/kernels/pool_relu_cuda.hpp"
#include "train/kernels/pool_relu_pixel.hpp"

namespace wsp::train {
namespace {

constexpr unsigned kThreads = 256;

template <PixelType kType, int kVector>
__global__ void __launch_bounds__(kThreads)
    forward(const PoolShape shape, const std::int64_t places,
            const typename Stored<kType>::Bits* __restrict__ conv, const float* __restrict__ bias,
            typename Stored<kType>::Bits* __restrict__ out, std::uint8_t* __restrict__ winner) {
  for (std::int64_t place = std::int64_t{blockIdx.y} * kThreads + threadIdx.x; place < places;
       place += std::int64_t{gridDim.y} * kThreads)
    bias_relu_pool_at<kType, kVector>(shape, blockIdx.x, place, conv, bias, out, winner);
}

template <PixelType kType, int kVector>
__global__ void __launch_bounds__(kThreads)
    backward(const PoolShape shape, const std::int64_t places,
             const typename Stored<kType>::Bits* __restrict__ gradient,
             const std::uint8_t* __restrict__ winner,
             typename Stored<kType>::Bits* __restrict__ conv_gradient) {
  for (std::int64_t place = std::int64_t{blockIdx.y} * kThreads + threadIdx.x; place < places;
       place += std::int64_t{gridDim.y} * kThreads)
    bias_relu_pool_backward_at<kType, kVector>(shape, blockIdx.x, place, gradient, winner,
                                               conv_gradient);
}

struct Forward {
  const void* conv;
  const float* bias;
  void* out;
  std::uint8_t* winner;
  static constexpr bool kBackward = false;

  template <PixelType kType, int kVector>
  void start(const PoolShape& shape, PoolGrid grid, dim3 blocks, cudaStream_t stream) const {
    using Bits = typename Stored<kType>::Bits;
    forward<kType, kVector><<<blocks, kThreads, 0, stream>>>(
        shape, grid.places, static_cast<const Bits*>(conv), bias, static_cast<Bits*>(out), winner);
  }
};

struct Backward {
  const void* gradient;
  const std::uint8_t* winner;
  void* conv_gradient;
  static constexpr bool kBackward = true;

  template <PixelType kType, int kVector>
  void start(const PoolShape& shape, PoolGrid grid, dim3 blocks, cudaStream_t stream) const {
    using Bits = typename Stored<kType>::Bits;
    backward<kType, kVector>
        <<<blocks, kThreads, 0, stream>>>(shape, grid.places, static_cast<const Bits*>(gradient),
                                          winner, static_cast<Bits*>(conv_gradient));
  }
};

template <PixelType kType, int kVector, class Pass>
int start(const Pass& pass, const PoolShape& shape, cudaStream_t stream) {
  constexpr std::int64_t kMost = 0x7fffffff;
  const PoolGrid grid = pool_grid(shape, kVector, Pass::kBackward);
  if (grid.rows > kMost || grid.places > kMost) return cudaErrorInvalidValue;
  const std::int64_t parts = (grid.places + kThreads - 1) / kThreads;
  const dim3 blocks(static_cast<unsigned>(grid.rows),
                    static_cast<unsigned>(parts < 65535 ? parts : 65535));
  pass.template start<kType, kVector>(shape, grid, blocks, stream);
  return cudaGetLastError();
}

// Whether all of `maps` lie where 16 bytes may be read at once.
bool aligned(const void* a, const void* b) {
  return reinterpret_cast<std::uintptr_t>(a) % 16 == 0 &&
         reinterpret_cast<std::uintptr_t>(b) % 16 == 0;
}

template <class Pass>
int run(const Pass& pass, const PoolShape& s, PixelType type, bool may_pack, void* stream) {
  if (s.n < 1 || s.c < 1 || s.out_h() < 1 || s.out_w() < 1) return cudaErrorInvalidValue;
  const auto queue = static_cast<cudaStream_t>(stream);
  const bool packed = pool_vector(s, type, may_pack) > 1;
  switch (type) {
    case PixelType::f32:
      return packed ? start<PixelType::f32, 4>(pass, s, queue)
                    : start<PixelType::f32, 1>(pass, s, queue);
    case PixelType::bf16:
      return packed ? start<PixelType::bf16, 8>(pass, s, queue)
                    : start<PixelType::bf16, 1>(pass, s, queue);
    case PixelType::f16:
      return packed ? start<PixelType::f16, 8>(pass, s, queue)
                    : start<PixelType::f16, 1>(pass, s, queue);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

int bias_relu_pool_cuda(const PoolShape& shape, PixelType type, const void* conv, const float* bias,
                        void* out, std::uint8_t* winner, void* stream) noexcept {
  const bool may_pack = aligned(conv, out) && aligned(winner, winner);
  return run(Forward{conv, bias, out, winner}, shape, type, may_pack, stream);
}

int bias_relu_pool_backward_cuda(const PoolShape& shape, PixelType type, const void* gradient,
                                 const std::uint8_t* winner, void* conv_gradient,
                                 void* stream) noexcept {
  const bool may_pack = aligned(gradient, conv_gradient) && aligned(winner, winner);
  return run(Backward{gradient, winner, conv_gradient}, shape, type, may_pack, stream);
}

}  // namespace wsp::train
