#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <vector>

/// What an nnU-Net v2 model is beside its weights (Isensee et al. 2021), as
/// tools/nnunet-to-wsp.py writes it (schemas/nnunet_model.schema.json). No Torch stands here.
namespace wsp {

struct ModelDescriptor;

/// PlainConvUNet or ResidualEncoderUNet of dynamic_network_architectures.
struct NnunetArchitecture {
  bool residual = false;                                    ///< ResidualEncoderUNet
  std::vector<std::int64_t> features;                       ///< [stage] channels
  std::vector<std::vector<std::int64_t>> kernels, strides;  ///< [stage][axis], tensor order
  std::vector<std::int64_t> encoder_blocks;        ///< [stage] convolutions or residual blocks
  std::vector<std::int64_t> decoder_convolutions;  ///< [stage], from the lowest resolution up
  std::int64_t stem_channels = 0;                  ///< residual only
  bool bias = true;                                ///< of all convolutions but the skips'
  double norm_eps = 1e-5, negative_slope = 0.01;
};

/// How nnU-Net resamples (resample_data_or_seg_to_shape).
struct NnunetResampling {
  int order = 3;                   ///< degree of the spline: 0, 1 or 3
  int order_z = 0;                 ///< along an axis that is resampled apart: 0 or 1
  std::optional<bool> separate_z;  ///< nothing: where spacings differ by more than a factor of 3
  /// The spatial axis that is resampled apart from the other two, if any: tensor order.
  [[nodiscard]] std::optional<std::size_t> separate_axis(const std::array<double, 3>& from_mm,
                                                         const std::array<double, 3>& to_mm) const;
};

struct NnunetModel {
  NnunetArchitecture architecture;
  bool zscore = false;  ///< each volume by its own mean and deviation, not CTNormalization
  NnunetResampling data, logits;
  bool regions = false;          ///< heads are regions (sigmoid), painted over each other in order
  std::vector<bool> liver_head;  ///< [head] whether what it paints is liver
  std::vector<std::int64_t> mirrored_axes;  ///< of test-time mirroring, tensor order; empty: none
  [[nodiscard]] std::int64_t heads() const { return static_cast<std::int64_t>(liver_head.size()); }
};

/// What the heads say of a voxel.
struct NnunetVoxel {
  bool liver = false;
  float probability = 0;  ///< of liver: the softmax's share, or the largest sigmoid
};
/// `logits`: heads() values, `stride` apart. Not finite (where no window was): no liver.
NnunetVoxel nnunet_voxel(const NnunetModel& model, const float* logits, std::size_t stride);

/// Read a descriptor of format "wsp-nnunet-model"; `path` is for messages and places the weights
/// beside it. Throws Error(usage) that lists what is wrong.
ModelDescriptor parse_nnunet_descriptor(const nlohmann::json& json,
                                        const std::filesystem::path& path);

}  // namespace wsp
