#include <algorithm>
#include <map>

#include "io/core/error.hpp"
#include "train/model/encoder.hpp"
#include "train/model/safetensors.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEncoderKey = "wsp.encoder";
constexpr const char* kNormKey = "wsp.norm";
constexpr std::size_t kMostNames = 5;

using Names = std::vector<std::string>;

std::map<std::string, torch::Tensor> state_of(const Encoder& encoder) {
  std::map<std::string, torch::Tensor> state;
  for (const auto& item : encoder.named_parameters()) state[item.key()] = item.value();
  for (const auto& item : encoder.named_buffers()) state[item.key()] = item.value();
  return state;
}

std::string shape_text(const torch::Tensor& tensor) {
  std::string text;
  for (const std::int64_t size : tensor.sizes())
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

/// "; missing: a, b and 3 more" or nothing.
std::string listed(const char* what, const Names& names) {
  if (names.empty()) return {};
  std::string text = std::string("; ") + what + ": ";
  for (std::size_t i = 0; i < std::min(names.size(), kMostNames); ++i)
    text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kMostNames)
    text += " and " + std::to_string(names.size() - kMostNames) + " more";
  return text;
}

bool ends_with_counter(const std::string& name) { return name.ends_with("num_batches_tracked"); }

/// Bring a tensor of torchvision's three-channel network to ours: for a grey image in all three
/// channels, the sum over RGB computes the same.
torch::Tensor adapted(const std::string& name, const torch::Tensor& from, const torch::Tensor& to) {
  const bool rgb = name == "conv1.weight" && from.dim() == 4 && from.size(1) == 3 &&
                   to.dim() == 4 && to.size(1) == 1;
  return rgb ? from.sum(1, /*keepdim=*/true) : from;
}

void copy_weights(Encoder& encoder, const TensorFile& file) {
  const torch::NoGradGuard no_grad;
  const auto state = state_of(encoder);
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;
  Names missing, unexpected, misfits;
  for (const auto& [name, tensor] : file.tensors)
    if (!state.contains(name) && name != "fc.weight" && name != "fc.bias" &&
        !ends_with_counter(name))
      unexpected.push_back(name);
  for (const auto& [name, to] : state) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end()) {
      if (!ends_with_counter(name)) missing.push_back(name);
      continue;
    }
    const torch::Tensor from = adapted(name, found->second, to);
    if (from.sizes() != to.sizes() || from.is_floating_point() != to.is_floating_point())
      misfits.push_back(name + " is " + shape_text(from) + ", expected " + shape_text(to));
    copies.emplace_back(to, from);
  }
  // Nothing is copied before everything is known to fit.
  if (!missing.empty() || !unexpected.empty() || !misfits.empty())
    throw Error(ErrorCode::usage,
                "the weights are not those of " + encoder.options().name +
                    (encoder.options().norm == Norm::group ? " with group normalisation" : "") +
                    listed("missing", missing) + listed("unexpected", unexpected) +
                    listed("of another shape or type", misfits));
  for (auto& [to, from] : copies) to.copy_(from);
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
