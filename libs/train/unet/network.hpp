#pragma once
#include <torch/torch.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "preprocess/ops/slice_context.hpp"
#include "train/data/loader.hpp"
#include "train/data/provenance.hpp"
#include "train/data/volume_set.hpp"
#include "train/model/unet.hpp"
#include "train/unet/config.hpp"

namespace wsp::train {

/// A trained network and the configuration that it was trained with.
struct TrainedUNet {
  UNetConfig config;
  std::shared_ptr<UNet> net;  ///< in evaluation mode, on the CPU
  std::filesystem::path file;
  /// subject_mark() of each subject trained on; none where the weights do not say.
  std::optional<std::set<std::string>> trained_on;
  /// Of each whose score chose these weights among the epochs'; likewise.
  std::optional<std::set<std::string>> chosen_on;
};

/// The marks of the subjects of `volumes`.
std::set<std::string> subject_marks(const std::vector<MaskedVolume>& volumes);

UNetOptions network_options(const UNetConfig& config);
/// "input" of the descriptor that export_unet() writes, but its size.
nlohmann::json described_input(const UNetConfig& config);
/// From a weights file that a run wrote, or from a run's directory: its best weights, else its
/// last. Throws Error(no_input) where there are none, Error(usage) for weights of something else.
TrainedUNet load_trained_unet(const std::filesystem::path& source);

/// What export_unet() wrote, and nobody changed since.
struct ExportedUNet {
  nlohmann::json descriptor;
  std::string bytes;  ///< TorchScript
};
/// Throws Error(usage), which names the option, for another file than such a descriptor, for one of
/// an ONNX file, and where the TorchScript is not the one that it describes.
ExportedUNet read_exported_unet(const std::string& option, const std::filesystem::path& file);

/// In what a trained network predicts on a device: `asked`, or for auto float32 on the CPU and what
/// it was trained in on a card. Throws Error(usage) for another word than auto, fp32, bf16 and
/// fp16, and for fp16 on the CPU.
std::string prediction_precision(const std::string& asked, const UNetConfig& config,
                                 const torch::Device& device);
/// Move a trained network to a device, laid out for that precision; sets TF32, which LibTorch else
/// takes for fp32 too.
void place_for_prediction(TrainedUNet& trained, const torch::Device& device,
                          const std::string& precision);
/// Probabilities [n, 1, s, s] float32 of inputs [n, 2k+1, s, s], by stored_logits() in that
/// precision.
torch::Tensor predicted_probability(UNet& net, const torch::Tensor& input, std::int64_t ratio,
                                    const std::string& precision);

/// int16 HU -> [0, 1].
torch::Tensor network_intensity(const torch::Tensor& hu);
/// The `slices` of a context, [m, s, s], as inputs [n, channels, s, s].
torch::Tensor with_context(const torch::Tensor& slices, const SliceContext& context,
                           std::int64_t channels);

/// Slices [first, first + n) of a volume.
struct PredictedSlices {
  std::size_t volume = 0;
  std::int64_t first = 0;
  torch::Tensor hu;           ///< [n, s, s] int16
  torch::Tensor masks;        ///< [n, s, s] uint8
  torch::Tensor probability;  ///< [n, s, s] float32, on the CPU
};

inline constexpr std::int64_t kSlicesAtOnce = 8;  ///< of predict_volumes() on a CPU

/// Run the network over every slice of `volumes`; a batch reads each slice that it sees once.
/// `options.image_size` is the side s of what is read and predicted; where it is `ratio` times the
/// network's, the network averages and enlarges itself. Volumes and slices come in order. Memory:
/// the loader's ring. Throws what the loader throws, and Error(interrupted).
void predict_volumes(const DatasetReader& reader, const std::vector<MaskedVolume>& volumes,
                     LoaderOptions options, UNet& net, const UNetConfig& config, std::int64_t ratio,
                     std::int64_t slices_at_once, const torch::Device& device,
                     const std::string& precision,
                     const std::function<void(const PredictedSlices&)>& take);

}  // namespace wsp::train
