#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/cuda.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "io/core/device_fault.hpp"
#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/device/device.hpp"
#include "preprocess/segment/half_precision.hpp"
#include "preprocess/segment/load_network.hpp"
#include "preprocess/segment/nnunet_network.hpp"

namespace wsp {
namespace {

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

// OpenBLAS's own threads would stand in the way of oneTBB's, which run one batch each, and part
// sums by their number. Absent with another BLAS.
void keep_blas_to_one_thread() {
  using Set = void (*)(int);
  if (const auto set = reinterpret_cast<Set>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads")))
    set(1);
}

class TorchNetwork;

ForwardPass scripted_forward(const std::string& bytes, torch::Device device) {
  std::istringstream stream(bytes);
  torch::jit::Module module = torch::jit::load(stream, device);
  module.eval();
  std::vector<torch::Tensor> weights;
  for (const torch::Tensor& weight : module.parameters()) weights.push_back(weight);
  for (const torch::Tensor& weight : module.buffers()) weights.push_back(weight);
  return {[module = std::move(module)](const torch::Tensor& x) mutable {
            return first_tensor(module.forward({x}));
          },
          std::move(weights)};
}

// Buffers of one batch on the host, pinned where the device is a card, and as large ones there. The
// copies have a stream of their own, so that they run beside another slot's forward pass.
class TorchSlot : public NetworkSlot {
 public:
  TorchSlot(TorchNetwork& network, const BatchShape& largest);
  ~TorchSlot() override;
  std::span<float> input() override {
    return {input_.data_ptr<float>(), static_cast<std::size_t>(input_.numel())};
  }
  [[nodiscard]] std::span<const float> output() const override {
    return {output_.data_ptr<float>(), static_cast<std::size_t>(output_.numel())};
  }
  void start(const BatchShape& shape) override;
  void wait() override;

 private:
  void start_on_card(const torch::Tensor& input, const BatchShape& shape);
  TorchNetwork& network_;
  torch::Tensor input_, output_;
  torch::Tensor card_input_, card_output_;
  std::optional<c10::Stream> copies_;
  std::optional<c10::Event> done_;  ///< the output is there
};

// What `waiting` has still to do begins after what `other` has now.
void wait_for(const c10::Stream& waiting, const c10::Stream& other) {
  c10::Event there(other.device_type());
  there.record(other);
  there.block(waiting);
}

class TorchNetwork : public Network {
 public:
  TorchNetwork(const ModelDescriptor& model, ForwardPass network, torch::Device device,
               std::optional<torch::ScalarType> half)
      : model_(model), network_(std::move(network)), device_(device), half_(half) {
    if (!device_.is_cpu())
      forward_ = c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_);
  }

  [[nodiscard]] std::string precision() const override {
    return !half_ ? "fp32" : *half_ == torch::kHalf ? "fp16" : "bf16";
  }

  [[nodiscard]] bool concurrent() const override { return device_.is_cpu(); }
  [[nodiscard]] std::int64_t batch(int dimensions) const override {
    if (device_.is_cpu()) return dimensions == 3 ? 1 : 2;
    return dimensions == 3 ? 2 : 16;
  }
  [[nodiscard]] std::int64_t logits() const override {
    return model_.nnunet ? model_.nnunet->heads() : 0;
  }
  std::unique_ptr<NetworkSlot> make_slot(const BatchShape& largest) override {
    return std::make_unique<TorchSlot>(*this, largest);
  }
  [[nodiscard]] torch::Device device() const { return device_; }
  /// A card's: where every forward pass runs, one behind the other, so that all take their memory
  /// from one pool. Whoever starts work there holds the lock, so that no two passes hold theirs at
  /// once.
  [[nodiscard]] const std::optional<c10::Stream>& forward_stream() const { return forward_; }
  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }
  [[nodiscard]] bool plane() const { return model_.dimensions == 2; }

