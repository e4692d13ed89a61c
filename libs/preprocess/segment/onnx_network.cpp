#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "preprocess/segment/load_network.hpp"

namespace wsp {
namespace {

std::string words_of(const std::vector<std::int64_t>& sizes) {
  std::string text = "[";
  for (const std::int64_t size : sizes)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

// [samples, channels, spatial...]
std::vector<std::int64_t> sizes_of(const BatchShape& shape, std::int64_t channels, bool plane) {
  std::vector<std::int64_t> sizes{shape.samples, channels};
  sizes.insert(sizes.end(), shape.spatial.begin() + (plane ? 1 : 0), shape.spatial.end());
  return sizes;
}

// Debian's registers with the first session the operators that libonnx has registered already, and
// says so of each on std::cerr, where nothing of ours is said.
class Silence {
 public:
  Silence() : heard_(std::cerr.rdbuf(nullptr)) {}
  ~Silence() { std::cerr.rdbuf(heard_); }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  std::streambuf* heard_;
};

// Never destroyed: ONNX Runtime's own globals may be gone before a static of ours.
Ort::Env& environment() {
  static auto* made = new Ort::Env(ORT_LOGGING_LEVEL_ERROR, "wsp");
  return *made;
}

// One thread a pass: oneTBB's threads run one batch each, and sums are the same at any number.
Ort::SessionOptions session_options() {
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.SetInterOpNumThreads(1);
  options.SetExecutionMode(ORT_SEQUENTIAL);
  options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
  // Weights in files of their own are covered by no hash: none are found.
  options.AddConfigEntry("session.model_external_initializers_file_folder_path", "/dev/null");
  return options;
}

Ort::Session session_of(const std::string& bytes) {
  const Silence silence;
  return {environment(), bytes.data(), bytes.size(), session_options()};
}

class OnnxNetwork : public Network {
 public:
  OnnxNetwork(const ModelDescriptor& model, const std::string& bytes)
      : model_(model),
        session_(session_of(bytes)),
        memory_(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)) {
    if (session_.GetInputCount() != 1 || session_.GetOutputCount() < 1)
      refuse("it has " + std::to_string(session_.GetInputCount()) + " inputs and " +
             std::to_string(session_.GetOutputCount()) + " outputs; expected one input");
    const auto type = session_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetElementType();
    if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) refuse("its input is no tensor of float32");
    Ort::AllocatorWithDefaultOptions allocator;
    input_ = session_.GetInputNameAllocated(0, allocator).get();
    output_ = session_.GetOutputNameAllocated(0, allocator).get();  // of several heads the first
  }

  [[nodiscard]] bool concurrent() const override { return true; }
  [[nodiscard]] std::int64_t batch(int dimensions) const override {
    return dimensions == 3 ? 1 : 2;
  }
  std::unique_ptr<NetworkSlot> make_slot(const BatchShape& largest) override;

  /// Probability of liver of `input`, [samples][channels][spatial...], in `liver`,
  /// [samples][spatial...].
  void forward(const BatchShape& shape, std::span<float> input, std::span<float> liver) {
    const auto sizes = sizes_of(shape, shape.channels, plane());
    const auto values = static_cast<std::size_t>(shape.samples * shape.channels * shape.voxels());
    const Ort::Value x =
        Ort::Value::CreateTensor<float>(memory_, input.data(), values, sizes.data(), sizes.size());
    const std::array<const char*, 1> inputs{input_.c_str()}, outputs{output_.c_str()};
    const auto found =
        session_.Run(Ort::RunOptions(nullptr), inputs.data(), &x, 1, outputs.data(), 1);
    if (!found[0].IsTensor()) throw BadOutput("the model returns no tensor");
    if (model_.liver_labels.empty())
      liver_of_channels(found[0], shape, liver);
    else
      liver_of_labels(found[0], shape, liver);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::usage, model_.file.string() + ": " + why + " (see docs/MODELS.md)");
  }
  [[nodiscard]] bool plane() const { return model_.dimensions == 2; }

  void liver_of_channels(const Ort::Value& output, const BatchShape& shape,
                         std::span<float> liver) const {
    const auto info = output.GetTensorTypeAndShapeInfo();
    const std::vector<std::int64_t> sizes = info.GetShape();
    const bool spatial = sizes.size() == (plane() ? 4U : 5U);
    const auto expected = sizes_of(shape, spatial ? sizes[1] : -1, plane());
    if (!spatial || sizes != expected)
      throw BadOutput("the model's output has the shape " + words_of(sizes) + "; expected " +
                      words_of(expected) + " with any number of channels");
    const std::int64_t channels = sizes[1];
    const auto last = *std::max_element(model_.liver_channels.begin(), model_.liver_channels.end());
    if (last >= channels)
      throw BadOutput("the model's output has " + std::to_string(channels) +
                      " channels, and liver_channels names channel " + std::to_string(last));
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
      throw BadOutput("the model's output is no tensor of float32");
    const auto* values = output.GetTensorData<float>();
    const auto voxels = static_cast<std::size_t>(shape.voxels());
    const auto all = static_cast<std::size_t>(channels);
    for (std::size_t n = 0; n < static_cast<std::size_t>(shape.samples); ++n)
      for (std::size_t i = 0; i < voxels; ++i)
        liver[n * voxels + i] = probability(values + n * all * voxels + i, voxels, all);
  }

