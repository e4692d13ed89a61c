#pragma once
#include <memory>
#include <string>

#include "preprocess/segment/descriptor.hpp"
#include "preprocess/segment/network.hpp"

namespace wsp {

/// The smallest input that the descriptor allows: two slices or one window.
BatchShape small_batch(const ModelDescriptor& model);

/// A TorchScript file's bytes on a device ("auto", "cpu", "cuda", "cuda:N"), in `precision` as
/// half_precision() takes it. Throws Error(usage) where the device is absent, cannot compute in
/// that precision, or LibTorch cannot load the file.
std::unique_ptr<Network> load_torchscript(const ModelDescriptor& model, const std::string& bytes,
                                          const std::string& device, const std::string& precision);

}  // namespace wsp
