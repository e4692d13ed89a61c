#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <optional>
#include <string>

namespace wsp {

/// The type in which a liver model's convolutions and products run; nothing for float32. `asked`:
/// auto, fp32, bf16 or fp16; auto is what the descriptor says (empty: float32) on a card, and
/// float32 on a CPU. Throws Error(usage) for another word, and for fp16 on a CPU.
std::optional<c10::ScalarType> half_precision(const std::string& asked,
                                              const std::string& of_descriptor,
                                              const c10::Device& device);

/// LibTorch's autocast in this scope and thread: convolutions and products in `type`, what needs
/// float32 in that. Without its cache of converted weights, which all threads share: another thread
/// would take, on its own stream, a weight that this one's stream may not have converted yet.
class HalfScope {
 public:
  HalfScope(const c10::Device& device, std::optional<c10::ScalarType> type);
  ~HalfScope();
  HalfScope(const HalfScope&) = delete;
  HalfScope& operator=(const HalfScope&) = delete;

 private:
  bool cuda_, active_, cached_ = false;
};

}  // namespace wsp
