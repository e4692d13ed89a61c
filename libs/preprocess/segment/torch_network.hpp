#pragma once
#include <memory>
#include <string>

#include "preprocess/segment/descriptor.hpp"
#include "preprocess/segment/network.hpp"

namespace wsp {

/// A TorchScript file's bytes on a device ("auto", "cpu", "cuda", "cuda:N"). Throws Error(usage)
/// where the device is absent or LibTorch cannot load the file.
std::unique_ptr<Network> load_torchscript(const ModelDescriptor& model, const std::string& bytes,
                                          const std::string& device);

}  // namespace wsp
