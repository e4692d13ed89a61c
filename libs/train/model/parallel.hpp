#pragma once
#include <ATen/Parallel.h>

// at::parallel_for is a template that this code instantiates: where LibTorch's threads are OpenMP's
// and the flag is missing, it compiles all the same and runs everything in the calling thread.
#if AT_PARALLEL_OPENMP && !defined(_OPENMP)
#error "compile with OpenMP (-fopenmp), as LibTorch was: at::parallel_for would use one thread"
#endif
