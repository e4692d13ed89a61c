#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/manifest/manifest.hpp"
#include "train/run/device.hpp"
#include "train/unet/network.hpp"
#include "train/unet/unet.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// All of it but "sha256".
json descriptor_of(const UNetExport& what, const UNetConfig& config, const std::string& file) {
  json input = described_input(config);
  input["size"] = {config.stored_size, config.stored_size};
  json descriptor = {
      {"format", "wsp-segmentation-model"},
      {"version", 1},
      {"name", what.name},
      {"model_version", what.model_version},
      {"file", file},
      {"input", input},
      {"output",
       {{"activation", what.with.empty() ? "sigmoid" : "none"},  // a mean is of probabilities
        {"liver_channels", {0}},
        {"threshold", 0.5}}}};
  if (what.refine) descriptor["output"]["refine"] = true;
  if (config.precision == "bf16") descriptor["precision"] = config.precision;  // as it was trained
  if (!what.comment.empty()) descriptor["comment"] = what.comment;
  return descriptor;
}

// The TorchScript of a network that stands in a mean beside one with this input.
std::string network_beside(const fs::path& file, const json& input) {
  const ExportedUNet model = read_exported_unet("--with", file);
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::usage, "--with " + file.string() + ": " + why);
  };
  if (const json& other = model.descriptor.at("input"); other != input)
    refuse("it takes " + json_text(other) + ", the network of RUN " + json_text(input));
  const json& output = model.descriptor.at("output");
  if (output.value("activation", "") != "sigmoid" ||
      output.value("liver_channels", json()) != json::array({0}))
    refuse("expected one network that wsp-unet export wrote, with a sigmoid and one channel");
  return model.bytes;
}

void check(const UNetExport& what, const fs::path& script) {
  if (what.descriptor.extension() != ".json")
    throw Error(ErrorCode::usage,
                "--model is '" + what.descriptor.string() +
                    "': expected DIR/NAME.json, beside which the network is written");
  if (what.onnx && !what.with.empty())
    throw Error(ErrorCode::usage, "--with makes a mean of TorchScript networks: leave out --onnx");
  for (const fs::path& path : {what.descriptor, script})
    if (fs::exists(path) && !what.force)
      throw Error(ErrorCode::output,
                  path.string() + " exists: give another --model, or replace it with --force");
}

}  // namespace

json described_input(const UNetConfig& config) {
  json input = {{"dimensions", config.neighbours > 0 ? "2.5d" : "2d"},
                {"orientation", "SPL"},
                {"window_hu", {-100, 400}},
                {"scale", {0, 1}}};
  if (!config.context_mm.empty())
    input["context_mm"] = config.context_mm;
  else if (config.neighbours > 0)
    input["neighbours"] = config.neighbours;
  return input;
}

json export_unet(const UNetExport& what) {
  const fs::path script = fs::path(what.descriptor).replace_extension(what.onnx ? ".onnx" : ".ts");
  check(what, script);
  try {
    const TrainedUNet trained = load_trained_unet(what.source);
    const std::int64_t ratio = trained.config.stored_size / trained.config.image_size;
    json descriptor = descriptor_of(what, trained.config, script.filename().string());
    std::vector<std::string> networks = {
        (what.onnx ? unet_onnx : unet_torchscript)(*trained.net, ratio, what.half)};
    for (const fs::path& file : what.with)
      networks.push_back(network_beside(file, descriptor.at("input")));
    const std::string bytes = networks.size() > 1 ? mean_torchscript(networks) : networks.front();
    descriptor["sha256"] = hex(sha256(bytes));
    std::string text;
    for (const std::string& line : schema_violations("segmentation_model.schema.json", descriptor))
      text += "\n  " + line;
    if (!text.empty())
      throw Error(ErrorCode::usage,
                  "the descriptor would not follow its schema "
                  "(schemas/segmentation_model.schema.json):" +
                      text);
    std::error_code code;
    if (what.descriptor.has_parent_path())
      fs::create_directories(what.descriptor.parent_path(), code);
    if (code)
      throw Error(ErrorCode::output,
                  "cannot make " + what.descriptor.parent_path().string() + ": " + code.message());
    write_file_atomic(script, bytes);
    write_file_atomic(what.descriptor, json_text(descriptor, 2) + "\n");
    return descriptor;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

}  // namespace wsp::train
