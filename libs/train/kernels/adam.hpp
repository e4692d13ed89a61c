#pragma once
#include <cstdint>

namespace wsp::train {

/// The numbers of one Adam step: m <- lerp(m, g, 1 - beta1), v <- beta2 v + (1 - beta2) g^2,
/// w <- kept_value w - step_size m / (sqrt(v) root_correction2 + eps), with g <- g + added_decay w
/// first.
struct AdamStep {
  float beta2 = 0.999F, eps = 1e-8F;
  float new_first = 0.1F, new_second = 0.001F;  ///< 1 - beta1 and 1 - beta2, not taken in float32
  float step_size = 0;                          ///< learning rate / (1 - beta1^t)
  float root_correction2 = 1;                   ///< 1 / sqrt(1 - beta2^t)
  float added_decay = 0;                        ///< L2 decay added to the gradient (Adam)
  float kept_value = 1;                         ///< 1 - learning rate * decay (AdamW)
};

/// One step over n values in one pass through memory; parallel, the result does not depend on
/// threads.
void adam_step_cpu(const AdamStep& step, std::int64_t n, float* value, const float* gradient,
                   float* first, float* second);

}  // namespace wsp::train
