#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

/// The parts of a step and of a segmentation that gpu_bench measures; no Torch stands here.
namespace wsp::bench {

struct Options {
  std::string device = "auto", precision = "bf16", encoder = "resnet18", method = "wsp";
  std::filesystem::path dataset;
  std::int64_t batch = 64, size = 512, rows = 16384, dim = 128, tile = 2048, slices = 96,
               width = 32, channels = 16;
  int turns = 5, calls = 10, depth = 4;
  bool plain = false, cuda_kernels = false;
};

/// Every stage of a training step that roofline.py lists, by itself and through the trainer's own
/// code: views, the encoder's stages forward and backward, loss, optimizer, and the step as a
/// whole.
nlohmann::json layers(const Options& options);

/// embed_dataset() of a dataset of slices in the page cache, from opening it to the last feature on
/// the host, beside the bare encoder on batches as many that lie on the device.
nlohmann::json embedding(const Options& options);

/// Liver masks of volumes on the host by the ingest's own segmenter, two at a time as the ingest
/// has them, beside the bare network on as many slices that lie on the device.
nlohmann::json unet_inference(const Options& options);

}  // namespace wsp::bench
