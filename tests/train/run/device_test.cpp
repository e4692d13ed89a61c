// A card that cannot be used: what the words of CUDA and LibTorch become. No card is needed.
#include "train/run/device.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "train/run/optimizer.hpp"

namespace wsp::train {
namespace {

struct Case {
  const char* message;  ///< as the library words it
  ErrorCode code;
  bool card_lost;
  const char* advice;  ///< part of what the user is told
};

class DeviceFaults : public testing::TestWithParam<Case> {};

TEST_P(DeviceFaults, AreToldWithWhatWouldWork) {
  const Case& c = GetParam();
  const std::runtime_error error(
      std::string(c.message) +
      "\nCUDA kernel errors might be asynchronously reported at some other API call");
  const Error told = readable_error(error);
  const std::string text = told.what();
  EXPECT_EQ(told.code(), c.code) << text;
  EXPECT_NE(text.find(c.advice), std::string::npos) << text;
  EXPECT_NE(text.find(c.message), std::string::npos)
      << "the library's own words are kept: " << text;
  EXPECT_EQ(text.find("asynchronously"), std::string::npos) << "one line: " << text;
  EXPECT_EQ(is_card_lost(error), c.card_lost) << text;
  EXPECT_EQ(is_card_lost(told), c.card_lost) << "known again in our own words: " << text;
}

constexpr auto kUsage = ErrorCode::usage, kFailure = ErrorCode::failure;
INSTANTIATE_TEST_SUITE_P(
    Words, DeviceFaults,
    testing::Values(
        Case{"No CUDA GPUs are available", kUsage, false, "--device cpu"},
        Case{"CUDA error: no CUDA-capable device is detected", kUsage, false,
             "CUDA_VISIBLE_DEVICES"},
        Case{"CUDA error: CUDA driver version is insufficient for CUDA runtime version", kFailure,
             false, "update the driver"},
        Case{"The NVIDIA driver on your system is too old (found version 11040).", kFailure, false,
             "update the driver"},
        Case{"CUDA error: the provided PTX was compiled with an unsupported toolchain.", kFailure,
             false, "update the driver"},
        Case{"CUDA error: no kernel image is available for execution on the device", kFailure,
             false, "compute capability 7.5"},
        Case{"cuDNN error: CUDNN_STATUS_ARCH_MISMATCH", kFailure, false, "compute capability"},
        Case{"CUDA error: system has unsupported display driver / cuda driver combination",
             kFailure, false, "reboot"},
        Case{"CUDA error: all CUDA-capable devices are busy or unavailable", kFailure, false,
             "another process"},
        Case{"CUDA error: system not yet initialized", kFailure, false, "fabricmanager"},
        Case{"CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
             kFailure, false, "nvidia-smi"},
        Case{"CUDA out of memory. Tried to allocate 20.00 GiB (GPU 0; 15.77 GiB total capacity; "
             "1.10 GiB "
             "already allocated; 14.02 GiB free; 1.12 GiB reserved in total by PyTorch)",
             kFailure, false, "--micro-batch"},
        Case{"CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", kFailure,
             false, "out of memory"},
        Case{"CUDA error: out of memory", kFailure, false, "--micro-batch"},
        Case{"CUDA error: unspecified launch failure", kFailure, true, "Xid"},
        Case{"CUDA error: uncorrectable ECC error encountered", kFailure, true, "start it again"},
        Case{"CUDA error: the launch timed out and was terminated", kFailure, true,
             "start it again"},
        Case{"CUDA error: unknown error", kFailure, true, "--device cuda:N"},
        Case{"CUDA error: an illegal memory access was encountered", kFailure, true,
             "CUDA_LAUNCH_BLOCKING=1"},
        Case{"CUDA error: device-side assert triggered", kFailure, true, "run again"}));

TEST(DeviceFaults, OtherMessagesAreNone) {
  for (const char* text :
       {"", "mat1 and mat2 shapes cannot be multiplied", "out of memory", "unknown error"})
    EXPECT_EQ(find_device_fault(text), nullptr) << text;
}

TEST(DeviceFaults, WhatLiesOnALostCardIsLeaked) {
  struct Held {
    bool& freed;
    ~Held() { freed = true; }
  };
  const auto freed_after = [](const char* message) {
    bool freed = false;
    auto* held = new Held{freed};
    EXPECT_THROW(leaking_if_card_lost(std::unique_ptr<Held>(held),
                                      [&](Held&) -> int { throw std::runtime_error(message); }),
                 std::runtime_error);
    const bool was = freed;
    if (!was) delete held;
    return was;
  };
  EXPECT_TRUE(freed_after("CUDA out of memory"));
  EXPECT_TRUE(freed_after("anything else"));
  EXPECT_FALSE(freed_after("CUDA error: unspecified launch failure"));
  bool freed = false;
  EXPECT_EQ(leaking_if_card_lost(std::unique_ptr<Held>(new Held{freed}), [](Held&) { return 7; }),
            7);
  EXPECT_TRUE(freed);
}

TEST(Device, ACardThatIsNotThereIsRefused) {
  if (torch::cuda::device_count() > 0) GTEST_SKIP() << "this machine has a card";
  for (const char* device : {"cuda", "cuda:0"}) try {
      (void)choose_device(device, 0);
      ADD_FAILURE() << device;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find("--device cpu"), std::string::npos) << e.what();
    }
  EXPECT_TRUE(choose_device("auto", 0).is_cpu());
}

TEST(Device, ChannelsLastIsForCardsInHalfPrecision) {
  const torch::Device cpu(torch::kCPU), card(torch::kCUDA, 0);
  for (const char* half : {"bf16", "fp16"}) {
    EXPECT_TRUE(use_channels_last("auto", card, half));
    EXPECT_FALSE(use_channels_last("auto", cpu, half));
    EXPECT_FALSE(use_channels_last("off", card, half));
  }
  for (const char* whole : {"fp32", "tf32"}) EXPECT_FALSE(use_channels_last("auto", card, whole));
  EXPECT_TRUE(use_channels_last("on", cpu, "fp32"));
}

// LibTorch computes channels-last where it takes the image or the weights for that, and judges by
// strides.
TEST(Device, EveryConvolutionIsLaidOutChannelsLast) {
  torch::nn::Sequential net(torch::nn::Conv2d(1, 16, 5), torch::nn::Conv2d(16, 8, 3));
  std::vector<torch::Tensor> before;
  for (const torch::Tensor& p : net->parameters()) before.push_back(p.detach().clone());
  make_channels_last(*net);
  const auto after = net->parameters();
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_TRUE(torch::equal(after[i], before[i]));
    EXPECT_TRUE(after[i].requires_grad());
    if (after[i].dim() == 4) {
      EXPECT_EQ(after[i].suggest_memory_format(), torch::MemoryFormat::ChannelsLast)
          << after[i].sizes();
    }
  }
  const FlatParameters flat(*net);
  for (const torch::Tensor& p : net->parameters())
    if (p.dim() == 4) {
      EXPECT_EQ(p.suggest_memory_format(), torch::MemoryFormat::ChannelsLast)
          << "in the flat buffer too";
    }
}

