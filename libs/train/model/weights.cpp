#include <map>

#include "io/core/error.hpp"
#include "train/model/encoder.hpp"
#include "train/model/module_state.hpp"
#include "train/model/safetensors.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEncoderKey = "wsp.encoder";
constexpr const char* kNormKey = "wsp.norm";

/// Bring a tensor of torchvision's three-channel network to ours: for a grey image in all three
/// channels, the sum over RGB computes the same.
torch::Tensor adapted(const std::string& name, const torch::Tensor& from, const torch::Tensor& to) {
  const bool rgb = name == "conv1.weight" && from.dim() == 4 && from.size(1) == 3 &&
                   to.dim() == 4 && to.size(1) == 1;
  return rgb ? from.sum(1, /*keepdim=*/true) : from;
}

void copy_weights(Encoder& encoder, const TensorFile& file) {
  const auto state = state_of(encoder);
  std::map<std::string, torch::Tensor> from;
  for (const auto& [name, tensor] : file.tensors) {
    if (name == "fc.weight" || name == "fc.bias") continue;
    const auto to = state.find(name);
    from[name] = to == state.end() ? tensor : adapted(name, tensor, to->second);
  }
  copy_state(encoder, from,
             encoder.options().name +
                 (encoder.options().norm == Norm::group ? " with group normalisation" : ""));
}

[[noreturn]] void rethrow(Error& error, const fs::path& path) {
  throw error.within("while loading the weights " + path.string());
}

}  // namespace

void load_encoder_weights(Encoder& encoder, const fs::path& safetensors) {
  const TensorFile file = read_tensor_file(safetensors);
  try {
    copy_weights(encoder, file);
  } catch (Error& error) {
    rethrow(error, safetensors);
  }
}

void save_encoder_weights(Encoder& encoder, const fs::path& safetensors,
                          const std::vector<std::pair<std::string, std::string>>& metadata) {
  TensorFile file;
  file.tensors = state_of(encoder);
  file.metadata = {{"format", "pt"},
                   {kEncoderKey, encoder.options().name},
                   {kNormKey, encoder.options().norm == Norm::batch ? "batch" : "group"},
                   {"wsp.input", "(hu+100)/500"}};
  for (const auto& [key, value] : metadata) file.metadata[key] = value;
  write_tensor_file(safetensors, file);
}

std::shared_ptr<Encoder> load_encoder(const fs::path& safetensors) {
  const TensorFile file = read_tensor_file(safetensors);
  try {
    const auto name = file.metadata.find(kEncoderKey);
    const auto norm = file.metadata.find(kNormKey);
    if (name == file.metadata.end() || norm == file.metadata.end())
      throw Error(ErrorCode::usage, "the file does not say which encoder it holds (no " +
                                        std::string(kEncoderKey) + " or " + kNormKey +
                                        " in its metadata): name the encoder");
    if (norm->second != "batch" && norm->second != "group")
      throw Error(ErrorCode::usage,
                  "unknown normalisation '" + norm->second + "': expected batch or group");
    auto encoder =
        make_encoder({name->second, norm->second == "batch" ? Norm::batch : Norm::group});
    copy_weights(*encoder, file);
    return encoder;
  } catch (Error& error) {
    rethrow(error, safetensors);
  }
}

}  // namespace wsp::train
