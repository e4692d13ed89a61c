#include "train/engine/device.hpp"

#include <ATen/autocast_mode.h>
#include <dlfcn.h>

#include <cstdlib>
#include <new>
#include <optional>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "train/engine/device_fault.hpp"

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

// CUDA's runtime is asked by name: it is loaded with a LibTorch that has CUDA, and this file builds without its headers.
template <class Signature>
Signature* runtime(const char* name) {
  return reinterpret_cast<Signature*>(::dlsym(RTLD_DEFAULT, name));
}

// Why a LibTorch with CUDA sees no card, in the runtime's words; nothing for one without CUDA.
std::optional<std::string> why_no_card() {
  const auto count = runtime<int(int*)>("cudaGetDeviceCount");
  const auto words = runtime<const char*(int)>("cudaGetErrorString");
  if (count == nullptr || words == nullptr) return std::nullopt;
  int cards = 0;
  const int status = count(&cards);
  return status == 0 ? "no CUDA-capable device is detected" : words(status);
}

// "7.5", or nothing where the runtime does not say.
std::string compute_capability(int card) {
  constexpr int kMajor = 75, kMinor = 76;  // cudaDevAttrComputeCapabilityMajor, -Minor
  const auto attribute = runtime<int(int*, int, int)>("cudaDeviceGetAttribute");
  int major = 0, minor = 0;
  if (attribute == nullptr || attribute(&major, kMajor, card) != 0 ||
      attribute(&minor, kMinor, card) != 0)
    return {};
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

torch::Device choose_device(const std::string& text, int local_rank) {
  const auto cards = static_cast<int>(torch::cuda::device_count());
  if (text == "cpu") return torch::kCPU;
  if (text == "auto" && cards == 0) {
    // A machine without a card is no news; one whose card cannot be used is.
    if (const auto why = why_no_card(); why && why->find("no CUDA-capable") == std::string::npos) {
      const DeviceFault* fault = find_device_fault(*why);
      log::warn("going on on the CPU, since CUDA says: " + *why +
                (fault != nullptr ? ". " + std::string(fault->advice) : ""));
    }
    return torch::kCPU;
  }
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
  if (cards == 0) {
    const auto why = why_no_card();
    if (const DeviceFault* fault = why ? find_device_fault(*why) : nullptr)
      throw Error(fault->code, "--device is '" + text + "', but CUDA says: " + *why + ". " +
                                   std::string(fault->advice));
    throw Error(ErrorCode::usage, "--device is '" + text +
                                      "', but LibTorch sees no CUDA card: either this LibTorch was "
                                      "built without CUDA, or the driver does not answer (see "
                                      "nvidia-smi). Use --device cpu, or a build against a LibTorch "
                                      "with CUDA");
  }
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

void try_device(const torch::Device& device) {
  if (device.is_cpu()) return;
  try {
    (void)torch::ones({1}, device).add_(1).item<float>();
  } catch (const std::exception& e) {
    Error error = readable_error(e);
    const std::string capability = compute_capability(device.index());
    throw error.within("while trying " + device.str() +
                       (capability.empty() ? "" : ", of compute capability " + capability));
  }
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

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  const std::string text = error.what();
  return text.find("out of memory") != std::string::npos ||
         text.find("STATUS_ALLOC_FAILED") != std::string::npos ||
         text.find("not enough memory") != std::string::npos ||
         text.find("can't allocate memory") != std::string::npos;
}

Error readable_error(const std::exception& error) {
  if (is_out_of_memory(error))
    return {ErrorCode::failure,
            "out of memory: use a smaller --batch or --image-size, --micro-batch (the gradient stays "
            "that of the whole batch), --loss-tile, a smaller --ring or --cache none (" +
                first_line(error) + ")"};
  if (const DeviceFault* fault = find_device_fault(error.what()))
    return {fault->code, std::string(fault->advice) + " (" + first_line(error) + ")"};
  const bool torch = dynamic_cast<const c10::Error*>(&error) != nullptr;
  return {ErrorCode::failure, (torch ? "LibTorch: " : "unexpected failure: ") + first_line(error)};
}

bool is_card_lost(const std::exception& error) {
  const DeviceFault* fault = find_device_fault(error.what());
  return fault != nullptr && fault->card_lost;
}

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace wsp::train
