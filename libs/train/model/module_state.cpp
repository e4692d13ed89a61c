#include "train/model/module_state.hpp"

#include <algorithm>
#include <vector>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr std::size_t kMostNames = 5;

using Names = std::vector<std::string>;

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

}  // namespace

std::map<std::string, torch::Tensor> state_of(const torch::nn::Module& module) {
  std::map<std::string, torch::Tensor> state;
  for (const auto& item : module.named_parameters()) state[item.key()] = item.value();
  for (const auto& item : module.named_buffers()) state[item.key()] = item.value();
  return state;
}

void copy_state(torch::nn::Module& module, const std::map<std::string, torch::Tensor>& tensors,
                const std::string& what) {
  const torch::NoGradGuard no_grad;
  const auto state = state_of(module);
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;
  Names missing, unexpected, misfits, broken;
  for (const auto& [name, tensor] : tensors)
    if (!state.contains(name) && !ends_with_counter(name)) unexpected.push_back(name);
  for (const auto& [name, to] : state) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      if (!ends_with_counter(name)) missing.push_back(name);
      continue;
    }
    const torch::Tensor& from = found->second;
    if (from.sizes() != to.sizes() || from.is_floating_point() != to.is_floating_point())
      misfits.push_back(name + " is " + shape_text(from) + ", expected " + shape_text(to));
    if (!torch::isfinite(from).all().item<bool>()) broken.push_back(name);
    copies.emplace_back(to, from);
  }
  // Nothing is copied before everything is known to fit.
  if (!missing.empty() || !unexpected.empty() || !misfits.empty())
    throw Error(ErrorCode::usage,
                "the weights are not those of " + what + listed("missing", missing) +
                    listed("unexpected", unexpected) + listed("of another shape or type", misfits));
  if (!broken.empty())
    throw Error(ErrorCode::corrupt,
                "the weights hold values that are not finite" + listed("in", broken));
  for (auto& [to, from] : copies) to.copy_(from);
}

}  // namespace wsp::train
