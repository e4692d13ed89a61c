#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

/// The parts of a step and of a segmentation that gpu_bench measures; no Torch stands here.
namespace wsp::bench {

struct Options {
  std::string device = "auto", precision = "bf16";
  std::int64_t batch = 64, size = 512, rows = 16384, dim = 128, tile = 2048, slices = 96,
               width = 32, channels = 16;
  int turns = 5, calls = 10, depth = 4;
  bool plain = false;
};

/// Liver masks of volumes on the host by the ingest's own segmenter, two at a time as the ingest has
/// them, beside the bare network on as many slices that lie on the device.
nlohmann::json unet_inference(const Options& options);

}  // namespace wsp::bench
