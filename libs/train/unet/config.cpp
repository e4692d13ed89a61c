#include "train/unet/config.hpp"

#include <nlohmann/json.hpp>
#include <string_view>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "train/run/config_fields.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// One list of the fields: writing, reading and comparing cannot drift apart.
template <class Config, class Visit>
void each_field(Config& c, Visit&& visit) {
  visit("neighbours", c.neighbours);
  visit("context_mm", c.context_mm);
  visit("width", c.width);
  visit("depth", c.depth);
  visit("norm", c.norm);
  visit("image_size", c.image_size);
  visit("stored_size", c.stored_size);
  visit("splits", c.splits);
  visit("exclude", c.exclude);
  visit("hold_back", c.hold_back);
  visit("batch", c.batch);
  visit("samples_per_epoch", c.samples_per_epoch);
  visit("epochs", c.epochs);
  visit("max_steps", c.max_steps);
  visit("liver_share", c.liver_share);
  visit("seed", c.seed);
  visit("augment_probability", c.augment_probability);
  visit("max_angle_deg", c.max_angle_deg);
  visit("max_shift", c.max_shift);
  visit("min_crop_area", c.min_crop_area);
  visit("cut_context", c.cut_context);
  visit("flip_x", c.flip_x);
  visit("flip_y", c.flip_y);
  visit("elastic", c.elastic);
  visit("elastic_grid", c.elastic_grid);
  visit("gain", c.gain);
  visit("offset", c.offset);
  visit("gamma", c.gamma);
  visit("noise", c.noise);
  visit("learning_rate", c.learning_rate);
  visit("weight_decay", c.weight_decay);
  visit("schedule", c.schedule);
  visit("warmup_epochs", c.warmup_epochs);
  visit("clip_norm", c.clip_norm);
  visit("dice_weight", c.dice_weight);
  visit("precision", c.precision);
  visit("channels_last", c.channels_last);
  visit("dataset_sha256", c.dataset_sha256);
  visit("init_sha256", c.init_sha256);
}

// Absent from configurations of earlier releases, which computed what the default does.
bool added_later(std::string_view field) {
  return field == "channels_last" || field == "context_mm" || field == "cut_context" ||
         field == "exclude" || field == "init_sha256";
}

// --exclude is a file of ratings; the cases that it names stand here.
const FieldNames kNames = {{"learning_rate", "--lr"},
                           {"max_angle_deg", "--max-angle"},
                           {"splits", "--split"},
                           {"exclude", "--exclude FILE"},
                           {"exclude", "the cases of --exclude FILE"},
                           {"init_sha256", "--init FILE"},
                           {"dataset_sha256", "the dataset"},
                           {"stored_size", "the dataset"}};

void check_network(const UNetConfig& c) {
  one_of("norm", c.norm, {"batch", "group"});
  need(c.neighbours >= 0 && c.neighbours <= 16, "neighbours", c.neighbours, "0 to 16");
  double before = 0;
  for (const double mm : c.context_mm) {
    need(mm > before && mm <= 200, "context-mm", mm, "ascending distances above 0, up to 200");
    before = mm;
  }
  if (!c.context_mm.empty())
    need(c.neighbours == std::ssize(c.context_mm), "neighbours", c.neighbours,
         "as many as --context-mm has distances");
  need(c.width >= 8 && c.width <= 512 && c.width % 8 == 0, "width", c.width,
       "a multiple of 8, up to 512");
  need(c.depth >= 1 && c.depth <= 7, "depth", c.depth, "1 to 7");
  need(c.image_size >= 16 && c.image_size % (std::int64_t{1} << c.depth) == 0, "image-size",
       c.image_size, "16 or more, a multiple of 2^depth");
  if (c.stored_size % c.image_size != 0)
    throw Error(ErrorCode::usage,
                "--image-size is " + std::to_string(c.image_size) + ": expected a divisor of " +
                    std::to_string(c.stored_size) +
                    ", the size of the dataset's slices, such as its half: the exported model "
                    "averages whole pixels");
}

void check_augmentation(const UNetConfig& c) {
  need(c.cut_context >= 0 && c.cut_context <= 1, "cut-context", c.cut_context, "0 to 1");
  need(c.elastic >= 0 && c.elastic <= 0.2, "elastic", c.elastic, "0 to 0.2");
  need(c.elastic_grid >= 2 && c.elastic_grid <= 64, "elastic-grid", c.elastic_grid, "2 to 64");
  need(c.gain >= 0 && c.gain < 1, "gain", c.gain, "0 to below 1");
  need(c.offset >= 0 && c.offset < 1, "offset", c.offset, "0 to below 1");
  need(c.gamma >= 0 && c.gamma <= 2, "gamma", c.gamma, "0 to 2");
  need(c.noise >= 0 && c.noise < 1, "noise", c.noise, "0 to below 1");
}

}  // namespace

void check_config(const UNetConfig& c) {
  check_network(c);
  check_lengths_and_rates(c);
  need(c.batch >= 1, "batch", c.batch, "1 or more");
  need(c.liver_share >= 0 && c.liver_share <= 1, "liver-share", c.liver_share, "0 to 1");
  check_augmentation(c);
  one_of("schedule", c.schedule, {"poly", "cosine"});
  one_of("precision", c.precision, {"auto", "fp32", "tf32", "bf16"});
  one_of("channels-last", c.channels_last, {"auto", "on", "off"});
  need(c.dice_weight >= 0, "dice-weight", c.dice_weight, "0 or more");
}

json to_json(const UNetConfig& config) {
  json value = {{"format", "wsp-unet-config"}, {"version", 1}};
  each_field(config, [&](const char* name, const auto& field) { value[name] = field; });
  return value;
}

UNetConfig unet_config_from_json(const json& value) {
  std::string text;
  for (const std::string& line : schema_violations("unet_config.schema.json", value))
    text += "\n  " + line;
  if (!text.empty())
    throw Error(ErrorCode::corrupt,
                "the U-Net's configuration does not follow its schema "
                "(schemas/unet_config.schema.json):" +
                    text);
  UNetConfig config;
  each_field(config, [&](const char* name, auto& field) {
    if (value.contains(name) || !added_later(name)) value.at(name).get_to(field);
  });
  return config;
}

std::vector<std::string> differences(const UNetConfig& was, const UNetConfig& is) {
  return field_differences(to_json(was), to_json(is), kNames);
}

std::optional<json> recorded_unet(const json& recorded) {
  if (recorded.value("format", "") != "wsp-unet-config") return std::nullopt;
  json config = to_json(unet_config_from_json(recorded));
  if (!config["context_mm"].empty()) config.erase("neighbours");  // as many
  return std::make_optional(recorded_options(config, kNames));
}

}  // namespace wsp::train
