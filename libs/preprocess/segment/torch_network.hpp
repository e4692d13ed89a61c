#pragma once
#include <memory>
#include <string>

#include "preprocess/segment/descriptor.hpp"
#include "preprocess/segment/network.hpp"

namespace wsp {

/// The smallest input that the descriptor allows: two slices, one window, or of an nnU-Net, whose
/// windows are large, as much as its lowest resolution takes.
BatchShape small_batch(const ModelDescriptor& model);

/// The bytes of a TorchScript file, or of an nnU-Net's weights, on a device ("auto", "cpu", "cuda",
/// "cuda:N"), in `precision` as half_precision() takes it. Throws Error(usage) where the device is
/// absent, cannot compute in that precision, or the file cannot be loaded.
std::unique_ptr<Network> load_network(const ModelDescriptor& model, const std::string& bytes,
                                      const std::string& device, const std::string& precision);

}  // namespace wsp
