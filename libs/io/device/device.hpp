#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

namespace wsp {

/// "auto" (the card of this rank where there is one, else the CPU), "cpu", "cuda" or "cuda:N".
/// Throws Error(usage) where the device is absent, saying why.
c10::Device choose_device(const std::string& text, int local_rank);

/// Run a kernel on the card, so that one that cannot be used is refused before anything is written.
/// Throws Error saying what would work; does nothing on the CPU.
void try_device(const c10::Device& device);

/// Whether the card multiplies matrices of bfloat16 (compute capability 8.0 and later); false on
/// the CPU.
bool has_bfloat16(const c10::Device& device);

/// Begin or end autocast to `type` in this thread, on any LibTorch.
void set_autocast(bool cuda, bool on, c10::ScalarType type);

}  // namespace wsp
