#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "preprocess/segment/nnunet.hpp"

namespace wsp {

struct BatchShape;

/// What makes a network's output probabilities.
enum class Activation { none, sigmoid, softmax };

/// What runs a model's file.
enum class Runtime { torch, onnx };

/// One spatial axis of the network's tensor in terms of the canonical volume's.
struct ModelAxis {
  int volume_axis = 0;    ///< 0 x (to the left), 1 y (to posterior), 2 z (to the head)
  bool reversed = false;  ///< the tensor's index grows against the volume's
};

/// The JSON beside a TorchScript or ONNX file (schemas/segmentation_model.schema.json), or beside
/// the weights of an nnU-Net (schemas/nnunet_model.schema.json): what the network takes and gives.
/// Triples named "tensor order" follow its spatial axes; for 2d and 2.5d networks these are slices,
/// rows, columns.
struct ModelDescriptor {
  std::string name, version, sha256;
  std::filesystem::path file;      ///< TorchScript, ONNX where it ends in .onnx, or weights
  int dimensions = 2;              ///< 2 (also 2.5d) or 3
  int neighbours = 0;              ///< slices on either side that are channels too
  std::vector<double> context_mm;  ///< how far away they are; empty: adjacent
  std::array<ModelAxis, 3> axes;   ///< tensor order
  std::array<std::optional<double>, 3> spacing_mm;  ///< tensor order
  std::optional<std::array<std::int64_t, 2>> size;  ///< rows, columns; 2d only
  std::int64_t multiple = 1;                        ///< of rows and columns; 2d only
  std::array<std::int64_t, 3> patch{0, 0, 0};       ///< tensor order; 3d, and {1, a, b} of an
                                                    ///< nnU-Net in 2d
  double overlap = 0.5;
  double low_hu = -100, high_hu = 400;
  double factor = 1, offset = 0;  ///< value = factor * clipped HU + offset
  Activation activation = Activation::none;
  std::vector<std::int64_t> liver_channels;  ///< empty: the output is a label map
  std::vector<std::int64_t> liver_labels;
  double threshold = 0.5;
  bool refine = false;    ///< move the mask's border to where the HU say (refine_liver())
  std::string precision;  ///< on a card: fp32, bf16, fp16, or empty for fp32
  std::optional<NnunetModel> nnunet;  ///< then activation, channels and threshold are not used

  [[nodiscard]] Runtime runtime() const {
    return file.extension() == ".onnx" ? Runtime::onnx : Runtime::torch;
  }
  [[nodiscard]] std::int64_t channels() const { return 2 * neighbours + 1; }
  /// SHA-256 over the descriptor's meaning and the file's hash.
  std::string identity;
};

/// Read, validate and resolve a descriptor of either kind; throws Error(usage) that lists what is
/// wrong. The file that it names is not touched.
ModelDescriptor load_descriptor(const std::filesystem::path& path);

/// The same from JSON; `path` is for messages and places the file beside it.
ModelDescriptor parse_descriptor(const nlohmann::json& json, const std::filesystem::path& path);

/// The smallest input that the descriptor allows: two slices, one window, or of an nnU-Net, whose
/// windows are large, as much as its lowest resolution takes.
BatchShape small_batch(const ModelDescriptor& model);

/// What both kinds share, for their parsers: Error(usage) with every violation of the schema;
/// Error(usage) with one; name, version, file, hashes and precision; the letters of an orientation.
void check_descriptor(std::string_view schema, const nlohmann::json& json,
                      const std::filesystem::path& path);
[[noreturn]] void refuse_descriptor(const std::filesystem::path& path, const std::string& what);
ModelDescriptor described_model(const nlohmann::json& json, const std::filesystem::path& path);
std::array<ModelAxis, 3> model_axes(const std::string& letters, const std::filesystem::path& path);

}  // namespace wsp
