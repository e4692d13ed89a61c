#include <cstring>
#include <initializer_list>

#include "io/core/error.hpp"
#include "onnx.pb.h"
#include "train/model/module_state.hpp"
#include "train/model/unet.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kOperators =
    13;                                 // ONNX 1.8, 2020: each operator below has its form of today
constexpr std::int64_t kFormat = 7;     // of the file, which goes with it
constexpr std::int64_t kGroupSize = 8;  // channels of a group of group norm, as in UNet

// Writes UNet::forward() as a graph; `x` is the value under way.
class Graph {
 public:
  Graph(UNet& net, bool half) : options_(net.options()), half_(half) {
    for (const auto& [name, tensor] : state_of(net)) weights_[name] = tensor;
  }

  onnx::GraphProto of(std::int64_t ratio) {
    graph_.set_name("LiverUNet");
    add_value(*graph_.add_input(), "input", options_.channels());
    x_ = "input";
    if (ratio > 1)
      step("AveragePool", {x_},
           {ints("kernel_shape", {ratio, ratio}), ints("strides", {ratio, ratio})});
    std::vector<std::string> skips;
    for (std::int64_t level = 0; level <= options_.depth; ++level) {
      if (level > 0) step("MaxPool", {x_}, {ints("kernel_shape", {2, 2}), ints("strides", {2, 2})});
      double_convolution("down" + std::to_string(level));
      skips.push_back(x_);
    }
    for (std::int64_t level = options_.depth; level-- > 0;) {
      const std::string l = std::to_string(level);
      step("ConvTranspose", {x_, kernel("up" + l + ".weight"), weight("up" + l + ".bias")},
           {ints("kernel_shape", {2, 2}), ints("strides", {2, 2})});
      step("Concat", {skips[static_cast<std::size_t>(level)], x_}, {integer("axis", 1)});
      double_convolution("join" + l);
    }
    step("Conv", {x_, kernel("head.weight"), weight("head.bias")}, {ints("kernel_shape", {1, 1})});
    if (ratio > 1) {
      const auto r = static_cast<float>(ratio);
      step("Resize", {x_, "", constant("scales", torch::tensor({1.0F, 1.0F, r, r}))},
           {text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")});
    }
    graph_.mutable_node(graph_.node_size() - 1)->set_output(0, "logits");
    add_value(*graph_.add_output(), "logits", 1);
    return std::move(graph_);
  }

 private:
  using Attribute = onnx::AttributeProto;

  static Attribute ints(const char* name, std::initializer_list<std::int64_t> values) {
    Attribute a;
    a.set_name(name);
    a.set_type(Attribute::INTS);
    for (const std::int64_t v : values) a.add_ints(v);
    return a;
  }
  static Attribute integer(const char* name, std::int64_t value) {
    Attribute a;
    a.set_name(name);
    a.set_type(Attribute::INT);
    a.set_i(value);
    return a;
  }
  static Attribute real(const char* name, float value) {
    Attribute a;
    a.set_name(name);
    a.set_type(Attribute::FLOAT);
    a.set_f(value);
    return a;
  }
  static Attribute text(const char* name, const char* value) {
    Attribute a;
    a.set_name(name);
    a.set_type(Attribute::STRING);
    a.set_s(value);
    return a;
  }

  // [n, channels, rows, columns] of float32, all but the channels free.
  static void add_value(onnx::ValueInfoProto& value, const char* name, std::int64_t channels) {
    value.set_name(name);
    auto& tensor = *value.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(1);
    auto& shape = *tensor.mutable_shape();
    shape.add_dim()->set_dim_param("n");
    shape.add_dim()->set_dim_value(channels);
    shape.add_dim()->set_dim_param("rows");
    shape.add_dim()->set_dim_param("columns");
  }

  std::string constant(const std::string& name, const torch::Tensor& value) {
    const torch::Tensor whole = value.detach().to(torch::kCPU).contiguous();
    auto& tensor = *graph_.add_initializer();
    for (const std::int64_t size : whole.sizes()) tensor.add_dims(size);
    tensor.set_data_type(whole.scalar_type() == torch::kHalf   ? 10
                         : whole.scalar_type() == torch::kLong ? 7
                                                               : 1);
    tensor.set_name(name);
    tensor.set_raw_data(whole.data_ptr(), whole.nbytes());
    return name;
  }
  std::string weight(const std::string& name) { return constant(name, weights_.at(name)); }
  // Kept in half precision where asked, and computed with in single.
  std::string kernel(const std::string& name) {
    if (!half_) return weight(name);
    return add("Cast", {constant(name, weights_.at(name).to(torch::kHalf))}, {integer("to", 1)});
  }

  std::string add(const char* operation, std::initializer_list<std::string> inputs,
                  std::initializer_list<Attribute> attributes) {
    auto& node = *graph_.add_node();
    node.set_op_type(operation);
    node.set_name(operation + ("_" + std::to_string(graph_.node_size())));
    for (const std::string& input : inputs) node.add_input(input);
    for (const Attribute& attribute : attributes) *node.add_attribute() = attribute;
    return *node.add_output() = node.name() + "_out";
  }
  void step(const char* operation, std::initializer_list<std::string> inputs,
            std::initializer_list<Attribute> attributes) {
    x_ = add(operation, inputs, attributes);
  }

  void double_convolution(const std::string& block) {
    for (const char* number : {"1", "2"}) {
      step("Conv", {x_, kernel(block + ".conv" + number + ".weight")},
           {ints("kernel_shape", {3, 3}), ints("pads", {1, 1, 1, 1})});
      const std::string norm = block + ".norm" + number;
      if (options_.norm == Norm::batch)
        step("BatchNormalization",
             {x_, weight(norm + ".weight"), weight(norm + ".bias"), weight(norm + ".running_mean"),
              weight(norm + ".running_var")},
             {real("epsilon", 1e-5F)});
      else
        group_norm(norm);
      step("Relu", {x_}, {});
    }
  }

  // Each group is a channel of an instance norm without weights; ONNX's own came with later
  // versions.
  void group_norm(const std::string& norm) {
    const torch::Tensor scale = weights_.at(norm + ".weight"), bias = weights_.at(norm + ".bias");
    const std::int64_t groups = scale.size(0) / kGroupSize;
    const std::string shape = add("Shape", {x_}, {});
    step("Reshape",
         {x_,
          constant(norm + ".groups", torch::tensor({std::int64_t{0}, groups, std::int64_t{-1}}))},
         {});
    step("InstanceNormalization",
         {x_, constant(norm + ".one", torch::ones({groups})),
          constant(norm + ".zero", torch::zeros({groups}))},
         {real("epsilon", 1e-5F)});
    step("Reshape", {x_, shape}, {});
    step("Mul", {x_, constant(norm + ".weight", scale.view({-1, 1, 1}))}, {});
    step("Add", {x_, constant(norm + ".bias", bias.view({-1, 1, 1}))}, {});
  }

  UNetOptions options_;
  bool half_;
  std::map<std::string, torch::Tensor> weights_;
  onnx::GraphProto graph_;
  std::string x_;
};

}  // namespace

std::string unet_onnx(UNet& net, std::int64_t ratio, bool half) {
  onnx::ModelProto model;
  model.set_ir_version(kFormat);
  model.set_producer_name("wsp-unet");
  model.add_opset_import()->set_version(kOperators);
  *model.mutable_graph() = Graph(net, half).of(ratio);
  return model.SerializeAsString();
}

}  // namespace wsp::train
