#pragma once

/// Mark an inline function for both sides under nvcc, for the host alone elsewhere.
#if defined(__CUDACC__)
#define WSP_HOST_DEVICE __host__ __device__
#else
#define WSP_HOST_DEVICE
#endif
