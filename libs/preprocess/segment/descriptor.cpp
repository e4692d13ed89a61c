#include "preprocess/segment/descriptor.hpp"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/segment/network.hpp"

namespace wsp {
namespace {

using nlohmann::json;

class Parser {
 public:
  Parser(const json& value, const std::filesystem::path& path)
      : json_(value), input_(value.at("input")), output_(value.at("output")), path_(path) {}

  ModelDescriptor parse() {
    ModelDescriptor d = described_model(json_, path_);
    dimensions(d);
    orientation(d);
    spacing(d);
    if (d.dimensions == 2)
      plane(d);
    else
      patch(d);
    intensity(d);
    output(d);
    return d;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { refuse_descriptor(path_, what); }
  void refuse(const json& part, const char* key, const char* why) const {
    if (part.contains(key)) fail(std::string(key) + " " + why);
  }

  void dimensions(ModelDescriptor& d) const {
    const std::string words = input_.at("dimensions");
    d.dimensions = words == "3d" ? 3 : 2;
    if (words == "2.5d") {
      if (input_.contains("neighbours") == input_.contains("context_mm"))
        fail("dimensions 2.5d needs neighbours or context_mm, one of them");
      if (input_.contains("context_mm")) {
        d.context_mm = input_.at("context_mm").get<std::vector<double>>();
        if (std::adjacent_find(d.context_mm.begin(), d.context_mm.end(), std::greater_equal<>()) !=
            d.context_mm.end())
          fail("context_mm expects ascending distances");
        d.neighbours = static_cast<int>(d.context_mm.size());
      } else {
        d.neighbours = input_.at("neighbours");
      }
    } else {
      for (const char* key : {"neighbours", "context_mm"})
        refuse(input_, key, "is for dimensions 2.5d only");
    }
  }

  void orientation(ModelDescriptor& d) const {
    const std::string letters = input_.at("orientation");
    d.axes = model_axes(letters, path_);
    if (d.dimensions == 2 && d.axes[0].volume_axis != 2)
      fail("orientation is '" + letters +
           "': a 2d or 2.5d model takes axial slices, so the first letter is S or I");
  }

  void spacing(ModelDescriptor& d) const {
    if (!input_.contains("spacing_mm")) return;
    const json& values = input_.at("spacing_mm");
    for (std::size_t i = 0; i < 3; ++i)
      if (!values.at(i).is_null()) d.spacing_mm[i] = values.at(i).get<double>();
    if (d.dimensions == 2 && d.spacing_mm[1].has_value() != d.spacing_mm[2].has_value())
      fail("spacing_mm names one in-plane direction only; expected both or null for both");
  }

  void plane(ModelDescriptor& d) const {
    refuse(input_, "patch", "is for dimensions 3d only");
    refuse(input_, "overlap", "is for dimensions 3d only");
    if (input_.contains("size")) {
      refuse(input_, "multiple", "and size exclude each other");
      d.size = input_.at("size").get<std::array<std::int64_t, 2>>();
    }
    d.multiple = input_.value("multiple", std::int64_t{1});
  }

  void patch(ModelDescriptor& d) const {
    refuse(input_, "size", "is for dimensions 2d and 2.5d only; give patch");
    refuse(input_, "multiple", "is for dimensions 2d and 2.5d only; give patch");
    if (!input_.contains("patch")) fail("dimensions 3d needs patch");
    d.patch = input_.at("patch").get<std::array<std::int64_t, 3>>();
    d.overlap = input_.value("overlap", 0.5);
  }

  void intensity(ModelDescriptor& d) const {
    d.low_hu = input_.at("window_hu").at(0);
    d.high_hu = input_.at("window_hu").at(1);
    if (!(d.low_hu < d.high_hu)) fail("window_hu expects its lower value first");
    if (input_.contains("mean") != input_.contains("std")) fail("mean and std go together");
    if (input_.contains("mean")) {
      refuse(input_, "scale", "and mean with std exclude each other");
      d.factor = 1 / input_.at("std").get<double>();
      d.offset = -input_.at("mean").get<double>() * d.factor;
      return;
    }
    const auto scale = input_.value("scale", std::array<double, 2>{0, 1});
    if (scale[0] == scale[1]) fail("scale gives both ends of window_hu one value");
    d.factor = (scale[1] - scale[0]) / (d.high_hu - d.low_hu);
    d.offset = scale[0] - d.low_hu * d.factor;
  }

  void output(ModelDescriptor& d) const {
    d.threshold = output_.value("threshold", 0.5);
    d.refine = output_.value("refine", false);
    if (output_.contains("liver_labels")) {
      for (const char* key : {"liver_channels", "activation", "threshold"})
        refuse(output_, key, "and liver_labels exclude each other");
      d.liver_labels = output_.at("liver_labels").get<std::vector<std::int64_t>>();
      return;
    }
    if (!output_.contains("liver_channels") || !output_.contains("activation"))
      fail("output needs activation and liver_channels, or liver_labels");
    d.liver_channels = output_.at("liver_channels").get<std::vector<std::int64_t>>();
    auto sorted = d.liver_channels;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
      fail("liver_channels names a channel twice");
    const std::string activation = output_.at("activation");
    d.activation = activation == "sigmoid"   ? Activation::sigmoid
                   : activation == "softmax" ? Activation::softmax
                                             : Activation::none;
  }

  const json& json_;
  const json& input_;
  const json& output_;
  const std::filesystem::path& path_;
};

}  // namespace

void refuse_descriptor(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorCode::usage, path.string() + ": " + what + " (see docs/MODELS.md)");
}

void check_descriptor(std::string_view schema, const json& value,
                      const std::filesystem::path& path) {
  const auto violations = schema_violations(schema, value);
  if (violations.empty()) return;
  std::string text = path.string() + " is no description of a segmentation model:";
  for (const std::string& line : violations) text += "\n  " + line;
  throw Error(ErrorCode::usage, text + "\n(see docs/MODELS.md)");
}

ModelDescriptor described_model(const json& value, const std::filesystem::path& path) {
  ModelDescriptor d;
  d.name = value.at("name");
  d.version = value.at("model_version");
  d.sha256 = value.at("sha256");
  d.precision = value.value("precision", "");
  std::transform(d.sha256.begin(), d.sha256.end(), d.sha256.begin(), [](char c) {
    return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  d.file = path.parent_path() / value.at("file").get<std::string>();
  json meaning = value;
  meaning["sha256"] = d.sha256;
  for (const char* remark : {"comment", "file", "precision"}) meaning.erase(remark);
  d.identity = hex(sha256(json_text(meaning)));
  return d;
}

std::array<ModelAxis, 3> model_axes(const std::string& letters, const std::filesystem::path& path) {
  std::array<ModelAxis, 3> axes;
  std::array<bool, 3> seen{};
  for (std::size_t i = 0; i < 3; ++i) {
    constexpr std::string_view kForward = "LPS", kBackward = "RAI";
    const auto forward = kForward.find(letters[i]);
    const auto at = forward != std::string_view::npos ? forward : kBackward.find(letters[i]);
    axes[i] = {static_cast<int>(at), forward == std::string_view::npos};
    if (std::exchange(seen[at], true))
      refuse_descriptor(path, "orientation is '" + letters +
                                  "': expected one letter each of L or R, A or P, S or I, in the "
                                  "tensor's order");
  }
  return axes;
}

ModelDescriptor parse_descriptor(const json& value, const std::filesystem::path& path) {
  if (value.is_object() && value.value("format", json()) == "wsp-nnunet-model")
    return parse_nnunet_descriptor(value, path);
  check_descriptor("segmentation_model.schema.json", value, path);
  return Parser(value, path).parse();
}

BatchShape small_batch(const ModelDescriptor& model) {
  if (model.nnunet) {
    BatchShape shape{1, 1, model.patch};
    const auto& strides = model.nnunet->architecture.strides;
    for (std::size_t i = 0, axes = strides.front().size(); i < axes; ++i) {
      std::int64_t& side = shape.spatial[3 - axes + i];
      std::int64_t least = 2;
      for (const auto& stage : strides) least *= stage[i];
      side = std::min(side, least);
    }
    return shape;
  }
  constexpr std::int64_t kLeast = 64;
  if (model.dimensions == 3) return {1, 1, model.patch};
  const std::int64_t side = (kLeast + model.multiple - 1) / model.multiple * model.multiple;
  const auto size = model.size.value_or(std::array<std::int64_t, 2>{side, side});
  return {2, model.channels(), {1, size[0], size[1]}};
}

ModelDescriptor load_descriptor(const std::filesystem::path& path) {
  return parse_descriptor(load_json(path), path);
}

}  // namespace wsp
