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

// Of ImageNet's images in [0, 1], red, green, blue: what torchvision's preprocessing subtracts and
// divides by.
constexpr double kMean[] = {0.485, 0.456, 0.406}, kDeviation[] = {0.229, 0.224, 0.225};

/// Bring the first layer of torchvision's three-channel network to one grey channel in [0, 1], so
/// that it computes what it would of the grey image in all three after torchvision's preprocessing:
/// the deviation goes into the convolution, the mean into the running mean of the norm behind it.
/// Beyond the image's edge is then black, where torchvision's padding is the mean's grey.
void take_preprocessing_in(std::map<std::string, torch::Tensor>& tensors) {
  const auto convolution = tensors.find("conv1.weight"), mean = tensors.find("bn1.running_mean");
  if (convolution == tensors.end() || mean == tensors.end()) return;
  const torch::Tensor rgb = convolution->second.to(torch::kDouble);
  if (rgb.dim() != 4 || rgb.size(1) != 3 || mean->second.sizes() != rgb.sizes().slice(0, 1)) return;
  torch::Tensor grey = torch::zeros({rgb.size(0), 1, rgb.size(2), rgb.size(3)}, torch::kDouble);
  torch::Tensor shift = torch::zeros({rgb.size(0)}, torch::kDouble);
  for (const std::int64_t c : {0, 1, 2}) {
    const torch::Tensor scaled = rgb.narrow(1, c, 1) / kDeviation[c];
    grey += scaled;
    shift += kMean[c] * scaled.sum({1, 2, 3});
  }
  convolution->second = grey.to(torch::kFloat);
  mean->second = (mean->second.to(torch::kDouble) + shift).to(torch::kFloat);
}

void copy_weights(Encoder& encoder, const TensorFile& file) {
  std::map<std::string, torch::Tensor> from = file.tensors;
  from.erase("fc.weight");
  from.erase("fc.bias");
  take_preprocessing_in(from);
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
