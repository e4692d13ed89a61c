#include <algorithm>
#include <cmath>

#include "io/core/parallel.hpp"
#include "train/kernels/adam.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kBlock = 1 << 14;

#if defined(__x86_64__)
__attribute__((target_clones("avx2", "default")))
#endif
void block(const AdamStep& s, std::int64_t n, float* value, const float* gradient, float* first,
           float* second) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] + s.added_decay * value[i];
    const float m = first[i] + s.new_first * (g - first[i]);
    const float v = s.beta2 * second[i] + s.new_second * g * g;
    first[i] = m;
    second[i] = v;
    value[i] =
        s.kept_value * value[i] - s.step_size * m / (std::sqrt(v) * s.root_correction2 + s.eps);
  }
}

}  // namespace

void adam_step_cpu(const AdamStep& step, std::int64_t n, float* value, const float* gradient,
                   float* first, float* second) {
  wsp::parallel_loop(std::int64_t{0}, (n + kBlock - 1) / kBlock, [&](std::int64_t b) {
    const std::int64_t at = b * kBlock;
    block(step, std::min(kBlock, n - at), value + at, gradient + at, first + at, second + at);
  });
}

}  // namespace wsp::train
