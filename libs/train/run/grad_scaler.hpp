#pragma once
#include <cstdint>

namespace wsp::train {

/// fp16 needs its gradients scaled up; the scale halves after an overflow and doubles after 2000
/// good steps. Where a gradient overflows though nothing scales it up any more, no scale helps.
class GradScaler {
 public:
  explicit GradScaler(bool on) : scale_(on ? 65536.0 : 1.0), on_(on) {}
  [[nodiscard]] double scale() const { return scale_; }
  [[nodiscard]] std::int64_t good_steps() const { return good_; }
  [[nodiscard]] bool on() const { return on_; }
  /// False where the gradient was not finite and a smaller scale would not make it so.
  [[nodiscard]] bool update(bool finite);
  void restore(double scale, std::int64_t good) {
    scale_ = scale;
    good_ = good;
  }

 private:
  double scale_;
  std::int64_t good_ = 0;
  bool on_;
};

}  // namespace wsp::train
