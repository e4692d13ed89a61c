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

json descriptor_of(const UNetExport& what, const UNetConfig& config, const std::string& file,
                   const std::string& sha256) {
  json input = described_input(config);
  input["size"] = {config.stored_size, config.stored_size};
  json descriptor = {
      {"format", "wsp-segmentation-model"},
      {"version", 1},
      {"name", what.name},
      {"model_version", what.model_version},
      {"file", file},
      {"sha256", sha256},
      {"input", input},
      {"output", {{"activation", "sigmoid"}, {"liver_channels", {0}}, {"threshold", 0.5}}}};
  if (what.refine) descriptor["output"]["refine"] = true;
  if (config.precision == "bf16") descriptor["precision"] = config.precision;  // as it was trained
  if (!what.comment.empty()) descriptor["comment"] = what.comment;
  return descriptor;
}

void check(const UNetExport& what, const fs::path& script) {
  if (what.descriptor.extension() != ".json")
    throw Error(ErrorCode::usage, "--model is '" + what.descriptor.string() +
                                      "': expected DIR/NAME.json, beside which NAME.ts is written");
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
  const fs::path script = fs::path(what.descriptor).replace_extension(".ts");
  check(what, script);
  try {
    const TrainedUNet trained = load_trained_unet(what.source);
    const std::int64_t ratio = trained.config.stored_size / trained.config.image_size;
    const std::string bytes = unet_torchscript(*trained.net, ratio, what.half);
    const json descriptor =
        descriptor_of(what, trained.config, script.filename().string(), hex(sha256(bytes)));
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
