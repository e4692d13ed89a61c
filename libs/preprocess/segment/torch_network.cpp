#include "preprocess/segment/torch_network.hpp"

#include <ATen/Parallel.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/cuda.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <sstream>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "preprocess/segment/half_precision.hpp"

namespace wsp {
namespace {

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

torch::Device choose_device(const std::string& text) {
  const auto cards = static_cast<int>(torch::cuda::device_count());
  if (text == "cpu" || (text == "auto" && cards == 0)) return torch::kCPU;
  int index = 0;
  if (text.starts_with("cuda:")) {
    const std::string digits = text.substr(5);
    if (digits.empty() || digits.size() > 3 ||
        digits.find_first_not_of("0123456789") != std::string::npos)
      throw Error(ErrorCode::usage, "--device is '" + text + "': expected cuda:N");
    index = std::stoi(digits);
  } else if (text != "auto" && text != "cuda") {
    throw Error(ErrorCode::usage, "--device is '" + text + "': expected auto, cpu, cuda or cuda:N");
  }
  if (index >= cards)
    throw Error(ErrorCode::usage,
                "--device is '" + text + "', but LibTorch sees " + std::to_string(cards) +
                    " CUDA cards; use --device cpu, or a build against a LibTorch "
                    "with CUDA");
  return {torch::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

// Several heads (deep supervision): the first is the prediction.
torch::Tensor first_tensor(const torch::jit::IValue& value) {
  if (value.isTensor()) return value.toTensor();
  if (value.isTuple() && !value.toTupleRef().elements().empty())
    return first_tensor(value.toTupleRef().elements()[0]);
  if (value.isList() && !value.toListRef().empty()) return first_tensor(value.toListRef()[0]);
  throw BadOutput("the model returns no tensor");
}

std::vector<std::int64_t> sizes_of(const BatchShape& shape, std::int64_t channels, bool plane) {
  std::vector<std::int64_t> sizes{shape.samples, channels};
  sizes.insert(sizes.end(), shape.spatial.begin() + (plane ? 1 : 0), shape.spatial.end());
  return sizes;
}

std::string words_of(c10::IntArrayRef sizes) {
  std::ostringstream text;
  text << sizes;
  return text.str();
}

// OpenBLAS's own threads would stand in the way of oneTBB's, which run one batch each, and part
// sums by their number. Absent with another BLAS.
void keep_blas_to_one_thread() {
  using Set = void (*)(int);
  if (const auto set = reinterpret_cast<Set>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads")))
    set(1);
}

class TorchNetwork;

// Buffers of one batch, pinned where the device is a card, and a stream of its own there.
class TorchSlot : public NetworkSlot {
 public:
  TorchSlot(TorchNetwork& network, const BatchShape& largest);
  std::span<float> input() override {
    return {input_.data_ptr<float>(), static_cast<std::size_t>(input_.numel())};
  }
  [[nodiscard]] std::span<const float> output() const override {
    return {output_.data_ptr<float>(), static_cast<std::size_t>(output_.numel())};
  }
  void start(const BatchShape& shape) override;
  void wait() override {
    if (stream_) stream_->synchronize();
  }

 private:
  TorchNetwork& network_;
  torch::Tensor input_, output_;
  torch::Tensor on_device_;  // kept until the next batch: the copy back reads it
  std::optional<c10::Stream> stream_;
};

class TorchNetwork : public Network {
 public:
  TorchNetwork(const ModelDescriptor& model, torch::jit::Module module, torch::Device device,
               std::optional<torch::ScalarType> half)
      : model_(model), module_(std::move(module)), device_(device), half_(half) {}

  [[nodiscard]] std::string precision() const override {
    return !half_ ? "fp32" : *half_ == torch::kHalf ? "fp16" : "bf16";
  }

  [[nodiscard]] bool concurrent() const override { return device_.is_cpu(); }
  [[nodiscard]] std::int64_t batch(int dimensions) const override {
    if (device_.is_cpu()) return dimensions == 3 ? 1 : 2;
    return dimensions == 3 ? 2 : 16;
  }
  std::unique_ptr<NetworkSlot> make_slot(const BatchShape& largest) override {
    return std::make_unique<TorchSlot>(*this, largest);
  }
  [[nodiscard]] torch::Device device() const { return device_; }
  [[nodiscard]] bool plane() const { return model_.dimensions == 2; }

  /// [samples, channels, spatial...] -> probability of liver [samples, spatial...], float32.
  torch::Tensor forward(const torch::Tensor& input, const BatchShape& shape) {
    const torch::NoGradGuard no_gradient;
    // Without the profiling executor: it would run the first batches by other code than the rest.
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    // oneTBB's threads run one batch each: Torch's own would stand in their way. The number is kept
    // by thread.
    if (device_.is_cpu()) at::set_num_threads(1);
    torch::Tensor output;
    {
      const HalfScope half(device_, half_);
      output =
          first_tensor(module_.forward({half_ && plane() ? input.contiguous(layout_) : input}));
    }
    return liver(std::move(output), shape);
  }

  /// Half precision convolutions of planes are fastest with the channels last; a network that minds
  /// the layout (by view()) gets the usual one.
  void choose_layout() {
    if (!half_ || !plane()) return;
    const BatchShape shape = small_batch(model_);
    const torch::Tensor input = torch::full(sizes_of(shape, shape.channels, true),
                                            model_.low_hu * model_.factor + model_.offset,
                                            torch::TensorOptions(device_).dtype(torch::kFloat));
    try {
      lay_out(torch::MemoryFormat::ChannelsLast);
      (void)forward(input, shape);
    } catch (const std::exception&) {
      lay_out(torch::MemoryFormat::Contiguous);
    }
    // The workers' streams do not wait for this one, which still arranges the weights.
    if (device_.is_cuda()) torch::cuda::synchronize(device_.index());
  }

 private:
  torch::Tensor liver(torch::Tensor output, const BatchShape& shape) const {
    if (!model_.liver_labels.empty()) return liver_of_labels(std::move(output), shape);
    const bool spatial = output.dim() == (plane() ? 4 : 5);
    const auto expected = sizes_of(shape, spatial ? output.size(1) : -1, plane());
    if (!spatial || output.sizes() != c10::IntArrayRef(expected))
      throw BadOutput("the model's output has the shape " + words_of(output.sizes()) +
                      "; expected " + words_of(expected) + " with any number of channels");
    const auto last = *std::max_element(model_.liver_channels.begin(), model_.liver_channels.end());
    if (last >= output.size(1))
      throw BadOutput("the model's output has " + std::to_string(output.size(1)) +
                      " channels, and liver_channels names channel " + std::to_string(last));
    output = output.to(torch::kFloat32);
    const torch::Tensor raw = select(output);
    torch::Tensor p = model_.activation == Activation::softmax   ? select(torch::softmax(output, 1))
                      : model_.activation == Activation::sigmoid ? torch::sigmoid(raw)
                                                                 : raw;
    // A sigmoid would hide an infinite output: 0 * inf is NaN.
    if (model_.activation == Activation::sigmoid) p = p + raw * 0;
    if (p.size(1) == 1) return p.squeeze(1);
    return model_.activation == Activation::sigmoid ? p.amax(1) : p.sum(1);
  }

  void lay_out(torch::MemoryFormat layout) {
    layout_ = layout;
    // Into new memory: contiguous() takes a weight of one input channel for laid out already, and
    // leaves it the strides by which the convolution chooses its layout.
    const auto arrange = [&](torch::Tensor weight) {
      if (weight.dim() != 4) return;
      const auto laid_out = torch::empty(weight.sizes(), weight.options().memory_format(layout));
      weight.set_data(laid_out.copy_(weight.detach()));
    };
    for (const torch::Tensor& weight : module_.parameters()) arrange(weight);
    for (const torch::Tensor& weight : module_.buffers()) arrange(weight);
  }

  torch::Tensor select(const torch::Tensor& output) const {
    if (model_.liver_channels.size() == 1) return output.narrow(1, model_.liver_channels[0], 1);
    std::vector<torch::Tensor> parts;
    for (const std::int64_t c : model_.liver_channels) parts.push_back(output.narrow(1, c, 1));
    return torch::cat(parts, 1);
  }

  torch::Tensor liver_of_labels(torch::Tensor output, const BatchShape& shape) const {
    const auto expected = sizes_of(shape, 1, plane());
    auto without = expected;
    without.erase(without.begin() + 1);
    if (output.sizes() != c10::IntArrayRef(expected) && output.sizes() != c10::IntArrayRef(without))
      throw BadOutput("the model's label map has the shape " + words_of(output.sizes()) +
                      "; expected " + words_of(expected));
    torch::Tensor p = torch::zeros(output.sizes(), output.options().dtype(torch::kFloat32));
    for (const std::int64_t label : model_.liver_labels)
      p = p + (output == label).to(torch::kFloat32);
    if (output.is_floating_point()) p = p + (output * 0).to(torch::kFloat32);
    return p.reshape(without);
  }

  const ModelDescriptor model_;
  torch::jit::Module module_;
  torch::Device device_;
  std::optional<torch::ScalarType> half_;
  torch::MemoryFormat layout_ = torch::MemoryFormat::Contiguous;  ///< of planes in half precision
};

TorchSlot::TorchSlot(TorchNetwork& network, const BatchShape& largest) : network_(network) {
  const bool card = !network.device().is_cpu();
  const auto options = torch::dtype(torch::kFloat32).pinned_memory(card);
  input_ = torch::empty({largest.samples * largest.channels * largest.voxels()}, options);
  output_ = torch::empty({largest.samples * largest.voxels()}, options);
  if (card)
    stream_ = c10::impl::VirtualGuardImpl(network.device().type())
                  .getStreamFromGlobalPool(network.device());
}

void TorchSlot::start(const BatchShape& shape) {
  const auto sizes = sizes_of(shape, shape.channels, network_.plane());
  const torch::Tensor host =
      input_.narrow(0, 0, shape.samples * shape.channels * shape.voxels()).view(sizes);
  const std::int64_t values = shape.samples * shape.voxels();
  if (!stream_) {
    const torch::Tensor p = network_.forward(host, shape).contiguous();
    std::memcpy(output_.data_ptr<float>(), p.data_ptr<float>(),
                static_cast<std::size_t>(values) * sizeof(float));
    return;
  }
  const c10::StreamGuard on(*stream_);
  const torch::Tensor p =
      network_.forward(host.to(network_.device(), /*non_blocking=*/true), shape);
  on_device_ = p.contiguous().view({values});
  output_.narrow(0, 0, values).copy_(on_device_, /*non_blocking=*/true);
}

}  // namespace

BatchShape small_batch(const ModelDescriptor& model) {
  constexpr std::int64_t kLeast = 64;
  if (model.dimensions == 3) return {1, 1, model.patch};
  const std::int64_t side = (kLeast + model.multiple - 1) / model.multiple * model.multiple;
  const auto size = model.size.value_or(std::array<std::int64_t, 2>{side, side});
  return {2, model.channels(), {1, size[0], size[1]}};
}

std::unique_ptr<Network> load_torchscript(const ModelDescriptor& model, const std::string& bytes,
                                          const std::string& device_name,
                                          const std::string& precision) {
  const torch::Device device = choose_device(device_name);
  const auto half = half_precision(precision, model.precision, device);
  try {
    std::istringstream stream(bytes);
    torch::jit::Module module = torch::jit::load(stream, device);
    module.eval();
    if (device.is_cpu()) keep_blas_to_one_thread();
    auto network = std::make_unique<TorchNetwork>(model, std::move(module), device, half);
    log::debug("liver model " + model.name + " " + model.version + " on " + device.str() + ", " +
               network->precision());
    network->choose_layout();
    return network;
  } catch (const std::exception& e) {
    throw Error(ErrorCode::usage,
                model.file.string() + " cannot be loaded: expected TorchScript that LibTorch " +
                    TORCH_VERSION + " knows (torch.jit.save), found: " + first_line(e));
  }
}

}  // namespace wsp
