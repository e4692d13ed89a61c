#pragma once
#include <memory>
#include <string>

#include "preprocess/segment/descriptor.hpp"
#include "preprocess/segment/network.hpp"

namespace wsp {

/// What load_network() of this program runs: torch_network.cpp or onnx_network.cpp is linked.
Runtime linked_runtime();

/// The bytes of a model's file (TorchScript or an nnU-Net's weights; ONNX) on a device ("auto",
/// "cpu", "cuda", "cuda:N"), in `precision` as half_precision() takes it; ONNX on the CPU in fp32.
/// Throws Error(usage) where the device is absent, cannot compute in that precision, or the file
/// cannot be loaded.
std::unique_ptr<Network> load_network(const ModelDescriptor& model, const std::string& bytes,
                                      const std::string& device, const std::string& precision);

}  // namespace wsp