  /// [samples, channels, spatial...] -> probability of liver [samples, spatial...], or logits
  /// [samples, logits(), spatial...], float32. Where memory does not do for the batch it is parted,
  /// and every later one too.
  torch::Tensor forward(const torch::Tensor& input, const BatchShape& shape) {
    for (;;) {
      std::int64_t limit = most_;
      const std::int64_t most = std::min(limit, shape.samples);
      try {
        return forward_by(most, input, shape);
      } catch (const std::exception& e) {
        if (!is_out_of_memory(e) || most == 1) throw;
        if (most_.compare_exchange_strong(limit, most / 2))
          log::warn("too little memory to run the model on " + std::to_string(most) +
                    " samples at once: it is run on " + std::to_string(most / 2) + " from now on");
      }
    }
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
      (void)forward_all(input, shape);
    } catch (const std::exception&) {
      lay_out(torch::MemoryFormat::Contiguous);
    }
    // The stream of the forward passes does not wait for this one, which still arranges the
    // weights.
    if (device_.is_cuda()) torch::cuda::synchronize(device_.index());
  }

 private:
  torch::Tensor forward_by(std::int64_t most, const torch::Tensor& input, const BatchShape& shape) {
    if (most >= shape.samples) return forward_all(input, shape);
    std::vector<torch::Tensor> parts;
    BatchShape part = shape;
    for (std::int64_t first = 0; first < shape.samples; first += most) {
      part.samples = std::min(most, shape.samples - first);
      parts.push_back(forward_all(input.narrow(0, first, part.samples), part));
    }
    return torch::cat(parts, 0);
  }

  torch::Tensor forward_all(const torch::Tensor& input, const BatchShape& shape) {
    const torch::NoGradGuard no_gradient;
    // Without the profiling executor: it would run the first batches by other code than the rest.
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    // oneTBB's threads run one batch each: Torch's own would stand in their way. The number is kept
    // by thread.
    if (device_.is_cpu()) at::set_num_threads(1);
    torch::Tensor output;
    {
      const HalfScope half(device_, half_);
      output = network_.forward(half_ && plane() ? input.contiguous(layout_) : input);
    }
    if (model_.nnunet) return output.to(torch::kFloat32);
    return liver(std::move(output), shape);
  }

  torch::Tensor liver(torch::Tensor output, const BatchShape& shape) const {
    if (!model_.liver_labels.empty()) return liver_of_labels(std::move(output), shape);
    const bool spatial = output.dim() == (plane() ? 4 : 5);
    const auto expected = sizes_of(shape, spatial ? output.size(1) : -1, plane());
    if (!spatial || output.sizes() != c10::IntArrayRef(expected))
      throw BadOutput("the model's output has the shape " + c10::str(output.sizes()) +
                      "; expected " + c10::str(c10::IntArrayRef(expected)) +
                      " with any number of channels");
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
    for (const torch::Tensor& weight : network_.weights) arrange(weight);
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
      throw BadOutput("the model's label map has the shape " + c10::str(output.sizes()) +
                      "; expected " + c10::str(c10::IntArrayRef(expected)));
    torch::Tensor p = torch::zeros(output.sizes(), output.options().dtype(torch::kFloat32));
    for (const std::int64_t label : model_.liver_labels)
      p = p + (output == label).to(torch::kFloat32);
    if (output.is_floating_point()) p = p + (output * 0).to(torch::kFloat32);
    return p.reshape(without);
  }

  const ModelDescriptor model_;
  ForwardPass network_;
  torch::Device device_;
  std::optional<torch::ScalarType> half_;
  torch::MemoryFormat layout_ = torch::MemoryFormat::Contiguous;  ///< of planes in half precision
  std::optional<c10::Stream> forward_;
  std::mutex mutex_;
  std::atomic<std::int64_t> most_{std::numeric_limits<std::int64_t>::max()};  ///< samples of a pass
};

// CUDA's own waiting keeps a core busy, which others have a use for.
void sleep_a_little() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

