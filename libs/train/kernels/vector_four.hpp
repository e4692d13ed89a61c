#pragma once
#include <cstdint>

/// Four numbers at a time, as GCC's and Clang's vectors: one instruction with AVX2, two or four
/// without. For bodies of functions under WSP_VECTOR_CLONES; never an argument or a result, whose
/// ABI depends on the instruction set.
namespace wsp::train {

using Four = double __attribute__((vector_size(32)));

/// Four elements at p, which need not be aligned.
__attribute__((always_inline)) inline void load_four(const double* p, Four& v) {
  using Unaligned = double __attribute__((vector_size(32), aligned(8), may_alias));
  v = *reinterpret_cast<const Unaligned*>(p);
}
__attribute__((always_inline)) inline void store_four(double* p, const Four& v) {
  using Unaligned = double __attribute__((vector_size(32), aligned(8), may_alias));
  *reinterpret_cast<Unaligned*>(p) = v;
}
/// Sum of the four.
__attribute__((always_inline)) inline double sum_four(const Four& v) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

}  // namespace wsp::train
