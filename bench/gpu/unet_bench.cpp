#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <random>

#include "card.hpp"
#include "io/core/atomic_file.hpp"
#include "io/core/hash.hpp"
#include "parts.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "scratch.hpp"
#include "timer.hpp"
#include "train/model/unet.hpp"
#include "train/run/device.hpp"

namespace wsp::bench {
namespace {

namespace fs = std::filesystem;
using namespace wsp::train;

// The network as `wsp-unet export` writes it, whose slices are as large as the volume's.
fs::path write_model(const fs::path& folder, UNet& net, std::int64_t size) {
  const std::string bytes = unet_torchscript(net, 1);
  write_file_atomic(folder / "net.ts", bytes);
  const std::int64_t neighbours = net.options().neighbours;
  nlohmann::json input = {{"dimensions", neighbours > 0 ? "2.5d" : "2d"},
                          {"orientation", "SPL"},
                          {"size", {size, size}},
                          {"window_hu", {-100, 400}}};
  if (neighbours > 0) input["neighbours"] = neighbours;
  const nlohmann::json descriptor = {
      {"format", "wsp-segmentation-model"},
      {"version", 1},
      {"name", "bench"},
      {"model_version", "1"},
      {"file", "net.ts"},
      {"sha256", hex(sha256(bytes))},
      {"input", input},
      {"output", {{"activation", "sigmoid"}, {"liver_channels", {0}}}}};
  write_file_atomic(folder / "net.json", descriptor.dump());
  return folder / "net.json";
}

Volume volume_of(std::int64_t size, std::int64_t slices) {
  Volume volume;
  volume.geometry.size = {size, size, slices};
  volume.geometry.spacing_mm = {0.8, 0.8, 2.5};
  std::mt19937 random(1);
  std::uniform_int_distribution<int> hu(-100, 400);
  volume.hu.resize(static_cast<std::size_t>(volume.geometry.voxels()));
  for (std::int16_t& value : volume.hu) value = static_cast<std::int16_t>(hu(random));
  for (std::int64_t z = 0; z < slices; ++z) {
    volume.z_mm.push_back(2.5 * static_cast<double>(z));
    volume.source_index.push_back(static_cast<std::int32_t>(z));
  }
  return volume;
}

}  // namespace

nlohmann::json unet_inference(const Options& o) {
  const torch::NoGradGuard no_grad;
  const std::string precision = o.device == "cpu" ? "fp32" : o.precision;
  UNetOptions options;
  options.width = o.width;
  options.depth = o.depth;
  auto net = std::make_shared<UNet>(options);
  net->eval();
  const Scratch scratch;
  // First of all: it looks at the model in a forked process, which can use a card only where this
  // one has not yet.
  const auto segmenter =
      make_segmenter(write_model(scratch.path(), *net, o.size), o.device, {0}, precision);
  const torch::Device device = choose_device(o.device, 0);
  const int card = device.is_cuda() ? device.index() : kNoCard;
  const Volume volume = volume_of(o.size, o.slices);
  net->to(device);
  const bool channels_last = use_channels_last("auto", device, precision);
  const auto format =
      channels_last ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
  if (channels_last) make_channels_last(*net);
  const std::int64_t at_once = std::min<std::int64_t>(16, o.slices);
  const torch::Tensor input =
      torch::rand({at_once, options.channels(), o.size, o.size}, torch::TensorOptions(device))
          .contiguous(format);
  const int calls = std::max(1, o.calls / 5);
  const auto segment = [&] {
    if (!segmenter->segment(volume)) throw std::runtime_error("the segmenter rejected the volume");
  };
  std::vector<double> ours, bare;
  for (int turn = 0; turn < o.turns; ++turn) {
    ours.push_back(milliseconds([&] { wait_for_card(card); }, calls,
                                [&] {  // two at a time, as the ingest has them
                                  auto other = std::async(std::launch::async, segment);
                                  segment();
                                  other.get();
                                }));
    bare.push_back(milliseconds([&] { wait_for_card(card); }, calls,
                                [&] {
                                  const Autocast autocast(device, precision);
                                  for (int volumes = 0; volumes < 2; ++volumes)
                                    for (std::int64_t at = 0; at < o.slices; at += at_once)
                                      (void)net->forward(
                                          input.narrow(0, 0, std::min(at_once, o.slices - at)));
                                }));
  }
  return {
      {"by", "segmenter, " + precision}, {"ours_ms", median(ours)}, {"theirs_ms", median(bare)}};
}

}  // namespace wsp::bench
