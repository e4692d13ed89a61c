#include "train/unet/network.hpp"

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/manifest/manifest.hpp"
#include "train/model/safetensors.hpp"
#include "train/run/batches.hpp"
#include "train/run/device.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

fs::path weights_of(const fs::path& source) {
  if (!fs::is_directory(source)) return source;
  for (const char* name : {"unet-best.safetensors", "unet.safetensors"})
    if (fs::is_regular_file(source / name)) return source / name;
  throw Error(ErrorCode::no_input, source.string() +
                                       " holds no trained network: expected the --out of wsp-unet "
                                       "train, with unet.safetensors in it, or a weights file");
}

/// Slices [first, last) of a volume, run at once.
struct Piece {
  std::size_t volume;
  std::int64_t first, last;
};

std::vector<Piece> pieces_of(const std::vector<MaskedVolume>& volumes, std::int64_t at_once) {
  std::vector<Piece> pieces;
  for (std::size_t v = 0; v < volumes.size(); ++v)
    for (std::int64_t z = 0; z < volumes[v].count; z += at_once)
      pieces.push_back({v, z, std::min(z + at_once, volumes[v].count)});
  return pieces;
}

}  // namespace

std::set<std::string> subject_marks(const std::vector<MaskedVolume>& volumes) {
  std::set<std::string> marks;
  for (const MaskedVolume& volume : volumes) marks.insert(subject_mark(volume.subject));
  return marks;
}

UNetOptions network_options(const UNetConfig& config) {
  return {config.neighbours, config.width, config.depth,
          config.norm == "group" ? Norm::group : Norm::batch};
}

TrainedUNet load_trained_unet(const fs::path& source) {
  TrainedUNet trained;
  trained.file = weights_of(source);
  if (!fs::is_regular_file(trained.file))
    throw Error(ErrorCode::no_input, "no trained network at " + source.string() +
                                         ": expected a run directory or a weights file of wsp-unet "
                                         "train");
  const TensorFile file = read_tensor_file(trained.file);
  const auto config = file.metadata.find("wsp.config");
  const auto model = file.metadata.find("wsp.model");
  if (config == file.metadata.end() || model == file.metadata.end() || model->second != "unet")
    throw Error(ErrorCode::usage, trained.file.string() +
                                      " holds no U-Net of ours: expected unet.safetensors or "
                                      "unet-best.safetensors of wsp-unet train");
  try {
    const auto value = nlohmann::json::parse(config->second, nullptr, /*exceptions=*/false);
    trained.config = unet_config_from_json(value);
    check_config(trained.config);
    trained.net = std::make_shared<UNet>(network_options(trained.config));
    load_unet_weights(*trained.net, file.tensors);
    const Provenance provenance = provenance_of(file.metadata, trained.file);
    trained.trained_on = provenance.trained_on;
    trained.chosen_on = provenance.chosen_on;
  } catch (Error& e) {
    throw e.within("while loading the weights " + trained.file.string());
  }
  trained.net->eval();
  return trained;
}

ExportedUNet read_exported_unet(const std::string& option, const fs::path& file) {
  ExportedUNet model{load_json(file), {}};
  for (const std::string& line :
       schema_violations("segmentation_model.schema.json", model.descriptor))
    throw Error(ErrorCode::usage,
                option + " " + file.string() +
                    " is no descriptor of a liver model (docs/MODELS.md): " + line);
  const fs::path script = file.parent_path() / model.descriptor.at("file").get<std::string>();
  if (script.extension() == ".onnx")
    throw Error(ErrorCode::usage,
                option + " " + file.string() + " is an ONNX model: export its run as TorchScript");
  model.bytes = read_file(script);
  const auto wanted = model.descriptor.at("sha256").get<std::string>();
  if (const std::string found = hex(sha256(model.bytes)); found != wanted)
    throw Error(ErrorCode::usage, script.string() + " is not the file that " + file.string() +
                                      " describes: expected SHA-256 " + wanted + ", found " +
                                      found);
  return model;
}