TorchSlot::TorchSlot(TorchNetwork& network, const BatchShape& largest) : network_(network) {
  const torch::Device device = network.device();
  const std::int64_t places = largest.samples * largest.voxels();
  const std::int64_t values = places * network.outputs();
  std::unique_lock<std::mutex> lock;
  std::optional<c10::StreamGuard> on;
  if (!device.is_cpu()) {
    lock = network.lock();
    on.emplace(*network.forward_stream());
  }
  const auto options = torch::dtype(torch::kFloat32).pinned_memory(!device.is_cpu());
  input_ = torch::empty({places * largest.channels}, options);
  output_ = torch::empty({values}, options);
  if (!on) return;
  card_input_ = torch::empty(input_.sizes(), torch::TensorOptions(device).dtype(torch::kFloat32));
  card_output_ = torch::empty(output_.sizes(), card_input_.options());
  // The pool hands out its streams in turn, that of the forward passes too.
  do copies_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  while (*copies_ == *network.forward_stream());
  // What held this memory before may still be read there.
  wait_for(*copies_, *network.forward_stream());
}

// Not before the copies are done may the buffers be another's.
TorchSlot::~TorchSlot() {
  try {
    while (copies_ && !copies_->query()) sleep_a_little();
  } catch (const std::exception&) {
    // The card failed, and LibTorch asks it before it frees pinned memory: better leaked than
    // thrown here.
    (void)input_.unsafeReleaseTensorImpl();
    (void)output_.unsafeReleaseTensorImpl();
  }
}

void TorchSlot::wait() {
  while (done_ && !done_->query()) sleep_a_little();
}

void TorchSlot::start(const BatchShape& shape) {
  const torch::Tensor input = input_.narrow(0, 0, shape.samples * shape.channels * shape.voxels());
  if (copies_) return start_on_card(input, shape);
  const torch::Tensor p =
      network_.forward(input.view(sizes_of(shape, shape.channels, network_.plane())), shape)
          .contiguous();
  std::memcpy(output_.data_ptr<float>(), p.data_ptr<float>(),
              static_cast<std::size_t>(p.numel()) * sizeof(float));
}

void TorchSlot::start_on_card(const torch::Tensor& input, const BatchShape& shape) {
  const c10::Stream& forward = *network_.forward_stream();
  const torch::Tensor there = card_input_.narrow(0, 0, input.numel());
  {
    const c10::StreamGuard on(*copies_);
    there.copy_(input, /*non_blocking=*/true);
  }
  const std::int64_t values = shape.samples * shape.voxels() * network_.outputs();
  const torch::Tensor made = card_output_.narrow(0, 0, values);
  {
    const auto lock = network_.lock();
    wait_for(forward, *copies_);
    const c10::StreamGuard on(forward);
    made.copy_(
        network_.forward(there.view(sizes_of(shape, shape.channels, network_.plane())), shape)
            .reshape({values}));
  }
  wait_for(*copies_, forward);
  const c10::StreamGuard on(*copies_);
  output_.narrow(0, 0, values).copy_(made, /*non_blocking=*/true);
  done_.emplace(copies_->device_type());
  done_->record(*copies_);
}

}  // namespace

Runtime linked_runtime() { return Runtime::torch; }

std::unique_ptr<Network> load_network(const ModelDescriptor& model, const std::string& bytes,
                                      const std::string& device_name,
                                      const std::string& precision) {
  const torch::Device device = choose_device(device_name, 0);
  try_device(device);
  const auto half = half_precision(precision, model.precision, device);
  try {
    ForwardPass pass =
        model.nnunet ? nnunet_forward(model, bytes, device) : scripted_forward(bytes, device);
    if (device.is_cpu()) keep_blas_to_one_thread();
    // LibTorch lets cuDNN round float32 to TF32 unless told otherwise.
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setAllowTF32CuDNN(false);
    auto network = std::make_unique<TorchNetwork>(model, std::move(pass), device, half);
    log::debug("liver model " + model.name + " " + model.version + " on " + device.str() + ", " +
               network->precision());
    network->choose_layout();
    return network;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    if (model.nnunet) throw Error(ErrorCode::usage, model.file.string() + ": " + first_line(e));
    throw Error(ErrorCode::usage,
                model.file.string() + " cannot be loaded: expected TorchScript that LibTorch " +
                    TORCH_VERSION + " knows (torch.jit.save), found: " + first_line(e));
  }
}

}  // namespace wsp
