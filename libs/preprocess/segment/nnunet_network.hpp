#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "preprocess/segment/descriptor.hpp"

namespace wsp {

/// A network's forward pass and the tensors that it computes with, on a device.
struct ForwardPass {
  /// [n, channels, spatial...] float32 -> the network's output. Thread-safe.
  std::function<at::Tensor(const at::Tensor&)> forward;
  std::vector<at::Tensor> weights;
};

/// The nnU-Net that a descriptor describes, [n, 1, spatial...] -> logits [n, heads, spatial...],
/// averaged over mirrorings where the model asks for them, with the weights of a safetensors file's
/// bytes, in evaluation. The tensors have the names of nnU-Net's state dict, each once: without the
/// encoder that the decoder repeats, the layers' second names (all_modules) and the heads of deep
/// supervision. Throws Error(usage) where one is missing, has another shape or type, or is left
/// over; Error(corrupt) for bytes that are no such file.
ForwardPass nnunet_forward(const ModelDescriptor& model, const std::string& bytes,
                           const c10::Device& device);

}  // namespace wsp
