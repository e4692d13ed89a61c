#include "io/core/device_fault.hpp"

#include <new>

namespace wsp {
namespace {

constexpr std::string_view kNoCard =
    "no CUDA card is visible: see nvidia-smi and the variable CUDA_VISIBLE_DEVICES, or use "
    "--device cpu";
constexpr std::string_view kOldDriver =
    "the NVIDIA driver is older than the CUDA of this LibTorch: update the driver (CUDA 12 needs "
    "525.60 or newer, "
    "CUDA 13 needs 580.65 or newer), take a LibTorch of an older CUDA, or use --device cpu";
constexpr std::string_view kMixedDriver =
    "the driver's kernel module and libcuda do not belong together: reboot after an update of the "
    "driver, or in a "
    "container use the host's libcuda; --device cpu works meanwhile";
constexpr std::string_view kOldCard =
    "this LibTorch holds no code for the card: take one that does (CUDA 13 knows cards from "
    "compute capability 7.5, "
    "CUDA 12 also 7.0 such as the V100), or use another card or --device cpu";
constexpr std::string_view kBusy =
    "another process holds the card for itself (see nvidia-smi): wait for it, choose another card "
    "with --device "
    "cuda:N, or use --device cpu";
constexpr std::string_view kNotReady =
    "the card is not ready yet: machines whose cards are joined by NVSwitch need the service "
    "nvidia-fabricmanager to "
    "run";
constexpr std::string_view kNoLibrary =
    "cuBLAS or cuDNN cannot start, as a rule for want of memory on the card: see nvidia-smi for "
    "what else uses it";
constexpr std::string_view kLost =
    "the card was lost: see dmesg for lines with Xid, and nvidia-smi. Nothing on it can be used by "
    "this process any "
    "more; start it again, on another card with --device cuda:N";
constexpr std::string_view kDefect =
    "a kernel read or wrote where it must not, which is a defect of this program or of LibTorch, "
    "or of the card's "
    "memory: run again, and with CUDA_LAUNCH_BLOCKING=1 to learn where if it comes back";

// The more special first.
constexpr DeviceFault kFaults[] = {
    {"no CUDA-capable device is detected", ErrorCode::usage, false, kNoCard},
    {"No CUDA GPUs are available", ErrorCode::usage, false, kNoCard},
    {"Found no NVIDIA driver", ErrorCode::usage, false, kNoCard},
    {"CUDA driver is a stub library", ErrorCode::usage, false, kNoCard},
    {"driver version is insufficient", ErrorCode::failure, false, kOldDriver},
    {"NVIDIA driver on your system is too old", ErrorCode::failure, false, kOldDriver},
    {"PTX was compiled with an unsupported toolchain", ErrorCode::failure, false, kOldDriver},
    {"unsupported display driver / cuda driver combination", ErrorCode::failure, false,
     kMixedDriver},
    {"forward compatibility was attempted on non supported HW", ErrorCode::failure, false,
     kMixedDriver},
    {"no kernel image is available", ErrorCode::failure, false, kOldCard},
    {"device kernel image is invalid", ErrorCode::failure, false, kOldCard},
    {"CUDNN_STATUS_ARCH_MISMATCH", ErrorCode::failure, false, kOldCard},
    {"CUBLAS_STATUS_ARCH_MISMATCH", ErrorCode::failure, false, kOldCard},
    {"devices are busy or unavailable", ErrorCode::failure, false, kBusy},
    {"device already in use", ErrorCode::failure, false, kBusy},
    {"system not yet initialized", ErrorCode::failure, false, kNotReady},
    {"CUBLAS_STATUS_NOT_INITIALIZED", ErrorCode::failure, false, kNoLibrary},
    {"CUDNN_STATUS_NOT_INITIALIZED", ErrorCode::failure, false, kNoLibrary},
    {"illegal memory access", ErrorCode::failure, true, kDefect},
    {"misaligned address", ErrorCode::failure, true, kDefect},
    {"device-side assert triggered", ErrorCode::failure, true, kDefect},
    {"illegal instruction was encountered", ErrorCode::failure, true, kDefect},
    {"uncorrectable ECC error", ErrorCode::failure, true, kLost},
    {"uncorrectable NVLink error", ErrorCode::failure, true, kLost},
    {"hardware stack error", ErrorCode::failure, true, kLost},
    {"unspecified launch failure", ErrorCode::failure, true, kLost},
    {"launch timed out and was terminated", ErrorCode::failure, true, kLost},
    {"GPU is lost", ErrorCode::failure, true, kLost},
    {"CUDA error: unknown error", ErrorCode::failure, true, kLost},
};

}  // namespace

const DeviceFault* find_device_fault(std::string_view message) {
  for (const DeviceFault& fault : kFaults)
    if (message.find(fault.words) != std::string_view::npos) return &fault;
  return nullptr;
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  const std::string_view text = error.what();
  for (const char* words : {"out of memory", "STATUS_ALLOC_FAILED", "not enough memory",
                            "can't allocate memory", "Cannot allocate memory", "bad_alloc"})
    if (text.find(words) != std::string_view::npos) return true;
  return false;
}

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace wsp
