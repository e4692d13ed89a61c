#pragma once
#include <torch/torch.h>

#include <memory>
#include <string>

#include "io/core/device_fault.hpp"
#include "io/core/error.hpp"
#include "io/device/device.hpp"

namespace wsp::train {

/// Mixed precision of the forward pass: fp32, tf32, bf16 or fp16, on any device and LibTorch.
class Autocast {
 public:
  Autocast(const torch::Device& device, const std::string& precision);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool cuda_ = false, active_ = false;
};
/// What "auto" is on a device: fp32 on the CPU, bf16 on a card that has it (compute capability 8.0
/// and later), else tf32, which a card without it computes as fp32. Any other word is its own.
std::string resolve_precision(const std::string& asked, const torch::Device& device);
/// Throws Error(usage) for a precision that the device lacks; sets TF32.
void prepare_precision(const torch::Device& device, const std::string& precision);
/// While it lives, matrix products of float32 are products of float32 in every thread, whatever
/// --precision allows: TF32 keeps 11 bits of a factor, which is half a pixel of a sampling grid of
/// 512 and 0.5 % of a weight exp(s / 0.1).
class ExactProducts {
 public:
  ExactProducts();
  ~ExactProducts();
  ExactProducts(const ExactProducts&) = delete;
  ExactProducts& operator=(const ExactProducts&) = delete;

 private:
  bool tf32_;
};
/// `deterministic`: the same bits on the same card, by LibTorch's deterministic algorithms (it
/// warns of an operation that has none); call it before the first matrix product. Otherwise cuDNN
/// tries its algorithms on each new shape and takes the fastest. On the CPU a run has the same bits
/// either way.
void prepare_algorithms(const torch::Device& device, bool deterministic);
/// Whether the networks work in channels-last: as asked ("on", "off"), or with "auto" on a card in
/// half precision, where tensor cores want it.
bool use_channels_last(const std::string& asked, const torch::Device& device,
                       const std::string& precision);
/// Lay out the weights of convolutions channels-last, which the convolutions follow. Those of one
/// input channel too, by their strides: LibTorch takes such a weight for channels-last already,
/// leaves it, and then computes in the other layout.
void make_channels_last(torch::nn::Module& module);
/// The values on `device` as soon as its current stream gets there, without waiting for what that
/// stream was given before: on a card by way of pinned memory, which LibTorch keeps until it is
/// read. On the CPU the tensor itself.
torch::Tensor send(const torch::Tensor& host, const torch::Device& device);

/// Our own error for one that is not, e.g. LibTorch's: what to do about too little memory or a card
/// that cannot be used, or the first line of it.
Error readable_error(const std::exception& error);
/// True for an error after which this process can do nothing more on its card. Tensors that lie
/// there must then be leaked: LibTorch may throw from their destructors.
bool is_card_lost(const std::exception& error);
/// work(*held), where `held` owns what lies on a card. Where the work ends because the card was
/// lost, `held` is leaked.
template <class Held, class Work>
auto leaking_if_card_lost(std::unique_ptr<Held> held, Work&& work) {
  try {
    return work(*held);
  } catch (const std::exception& e) {
    if (is_card_lost(e)) (void)held.release();
    throw;
  }
}

}  // namespace wsp::train
