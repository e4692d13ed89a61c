#include "preprocess/segment/half_precision.hpp"

#include <ATen/autocast_mode.h>

#include "io/core/error.hpp"
#include "io/device/device.hpp"

namespace wsp {

std::optional<c10::ScalarType> half_precision(const std::string& asked,
                                              const std::string& of_descriptor,
                                              const c10::Device& device) {
  const std::string wanted = asked != "auto" ? asked : device.is_cpu() ? "" : of_descriptor;
  if (wanted.empty() || wanted == "fp32") return std::nullopt;
  if (wanted == "bf16") return c10::kBFloat16;
  if (wanted != "fp16")
    throw Error(ErrorCode::usage,
                "--precision is '" + asked + "': expected auto, fp32, bf16 or fp16");
  if (device.is_cpu())
    throw Error(ErrorCode::usage,
                "--precision fp16 needs a CUDA card: on the CPU use fp32 or bf16");
  return c10::kHalf;
}

HalfScope::HalfScope(const c10::Device& device, std::optional<c10::ScalarType> type)
    : cuda_(device.is_cuda()), active_(type.has_value()) {
  if (!active_) return;
  cached_ = at::autocast::is_autocast_cache_enabled();
  at::autocast::set_autocast_cache_enabled(false);
  at::autocast::increment_nesting();
  set_autocast(cuda_, true, *type);
}

HalfScope::~HalfScope() {
  if (!active_) return;
  set_autocast(cuda_, false, c10::kFloat);
  at::autocast::decrement_nesting();
  at::autocast::set_autocast_cache_enabled(cached_);
}

}  // namespace wsp
