#include "train/engine/device.hpp"

#include <ATen/autocast_mode.h>

#include <new>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
void set_autocast(bool cuda, bool on, at::ScalarType type) {
  const auto device = cuda ? at::kCUDA : at::kCPU;
  at::autocast::set_autocast_enabled(device, on);
  if (on) at::autocast::set_autocast_dtype(device, type);
}
#else
void set_autocast(bool cuda, bool on, at::ScalarType type) {
  if (cuda) {
    at::autocast::set_enabled(on);
    if (on) at::autocast::set_autocast_gpu_dtype(type);
  } else {
    at::autocast::set_cpu_enabled(on);
    if (on) at::autocast::set_autocast_cpu_dtype(type);
  }
}
#endif

}  // namespace

torch::Device choose_device(const std::string& text, int local_rank) {
  const auto cards = static_cast<int>(torch::cuda::device_count());
  if (text == "cpu" || (text == "auto" && cards == 0)) return torch::kCPU;
  int index = local_rank;
  if (text.starts_with("cuda:")) {
    const std::string digits = text.substr(5);
    if (digits.empty() || digits.size() > 3 ||
        digits.find_first_not_of("0123456789") != std::string::npos)
      throw Error(ErrorCode::usage, "--device is '" + text + "': expected cuda:N");
    index = std::stoi(digits);
  } else if (text != "auto" && text != "cuda") {
    throw Error(ErrorCode::usage,
                "--device is '" + text + "': expected auto, cpu, cuda or cuda:N");
  }
  if (cards == 0)
    throw Error(ErrorCode::usage, "--device is '" + text +
                                      "', but LibTorch sees no CUDA card: either this LibTorch was "
                                      "built without CUDA, or the driver does not answer (see "
                                      "nvidia-smi). Use --device cpu, or a build against a LibTorch "
                                      "with CUDA");
  if (text == "auto") index %= cards;
  if (index >= cards)
    throw Error(ErrorCode::usage, "--device is '" + text + "': this rank wants card " +
                                      std::to_string(index) + " of " + std::to_string(cards) +
                                      "; start at most one rank per card");
  return {torch::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

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

void prepare_precision(const torch::Device& device, const std::string& precision) {
  if (!device.is_cuda() && (precision == "fp16" || precision == "tf32"))
    throw Error(ErrorCode::usage, "--precision " + precision +
                                      " needs a CUDA card: on the CPU use fp32 or bf16");
  const bool tf32 = precision != "fp32";
  at::globalContext().setAllowTF32CuBLAS(tf32);
  at::globalContext().setAllowTF32CuDNN(tf32);
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  const std::string text = error.what();
  return text.find("out of memory") != std::string::npos ||
         text.find("not enough memory") != std::string::npos ||
         text.find("can't allocate memory") != std::string::npos;
}

Error readable_error(const std::exception& error) {
  if (is_out_of_memory(error))
    return {ErrorCode::failure,
            "out of memory: use a smaller --batch or --image-size, --micro-batch (the gradient stays "
            "that of the whole batch), --loss-tile, a smaller --ring or --cache none (" +
                first_line(error) + ")"};
  const bool torch = dynamic_cast<const c10::Error*>(&error) != nullptr;
  return {ErrorCode::failure, (torch ? "LibTorch: " : "unexpected failure: ") + first_line(error)};
}

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace wsp::train