TEST(Device, WhatIsSentToTheCpuStaysWhereItIs) {
  const torch::Tensor here = torch::arange(3);
  EXPECT_EQ(send(here, torch::kCPU).data_ptr(), here.data_ptr());
}

TEST(Device, DeterminismSetsLibTorchUp) {
  const torch::Device cpu(torch::kCPU), card(torch::kCUDA, 0);
  const at::Context& context = at::globalContext();
  prepare_algorithms(card, true);
  EXPECT_TRUE(context.deterministicAlgorithms());
  EXPECT_TRUE(context.deterministicCuDNN());
  EXPECT_FALSE(context.benchmarkCuDNN());
  EXPECT_NE(std::getenv("CUBLAS_WORKSPACE_CONFIG"), nullptr);
  prepare_algorithms(card, false);
  EXPECT_FALSE(context.deterministicAlgorithms());
  EXPECT_TRUE(context.benchmarkCuDNN());
  prepare_algorithms(cpu, false);
  EXPECT_FALSE(context.benchmarkCuDNN());
}

TEST(Precision, AutoIsWhatTheDeviceHas) {
  EXPECT_EQ(resolve_precision("auto", torch::kCPU), "fp32");
  const torch::Device card(torch::kCUDA, 0);
  EXPECT_EQ(resolve_precision("auto", card), has_bfloat16(card) ? "bf16" : "tf32");
  EXPECT_FALSE(has_bfloat16(torch::kCPU));
  EXPECT_FALSE(!torch::cuda::is_available() && has_bfloat16(card));
  for (const char* asked : {"fp32", "tf32", "bf16", "fp16"})
    for (const torch::Device device : {torch::Device(torch::kCPU), card})
      EXPECT_EQ(resolve_precision(asked, device), asked);
}

}  // namespace
}  // namespace wsp::train
