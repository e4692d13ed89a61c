#include "train/run/device.hpp"

#include <ATen/autocast_mode.h>

#include <cstdlib>

#include "io/core/device_fault.hpp"
#include "io/core/error.hpp"
#include "io/core/printable.hpp"

namespace wsp::train {

Autocast::Autocast(const torch::Device& device, const std::string& precision)
    : cuda_(device.is_cuda()), active_(precision == "bf16" || precision == "fp16") {
  if (!active_) return;
  at::autocast::increment_nesting();
  set_autocast(cuda_, true, precision == "bf16" ? at::kBFloat16 : at::kHalf);
}

Autocast::~Autocast() {
  if (!active_) return;
  set_autocast(cuda_, false, at::kFloat);
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
}

std::string resolve_precision(const std::string& asked, const torch::Device& device) {
  if (asked != "auto") return asked;
  return device.is_cpu() ? "fp32" : has_bfloat16(device) ? "bf16" : "tf32";
}

void prepare_precision(const torch::Device& device, const std::string& precision) {
  if (!device.is_cuda() && (precision == "fp16" || precision == "tf32"))
    throw Error(ErrorCode::usage,
                "--precision " + precision + " needs a CUDA card: on the CPU use fp32 or bf16");
  const bool tf32 = precision != "fp32";
  at::globalContext().setAllowTF32CuBLAS(tf32);
  at::globalContext().setAllowTF32CuDNN(tf32);
}

// Not at::NoTF32Guard: that one is of its thread, and a card's backward pass runs in another.
ExactProducts::ExactProducts() : tf32_(at::globalContext().allowTF32CuBLAS()) {
  if (tf32_) at::globalContext().setAllowTF32CuBLAS(false);
}

ExactProducts::~ExactProducts() {
  if (tf32_) at::globalContext().setAllowTF32CuBLAS(true);
}

void prepare_algorithms(const torch::Device& device, bool deterministic) {
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(deterministic, /*warn_only=*/true);
  context.setDeterministicCuDNN(deterministic);
  context.setBenchmarkCuDNN(device.is_cuda() && !deterministic);
  // cuBLAS reads it when its first handle is made.
  if (device.is_cuda() && deterministic) ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
}

bool use_channels_last(const std::string& asked, const torch::Device& device,
                       const std::string& precision) {
  if (asked == "auto") return device.is_cuda() && (precision == "bf16" || precision == "fp16");
  return asked == "on";
}

void make_channels_last(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& weight : module.parameters()) {
    if (weight.dim() != 4) continue;
    const torch::Tensor laid_out = torch::empty(
        weight.sizes(), weight.options().memory_format(torch::MemoryFormat::ChannelsLast));
    weight.set_data(laid_out.copy_(weight));
  }
}

torch::Tensor send(const torch::Tensor& host, const torch::Device& device) {
  if (!device.is_cuda() || !host.is_cpu()) return host.to(device);
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

Error readable_error(const std::exception& error) {
  if (is_out_of_memory(error))
    return {
        ErrorCode::failure,
        "out of memory: use a smaller --batch or --image-size, --micro-batch (the gradient stays "
        "that of the whole batch), --loss-tile, a smaller --ring or --cache none (" +
            first_line(error) + ")"};
  if (const DeviceFault* fault = find_device_fault(error.what()))
    return {fault->code, std::string(fault->advice) + " (" + first_line(error) + ")"};
  if (const std::string path = path_failure(error); !path.empty())
    return {ErrorCode::failure, path};
  const bool torch = dynamic_cast<const c10::Error*>(&error) != nullptr;
  return {ErrorCode::failure, (torch ? "LibTorch: " : "unexpected failure: ") + first_line(error)};
}

bool is_card_lost(const std::exception& error) {
  const DeviceFault* fault = find_device_fault(error.what());
  return fault != nullptr && fault->card_lost;
}

}  // namespace wsp::train
