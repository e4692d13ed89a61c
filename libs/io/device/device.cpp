#include "io/device/device.hpp"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <dlfcn.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <optional>
#include <utility>

#include "io/core/device_fault.hpp"
#include "io/core/error.hpp"
#include "io/core/log.hpp"

namespace wsp {
namespace {

// CUDA's runtime is asked by name: it is loaded with a LibTorch that has CUDA, and this file builds
// without its headers.
template <class Signature>
Signature* runtime(const char* name) {
  return reinterpret_cast<Signature*>(::dlsym(RTLD_DEFAULT, name));
}

// Why a LibTorch with CUDA sees no card, in the runtime's words; nothing for one without CUDA.
std::optional<std::string> why_no_card() {
  const auto count = runtime<int(int*)>("cudaGetDeviceCount");
  const auto words = runtime<const char*(int)>("cudaGetErrorString");
  if (count == nullptr || words == nullptr) return std::nullopt;
  // Without any driver the runtime calls it too old.
  void* driver = ::dlopen("libcuda.so.1", RTLD_LAZY);
  if (driver == nullptr) return "Found no NVIDIA driver";
  ::dlclose(driver);
  int cards = 0;
  const int status = count(&cards);
  return status == 0 ? "no CUDA-capable device is detected" : words(status);
}

// {7, 5}, or nothing where the runtime does not say.
std::optional<std::pair<int, int>> compute_capability(int card) {
  constexpr int kMajor = 75, kMinor = 76;  // cudaDevAttrComputeCapabilityMajor, -Minor
  const auto attribute = runtime<int(int*, int, int)>("cudaDeviceGetAttribute");
  int major = 0, minor = 0;
  if (attribute == nullptr || attribute(&major, kMajor, card) != 0 ||
      attribute(&minor, kMinor, card) != 0)
    return std::nullopt;
  return std::pair(major, minor);
}

}  // namespace

c10::Device choose_device(const std::string& text, int local_rank) {
  const auto cards = static_cast<int>(torch::cuda::device_count());
  if (text == "cpu") return at::kCPU;
  if (text == "auto" && cards == 0) {
    // A machine without a card is no news; one whose card cannot be used is.
    const auto why = why_no_card();
    const DeviceFault* fault = why ? find_device_fault(*why) : nullptr;
    if (why && (fault == nullptr || fault->code != ErrorCode::usage))
      log::warn("going on on the CPU, since CUDA says: " + *why +
                (fault != nullptr ? ". " + std::string(fault->advice) : ""));
    return at::kCPU;
  }
  int index = local_rank;
  if (text.starts_with("cuda:")) {
    const std::string digits = text.substr(5);
    if (digits.empty() || digits.size() > 3 ||
        digits.find_first_not_of("0123456789") != std::string::npos)
      throw Error(ErrorCode::usage, "--device is '" + text + "': expected cuda:N");
    index = std::stoi(digits);
  } else if (text != "auto" && text != "cuda") {
    throw Error(ErrorCode::usage, "--device is '" + text + "': expected auto, cpu, cuda or cuda:N");
  }
  if (cards == 0) {
    const auto why = why_no_card();
    if (const DeviceFault* fault = why ? find_device_fault(*why) : nullptr)
      throw Error(fault->code, "--device is '" + text + "', but CUDA says: " + *why + ". " +
                                   std::string(fault->advice));
    throw Error(ErrorCode::usage,
                "--device is '" + text +
                    "', but LibTorch sees no CUDA card: either this LibTorch was "
                    "built without CUDA, or the driver does not answer (see "
                    "nvidia-smi). Use --device cpu, or a build against a LibTorch "
                    "with CUDA");
  }
  if (text == "auto") index %= cards;
  if (index >= cards)
    throw Error(ErrorCode::usage,
                "--device is '" + text + "', but LibTorch sees " + std::to_string(cards) +
                    (cards == 1 ? " CUDA card, cuda:0" : " CUDA cards, from cuda:0 on") +
                    (text == "cuda" ? "; start at most one rank per card" : ""));
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

bool has_bfloat16(const c10::Device& device) {
  if (device.is_cpu()) return false;
  const auto capability = compute_capability(device.index());
  return capability && capability->first >= 8;
}

void try_device(const c10::Device& device) {
  if (device.is_cpu()) return;
  std::string what = device.str();
  if (const auto capability = compute_capability(device.index()))
    what += ", of compute capability " + std::to_string(capability->first) + "." +
            std::to_string(capability->second);
  try {
    (void)at::ones({1}, c10::TensorOptions(device)).add_(1).item<float>();
  } catch (const std::exception& e) {
    const DeviceFault* fault = find_device_fault(e.what());
    if (fault != nullptr)
      throw Error(fault->code,
                  std::string(fault->advice) + " (" + what + ": " + first_line(e) + ")");
    throw Error(
        ErrorCode::failure,
        is_out_of_memory(e)
            ? "no memory is left on " + what +
                  ": see nvidia-smi for what else uses the card, or use another one or --device cpu"
            : what + " cannot be used: " + first_line(e));
  }
}

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
void set_autocast(bool cuda, bool on, c10::ScalarType type) {
  const auto device = cuda ? at::kCUDA : at::kCPU;
  at::autocast::set_autocast_enabled(device, on);
  if (on) at::autocast::set_autocast_dtype(device, type);
}
#else
void set_autocast(bool cuda, bool on, c10::ScalarType type) {
  if (cuda) {
    at::autocast::set_enabled(on);
    if (on) at::autocast::set_autocast_gpu_dtype(type);
  } else {
    at::autocast::set_cpu_enabled(on);
    if (on) at::autocast::set_autocast_cpu_dtype(type);
  }
}
#endif

}  // namespace wsp
