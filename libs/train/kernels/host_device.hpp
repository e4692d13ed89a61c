#pragma once

/// Mark an inline function for both sides under nvcc, for the host alone elsewhere.
#if defined(__CUDACC__)
#define WSP_HOST_DEVICE __host__ __device__
#else
#define WSP_HOST_DEVICE
#endif

/// Mark code of a kernel that runs on the device under nvcc; elsewhere tests run it on the host,
/// thread by thread.
#if defined(__CUDACC__)
#define WSP_KERNEL_CODE __device__ __forceinline__
#else
#define WSP_KERNEL_CODE inline
#endif

/// A loop of i over [0, count) that a kernel has unrolled, so that what it indexes stays in
/// registers.
#if defined(__CUDA_ARCH__)
#define WSP_UNROLLED(i, count) _Pragma("unroll") for (int i = 0; i < (count); ++i)
#else
#define WSP_UNROLLED(i, count) for (int i = 0; i < (count); ++i)
#endif
