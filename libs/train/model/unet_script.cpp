#include <torch/script.h>

#include <algorithm>
#include <sstream>

#include "io/core/error.hpp"
#include "train/model/module_state.hpp"
#include "train/model/unet.hpp"

namespace wsp::train {
namespace {

/// Writes forward() as TorchScript source; tensors are attributes, their dots underscores.
class Script {
 public:
  /// `cast` follows the name of a kernel that is kept in half precision.
  Script(const UNetOptions& options, const char* cast) : options_(options), cast_(cast) {}

  std::string source(std::int64_t ratio) {
    text_ = "def forward(self, x):\n";
    const std::string r = std::to_string(ratio);
    if (ratio > 1) line("x = torch.avg_pool2d(x, [" + r + ", " + r + "])");
    for (std::int64_t level = 0; level <= options_.depth; ++level) {
      if (level > 0) line("x = torch.max_pool2d(x, [2, 2])");
      const std::string l = std::to_string(level);
      double_convolution("down" + l);
      if (level < options_.depth) line("skip" + l + " = x");
    }
    for (std::int64_t level = options_.depth; level-- > 0;) {
      const std::string l = std::to_string(level);
      line("x = torch.conv_transpose2d(x, self.up" + l + "_weight" + cast_ + ", self.up" + l +
           "_bias, [2, 2])");
      line("x = torch.cat([skip" + l + ", x], 1)");
      double_convolution("join" + l);
    }
    line("x = torch.conv2d(x, self.head_weight" + cast_ + ", self.head_bias)");
    if (ratio > 1)
      line("x = torch.upsample_bilinear2d(x, [x.size(2) * " + r + ", x.size(3) * " + r +
           "], False)");
    line("return x");
    return text_;
  }

 private:
  void line(const std::string& code) { text_ += "    " + code + "\n"; }

  void double_convolution(const std::string& block) {
    for (const char* number : {"1", "2"}) {
      line("x = torch.conv2d(x, self." + block + "_conv" + number + "_weight" + cast_ +
           ", None, [1, 1], [1, 1])");
      const std::string norm = "self." + block + "_norm" + number;
      if (options_.norm == Norm::batch)
        line("x = torch.batch_norm(x, " + norm + "_weight, " + norm + "_bias, " + norm +
             "_running_mean, " + norm + "_running_var, False, 0.1, 1e-05, False)");
      else
        line("x = torch.group_norm(x, " + norm + "_weight.size(0) // 8, " + norm + "_weight, " +
             norm + "_bias)");
      line("x = torch.relu(x)");
    }
  }

  UNetOptions options_;
  std::string cast_, text_;
};

std::string attribute_of(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

std::string saved(const torch::jit::Module& module) {
  std::ostringstream bytes;
  module.save(bytes);
  return bytes.str();
}

constexpr const char* kMember = "network";  // of a mean: network0, network1, ...

torch::jit::Module read_module(const std::string& bytes) {
  std::istringstream stream(bytes);
  try {
    return torch::jit::load(stream, torch::kCPU);
  } catch (const std::exception&) {
    throw Error(ErrorCode::usage, "it is no TorchScript: expected what wsp-unet export writes");
  }
}

}  // namespace

std::string unet_torchscript(UNet& net, std::int64_t ratio, bool half) {
  torch::jit::Module module("LiverUNet");
  for (const auto& [name, tensor] : state_of(net)) {
    if (name.ends_with("num_batches_tracked")) continue;
    torch::Tensor value =
        tensor.detach().to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true).contiguous();
    if (half && value.dim() > 1) value = value.to(torch::kHalf);
    // Buffers: weights that nobody will train need no gradient.
    module.register_buffer(attribute_of(name), value);
  }
  // What eval() and train() of a reader set; nothing here asks for it.
  module.register_attribute("training", c10::BoolType::get(), false);
  module.define(Script(net.options(), half ? ".float()" : "").source(ratio));
  module.eval();
  return saved(module);
}

std::string mean_torchscript(const std::vector<std::string>& networks) {
  torch::jit::Module module("MeanOfLiverUNets");
  std::string sum;
  for (std::size_t i = 0; i < networks.size(); ++i) {
    const std::string name = kMember + std::to_string(i);
    module.register_module(name, read_module(networks[i]));
    sum += (i > 0 ? " + " : "") + ("torch.sigmoid(self." + name + ".forward(x))");
  }
  module.register_attribute("training", c10::BoolType::get(), false);
  module.define("def forward(self, x):\n    return (" + sum + ") / " +
                std::to_string(networks.size()) + ".0\n");
  module.eval();
  return saved(module);
}

void load_unet_torchscript(UNet& net, const std::string& bytes) {
  torch::jit::Module module = read_module(bytes);
  if (const std::string first = std::string(kMember) + "0"; module.hasattr(first))
    module = module.attr(first).toModule();
  std::map<std::string, torch::Tensor> found;  // by attribute
  for (const auto& buffer : module.named_buffers()) found[buffer.name] = buffer.value;
  for (const auto& parameter : module.named_parameters()) found[parameter.name] = parameter.value;
  std::map<std::string, torch::Tensor> weights;  // by the network's names, what is left by its own
  for (const auto& [name, tensor] : state_of(net)) {
    auto node = found.extract(attribute_of(name));
    if (node) weights[name] = node.mapped().to(torch::kFloat);
  }
  weights.merge(found);
  load_unet_weights(net, weights);
}

}  // namespace wsp::train
