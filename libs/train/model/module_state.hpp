#pragma once
#include <torch/torch.h>

#include <map>
#include <string>

/// The weights of a module by name; not for users of the library.
namespace wsp::train {

/// Parameters and buffers by name; the tensors are the module's own.
std::map<std::string, torch::Tensor> state_of(const torch::nn::Module& module);
/// Copy tensors into a module whose names, shapes and types they must have; num_batches_tracked may
/// be absent or too many. Throws Error(usage) that says "not those of `what`" and names what is
/// missing, unexpected or of another shape, and then changes nothing.
void copy_state(torch::nn::Module& module, const std::map<std::string, torch::Tensor>& from,
                const std::string& what);

}  // namespace wsp::train
