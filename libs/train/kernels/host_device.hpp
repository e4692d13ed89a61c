#pragma once

/// Mark an inline function for both sides under nvcc, for the host alone elsewhere.
#if defined(__CUDACC__)
#define WSP_HOST_DEVICE __host__ __device__
#else
#define WSP_HOST_DEVICE
#endif

/// Mark code of a kernel that runs on the device under nvcc; elsewhere tests run it on the host, thread by thread.
#if defined(__CUDACC__)
#define WSP_KERNEL_CODE __device__ __forceinline__
#else
#define WSP_KERNEL_CODE inline
#endif

/// Unroll the loop that follows, so that what it indexes stays in registers.
#if defined(__CUDA_ARCH__)
#define WSP_UNROLL _Pragma("unroll")
#else
#define WSP_UNROLL
#endif