std::string prediction_precision(const std::string& asked, const UNetConfig& config,
                                 const torch::Device& device) {
  if (asked != "auto" && asked != "fp32" && asked != "bf16" && asked != "fp16")
    throw Error(ErrorCode::usage,
                "--precision is '" + asked + "': expected auto, fp32, bf16 or fp16");
  const bool half = config.precision == "bf16" || config.precision == "fp16";
  const std::string found = asked != "auto"            ? asked
                            : device.is_cuda() && half ? config.precision
                                                       : "fp32";
  if (found == "fp16" && !device.is_cuda())
    throw Error(ErrorCode::usage,
                "--precision fp16 needs a CUDA card: on the CPU use fp32 or bf16");
  return found;
}

void place_for_prediction(TrainedUNet& trained, const torch::Device& device,
                          const std::string& precision) {
  prepare_precision(device, precision);
  trained.net->to(device);
  if (use_channels_last("auto", device, precision)) make_channels_last(*trained.net);
}

torch::Tensor predicted_probability(UNet& net, const torch::Tensor& input, std::int64_t ratio,
                                    const std::string& precision) {
  torch::Tensor logits;
  {
    const Autocast autocast(input.device(), precision);
    const bool channels_last = use_channels_last("auto", input.device(), precision);
    logits = stored_logits(
        net, channels_last ? input.contiguous(torch::MemoryFormat::ChannelsLast) : input, ratio);
  }
  return torch::sigmoid(logits.to(torch::kFloat));
}

torch::Tensor network_intensity(const torch::Tensor& hu) {
  return hu.to(torch::kFloat).add_(100).div_(500);
}

torch::Tensor with_context(const torch::Tensor& slices, const SliceContext& context,
                           std::int64_t channels) {
  const torch::Tensor which = send(torch::tensor(context.channel), slices.device());
  return slices.index_select(0, which).view({-1, channels, slices.size(1), slices.size(2)});
}

void predict_volumes(const DatasetReader& reader, const std::vector<MaskedVolume>& volumes,
                     LoaderOptions options, UNet& net, const UNetConfig& config, std::int64_t ratio,
                     std::int64_t slices_at_once, const torch::Device& device,
                     const std::string& precision,
                     const std::function<void(const PredictedSlices&)>& take) {
  const torch::NoGradGuard no_grad;
  const std::int64_t channels = net.options().channels();
  const auto pieces = pieces_of(volumes, slices_at_once);
  const auto context_of = [&](const Piece& piece) {
    const MaskedVolume& volume = volumes[piece.volume];
    return slice_context(piece.first, piece.last, volume.count,
                         context_offsets(config.neighbours, config.context_mm, volume.spacing_mm));
  };
  const auto source = [&](std::int64_t i) -> std::vector<std::uint32_t> {
    if (i >= std::ssize(pieces)) return {};
    const Piece& piece = pieces[static_cast<std::size_t>(i)];
    std::vector<std::uint32_t> rows;
    for (const std::int64_t z : context_of(piece).slices)
      rows.push_back(volumes[piece.volume].first_row + static_cast<std::uint32_t>(z));
    return rows;
  };
  options.masks = true;
  DeviceBatches batches(reader, source, 0, std::move(options), device);
  while (auto batch = batches.next()) {
    stop_if_interrupted("run the same command again");
    const Piece& piece = pieces[static_cast<std::size_t>(batch->number)];
    const SliceContext context = context_of(piece);
    const torch::Tensor input = with_context(network_intensity(batch->hu), context, channels);
    const auto drawn = [&](const torch::Tensor& slices) {  // the middle channels
      const torch::Tensor which =
          torch::tensor(context.channel).view({-1, channels}).select(1, channels / 2).contiguous();
      return slices.index_select(0, send(which, slices.device())).to(torch::kCPU);
    };
    const torch::Tensor probability =
        predicted_probability(net, input, ratio, precision).squeeze(1);
    take({piece.volume, piece.first, drawn(batch->hu), drawn(batch->masks),
          probability.to(torch::kCPU).contiguous()});
  }
}

}  // namespace wsp::train
