#include "train/run/grad_scaler.hpp"

namespace wsp::train {

bool GradScaler::update(bool finite) {
  constexpr std::int64_t kGrowAfter = 2000;
  if (!on_) return finite;
  if (!finite) {
    if (scale_ <= 1) return false;
    scale_ /= 2;
    good_ = 0;
  } else if (++good_ >= kGrowAfter) {
    scale_ *= 2;
    good_ = 0;
  }
  return true;
}

}  // namespace wsp::train
