#include "preprocess/segment/nnunet.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/segment/descriptor.hpp"

namespace wsp {
namespace {

using nlohmann::json;

constexpr double kAnisotropic = 3;  // nnU-Net's ANISO_THRESHOLD

class NnunetParser {
 public:
  NnunetParser(const json& value, const std::filesystem::path& path)
      : json_(value), network_(value.at("network")), path_(path) {}

  ModelDescriptor parse() {
    ModelDescriptor d = described_model(json_, path_);
    d.nnunet.emplace();
    grid(d);
    architecture(d);
    intensity(d);
    heads(*d.nnunet);
    d.nnunet->data = resampling("data");
    d.nnunet->logits = resampling("logits");
    if (json_.value("mirror", false)) mirroring(d);
    return d;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { refuse_descriptor(path_, what); }

  void grid(ModelDescriptor& d) const {
    d.axes = model_axes(json_.at("orientation"), path_);
    const auto patch = json_.at("patch").get<std::vector<std::int64_t>>();
    const auto spacing = json_.at("spacing_mm").get<std::vector<double>>();
    if (patch.size() != spacing.size()) fail("patch and spacing_mm differ in length");
    d.dimensions = static_cast<int>(patch.size());
    if (d.dimensions == 2 && d.axes[0].volume_axis != 2)
      fail("a 2d model takes axial slices, so the first letter of orientation is S or I");
    const std::size_t first = 3 - patch.size();
    d.patch = {1, 1, 1};
    for (std::size_t i = 0; i < patch.size(); ++i) {
      d.patch[first + i] = patch[i];
      d.spacing_mm[first + i] = spacing[i];
    }
    d.overlap = 0.5;
  }

  std::vector<std::vector<std::int64_t>> by_stage(const char* key, const ModelDescriptor& d) const {
    auto values = network_.at(key).get<std::vector<std::vector<std::int64_t>>>();
    for (const auto& stage : values)
      if (stage.size() != static_cast<std::size_t>(d.dimensions))
        fail(std::string("network.") + key + " has another number of axes than patch");
    return values;
  }

  void architecture(ModelDescriptor& d) const {
    NnunetArchitecture& a = d.nnunet->architecture;
    a.residual = network_.at("class") == "ResidualEncoderUNet";
    a.features = network_.at("features").get<std::vector<std::int64_t>>();
    a.kernels = by_stage("kernel_sizes", d);
    a.strides = by_stage("strides", d);
    a.encoder_blocks = network_.at("encoder_blocks").get<std::vector<std::int64_t>>();
    a.decoder_convolutions = network_.at("decoder_convolutions").get<std::vector<std::int64_t>>();
    const std::size_t stages = a.features.size();
    if (stages < 2 || a.kernels.size() != stages || a.strides.size() != stages ||
        a.encoder_blocks.size() != stages || a.decoder_convolutions.size() != stages - 1)
      fail("the lists of network differ in their number of stages");
    if (network_.contains("stem_channels") != a.residual)
      fail("network.stem_channels goes with ResidualEncoderUNet, and is needed there");
    a.stem_channels = network_.value("stem_channels", std::int64_t{0});
    a.bias = network_.at("conv_bias");
    a.norm_eps = network_.at("norm_eps");
    a.negative_slope = network_.at("negative_slope");
    for (const std::int64_t stride : a.strides.front())
      if (stride != 1) fail("network.strides: the first stage must keep the resolution");
    for (std::size_t axis = 0; axis < a.strides.front().size(); ++axis) {
      std::int64_t whole = 1;
      for (const auto& stage : a.strides) whole *= stage[axis];
      const auto patch = d.patch[3 - a.strides.front().size() + axis];
      if (patch % whole != 0)
        fail("patch is no multiple of what network.strides divide it by (" + std::to_string(patch) +
             " by " + std::to_string(whole) + ")");
    }
  }

  void intensity(ModelDescriptor& d) const {
    const json& n = json_.at("normalization");
    d.nnunet->zscore = n.at("scheme") == "ZScoreNormalization";
    constexpr std::array<const char*, 4> kKeys{"mean", "std", "percentile_00_5", "percentile_99_5"};
    for (const char* key : kKeys)
      if (n.contains(key) == d.nnunet->zscore)
        fail(std::string("normalization.") + key +
             " goes with CTNormalization, and is needed there");
    if (d.nnunet->zscore) {  // the volume's own: these are for the small input of the probe alone
      d.low_hu = -1000;
      d.high_hu = 1000;
      d.factor = 1.0 / 500;
      return;
    }
    d.low_hu = n.at("percentile_00_5");
    d.high_hu = n.at("percentile_99_5");
    if (!(d.low_hu < d.high_hu)) fail("normalization: percentile_00_5 is not below the other");
    d.factor = 1 / std::max(n.at("std").get<double>(), 1e-8);
    d.offset = -n.at("mean").get<double>() * d.factor;
  }

  void heads(NnunetModel& m) const {
    m.regions = json_.at("activation") == "sigmoid";
    const auto liver = json_.at("liver").get<std::set<std::int64_t>>();
    std::set<std::int64_t> painted;
    for (const json& head : json_.at("heads")) {
      const std::int64_t paints = head.at("paints");
      if (paints == 0 && m.regions) fail("heads: a region paints 0, which is background");
      painted.insert(paints);
      m.liver_head.push_back(liver.contains(paints));
    }
    for (const std::int64_t value : liver)
      if (!painted.contains(value))
        fail("liver names " + std::to_string(value) + ", which no head paints");
    if (m.heads() < 2 && !m.regions) fail("heads: a softmax needs two at least");
  }

  NnunetResampling resampling(const char* of) const {
    const json& r = json_.at("resampling").at(of);
    NnunetResampling result{r.at("order"), r.at("order_z"), std::nullopt};
    if (!r.at("force_separate_z").is_null())
      result.separate_z = r.at("force_separate_z").get<bool>();
    return result;
  }

  void mirroring(ModelDescriptor& d) const {
    for (const std::int64_t axis : json_.value("mirror_axes", std::vector<std::int64_t>{}))
      d.nnunet->mirrored_axes.push_back(axis);
    auto& axes = d.nnunet->mirrored_axes;
    std::sort(axes.begin(), axes.end());
    if (std::adjacent_find(axes.begin(), axes.end()) != axes.end() ||
        (!axes.empty() && axes.back() >= d.dimensions))
      fail("mirror_axes names an axis twice, or one that patch lacks");
    if (axes.empty())
      fail("mirror is true, and mirror_axes names none: the model was trained without");
  }

  const json& json_;
  const json& network_;
  const std::filesystem::path& path_;
};

// The one axis along which the spacing is largest, where it is so by far.
std::optional<std::size_t> coarse_axis(const std::array<double, 3>& mm) {
  const double largest = *std::max_element(mm.begin(), mm.end());
  std::optional<std::size_t> axis;
  for (std::size_t i = 0; i < 3; ++i)
    if (largest / mm[i] == 1) {
      if (axis) return std::nullopt;
      axis = i;
    }
  return axis;
}

bool anisotropic(const std::array<double, 3>& mm) {
  return *std::max_element(mm.begin(), mm.end()) / *std::min_element(mm.begin(), mm.end()) >
         kAnisotropic;
}

}  // namespace

std::optional<std::size_t> NnunetResampling::separate_axis(
    const std::array<double, 3>& from_mm, const std::array<double, 3>& to_mm) const {
  if (separate_z) return *separate_z ? coarse_axis(from_mm) : std::nullopt;
  if (anisotropic(from_mm)) return coarse_axis(from_mm);
  return anisotropic(to_mm) ? coarse_axis(to_mm) : std::nullopt;
}

NnunetVoxel nnunet_voxel(const NnunetModel& model, const float* logits, std::size_t stride) {
  constexpr float kNone = -7;  // below 1/255 / 2
  NnunetVoxel voxel;
  if (!std::isfinite(logits[0])) return voxel;
  const std::size_t heads = model.liver_head.size();
  float largest = logits[0], liver = -INFINITY;
  std::size_t winner = 0;
  for (std::size_t i = 0; i < heads; ++i) {
    const float value = logits[i * stride];
    if (value > largest) {
      largest = value;
      winner = i;
    }
    if (model.liver_head[i]) liver = std::max(liver, value);
  }
  if (model.regions) {
    for (std::size_t i = 0; i < heads; ++i)
      if (logits[i * stride] > 0) voxel.liver = model.liver_head[i];
    voxel.probability = 1 / (1 + std::exp(-liver));
    return voxel;
  }
  voxel.liver = model.liver_head[winner];
  if (liver - largest < kNone) return voxel;
  float sum = 0, share = 0;
  for (std::size_t i = 0; i < heads; ++i) {
    const float e = std::exp(logits[i * stride] - largest);
    sum += e;
    if (model.liver_head[i]) share += e;
  }
  voxel.probability = share / sum;
  return voxel;
}

ModelDescriptor parse_nnunet_descriptor(const json& value, const std::filesystem::path& path) {
  check_descriptor("nnunet_model.schema.json", value, path);
  return NnunetParser(value, path).parse();
}

}  // namespace wsp
