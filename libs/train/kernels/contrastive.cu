#include <cuda_runtime.h>

#include "train/kernels/contrastive_cuda.hpp"
#include "train/kernels/contrastive_tile.hpp"

namespace wsp::train {
namespace {

/// The block of contrastive_rows.hpp and contrastive_products.hpp as a card has it: a thread runs
/// its own part.
class DeviceBlock {
 public:
  std::int64_t x = blockIdx.x, y = blockIdx.y, z = blockIdx.z;

  template <class T>
  struct PerThread {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
  };

  template <class F>
  __device__ __forceinline__ void each_thread(F&& f) {
    f(static_cast<int>(threadIdx.x));
  }
  __device__ __forceinline__ void sync() { __syncthreads(); }

  template <class Get, class Set>
  __device__ __forceinline__ void exchange(Get&& get, Set&& set, int mask) {
    const int thread = static_cast<int>(threadIdx.x);
    set(thread, __shfl_xor_sync(0xffffffffU, get(thread), mask));
  }

  template <MatrixOrder kOrder, class Row, class Words>
  __device__ __forceinline__ void load_matrices(Row&& row, Words&& words) {
    std::uint32_t* w = words(static_cast<int>(threadIdx.x));
    const auto from =
        static_cast<std::uint32_t>(__cvta_generic_to_shared(row(static_cast<int>(threadIdx.x))));
#if __CUDA_ARCH__ >= 750
    if constexpr (kOrder == MatrixOrder::transposed)
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
                   : "r"(from)
                   : "memory");
    else
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
                   : "r"(from)
                   : "memory");
#else
    no_tensor_cores(w, from);
#endif
  }

  template <class C, class A, class B>
  __device__ __forceinline__ void multiply(C&& sums, A&& left, B&& right) {
    const int thread = static_cast<int>(threadIdx.x);
    float* c = sums(thread);
    const std::uint32_t* a = left(thread);
    const std::uint32_t* b = right(thread);
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif __CUDA_ARCH__ >= 750
    for (int k = 0; k < 2; ++k)  // the same in two steps of 8
      asm volatile(
          "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
          "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(b[k]));
#else
    no_tensor_cores(c, a, b);
#endif
  }

 private:
  /// Before 7.5, where has_tensor_code() is false and nothing gets here.
  template <class... Unused>
  __device__ static void no_tensor_cores(Unused...) {
    __trap();
  }
};

template <class Pass>
__global__ void __launch_bounds__(kBlockThreads) pass_kernel(const ContrastiveWork work) {
  extern __shared__ __align__(16) unsigned char shared[];
  DeviceBlock block;
  Pass::run(block, *reinterpret_cast<typename Pass::Memory*>(shared), work);
}

struct CudaLaunch {
  const ContrastiveWork& work;
  cudaStream_t stream;

  template <class Pass>
  int pass(std::int64_t x, std::int64_t y, std::int64_t z) const {
    constexpr int kBytes = static_cast<int>(sizeof(typename Pass::Memory));
    static_assert(kBytes <= 64 * 1024, "what a block of compute capability 7.5 can have");
    if (kBytes > 48 * 1024) {
      const cudaError_t error = cudaFuncSetAttribute(
          pass_kernel<Pass>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
      if (error != cudaSuccess) return error;
    }
    const dim3 grid(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
    pass_kernel<Pass><<<grid, kBlockThreads, kBytes, stream>>>(work);
    return cudaGetLastError();
  }
};

/// Whether what would run on this card was compiled with tensor cores: 7.5 and later, JIT included.
bool has_tensor_code() {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, pass_kernel<ForwardTiles<TensorProduct>>) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return attributes.binaryVersion >= 75 && attributes.ptxVersion >= 75;
}

}  // namespace

std::size_t contrastive_cuda_workspace(const ContrastiveProblem<void>& problem,
                                       ContrastivePrecision precision) noexcept {
  ContrastiveWork work{};
  if (!plan_contrastive(problem, work)) return 0;
  // What `tensor` may fall back to takes more.
  const std::size_t exact = lay_out(work, ContrastivePrecision::exact, nullptr);
  return precision == ContrastivePrecision::exact || !has_tensor_code()
             ? exact
             : lay_out(work, ContrastivePrecision::tensor, nullptr);
}

int contrastive_cuda(const ContrastiveProblem<void>& problem, EmbeddingType type,
                     ContrastivePrecision precision, double* loss, float* grad, void* workspace,
                     void* stream) noexcept {
  ContrastiveWork work{};
  if (!plan_contrastive(problem, work) || problem.z == nullptr || loss == nullptr ||
      workspace == nullptr)
    return cudaErrorInvalidValue;
  if (precision == ContrastivePrecision::tensor && !has_tensor_code())
    precision = ContrastivePrecision::exact;
  lay_out(work, precision, workspace);
  work.type = type;
  work.loss = loss;
  work.grad = grad;
  const CudaLaunch launch{work, static_cast<cudaStream_t>(stream)};
  return precision == ContrastivePrecision::tensor ? run_contrastive<TensorProduct>(work, launch)
                                                   : run_contrastive<ExactProduct>(work, launch);
}

}  // namespace wsp::train