  // Of a voxel whose channels lie `stride` apart. Not finite where the output is not: a sigmoid
  // would hide it.
  float probability(const float* at, std::size_t stride, std::size_t channels) const {
    float top = 0, sum = 1;  // of the softmax
    if (model_.activation == Activation::softmax) {
      top = -std::numeric_limits<float>::infinity();
      sum = 0;
      for (std::size_t c = 0; c < channels; ++c) top = std::max(top, at[c * stride]);
      for (std::size_t c = 0; c < channels; ++c) sum += std::exp(at[c * stride] - top);
    }
    float p = 0;
    for (const std::int64_t channel : model_.liver_channels) {
      const float raw = at[static_cast<std::size_t>(channel) * stride];
      if (!std::isfinite(raw)) return std::numeric_limits<float>::quiet_NaN();
      switch (model_.activation) {
        case Activation::softmax:
          p += std::exp(raw - top) / sum;
          break;
        case Activation::sigmoid:
          p = std::max(p, 1 / (1 + std::exp(-raw)));
          break;
        case Activation::none:
          p += raw;
          break;
      }
    }
    return p;
  }

  void liver_of_labels(const Ort::Value& output, const BatchShape& shape,
                       std::span<float> liver) const {
    const auto info = output.GetTensorTypeAndShapeInfo();
    const auto expected = sizes_of(shape, 1, plane());
    auto without = expected;
    without.erase(without.begin() + 1);
    if (const auto sizes = info.GetShape(); sizes != expected && sizes != without)
      throw BadOutput("the model's label map has the shape " + words_of(sizes) + "; expected " +
                      words_of(expected));
    switch (info.GetElementType()) {
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
        return mark<float>(output, shape, liver);
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
        return mark<std::int64_t>(output, shape, liver);
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
        return mark<std::int32_t>(output, shape, liver);
      case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
        return mark<std::uint8_t>(output, shape, liver);
      default:
        throw BadOutput("the model's label map has another type than float32, int64, int32, uint8");
    }
  }

  template <typename T>
  void mark(const Ort::Value& output, const BatchShape& shape, std::span<float> liver) const {
    const T* labels = output.GetTensorData<T>();
    for (std::size_t i = 0; i < static_cast<std::size_t>(shape.samples * shape.voxels()); ++i) {
      const bool found =
          std::any_of(model_.liver_labels.begin(), model_.liver_labels.end(),
                      [&](std::int64_t label) { return labels[i] == static_cast<T>(label); });
      liver[i] = found ? 1.0F : 0.0F;
      if constexpr (std::is_floating_point_v<T>) liver[i] += labels[i] * 0;
    }
  }

  const ModelDescriptor model_;
  Ort::Session session_;
  Ort::MemoryInfo memory_;
  std::string input_, output_;
};

class OnnxSlot : public NetworkSlot {
 public:
  OnnxSlot(OnnxNetwork& network, const BatchShape& largest)
      : network_(network),
        input_(static_cast<std::size_t>(largest.samples * largest.channels * largest.voxels())),
        output_(static_cast<std::size_t>(largest.samples * largest.voxels())) {}
  std::span<float> input() override { return input_; }
  [[nodiscard]] std::span<const float> output() const override { return output_; }
  void start(const BatchShape& shape) override { network_.forward(shape, input_, output_); }
  void wait() override {}

 private:
  OnnxNetwork& network_;
  std::vector<float> input_, output_;
};

std::unique_ptr<NetworkSlot> OnnxNetwork::make_slot(const BatchShape& largest) {
  return std::make_unique<OnnxSlot>(*this, largest);
}

}  // namespace

Runtime linked_runtime() { return Runtime::onnx; }

std::unique_ptr<Network> load_network(const ModelDescriptor& model, const std::string& bytes,
                                      const std::string& device, const std::string& precision) {
  if (device != "auto" && device != "cpu")
    throw Error(ErrorCode::usage, "--device is '" + device +
                                      "': an ONNX model runs on the CPU, expected auto or cpu");
  if (precision != "auto" && precision != "fp32")
    throw Error(ErrorCode::usage, "--precision is '" + precision +
                                      "': an ONNX model runs in fp32, expected auto or fp32");
  try {
    auto network = std::make_unique<OnnxNetwork>(model, bytes);
    log::debug("liver model " + model.name + " " + model.version + " by ONNX Runtime " +
               Ort::GetVersionString());
    return network;
  } catch (const Ort::Exception& e) {
    const std::string words = e.what();
    throw Error(ErrorCode::usage, model.file.string() +
                                      " cannot be loaded: expected an ONNX model, whole in its "
                                      "file, that ONNX Runtime " +
                                      Ort::GetVersionString() +
                                      " knows, found: " + words.substr(0, words.find('\n')));
  }
}

}  // namespace wsp
