#include "train/pretrain/config.hpp"

#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "train/model/catalogue.hpp"
#include "train/run/config_fields.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// One list of the fields: writing, reading and comparing cannot drift apart.
template <class Config, class Visit>
void each_field(Config& c, Visit&& visit) {
  visit("method", c.method);
  visit("encoder", c.encoder);
  visit("norm", c.norm);
  visit("label", c.label);
  visit("kernel_columns", c.kernel_columns);
  visit("continuous", c.continuous);
  visit("depth_scale", c.depth_scale);
  visit("include_flagged", c.include_flagged);
  visit("include_unlabelled", c.include_unlabelled);
  visit("splits", c.splits);
  visit("subjects", c.subjects);
  visit("exclude", c.exclude);
  visit("positive", c.positive);
  visit("hold_back", c.hold_back);
  visit("image_size", c.image_size);
  visit("skip_corrupt", c.skip_corrupt);
  visit("batch", c.batch);
  visit("samples_per_epoch", c.samples_per_epoch);
  visit("epochs", c.epochs);
  visit("max_steps", c.max_steps);
  visit("seed", c.seed);
  visit("augment_probability", c.augment_probability);
  visit("max_angle_deg", c.max_angle_deg);
  visit("max_shift", c.max_shift);
  visit("min_crop_area", c.min_crop_area);
  visit("max_crop_area", c.max_crop_area);
  visit("flip_x", c.flip_x);
  visit("flip_y", c.flip_y);
  visit("temperature", c.temperature);
  visit("sigma", c.sigma);
  visit("kernel", c.kernel);
  visit("normalisation", c.normalisation);
  visit("momentum", c.momentum);
  visit("barlow_lambda", c.barlow_lambda);
  visit("loss_tile", c.loss_tile);
  visit("optimizer", c.optimizer);
  visit("learning_rate", c.learning_rate);
  visit("weight_decay", c.weight_decay);
  visit("warmup_epochs", c.warmup_epochs);
  visit("clip_norm", c.clip_norm);
  visit("accumulate", c.accumulate);
  visit("micro_batch", c.micro_batch);
  visit("precision", c.precision);
  visit("channels_last", c.channels_last);
  visit("deterministic", c.deterministic);
  visit("cuda_kernels", c.cuda_kernels);
  visit("init_sha256", c.init_sha256);
  visit("dataset_sha256", c.dataset_sha256);
  visit("ranks", c.ranks);
}

// Absent from configurations of earlier releases, which computed what the defaults do.
bool added_later(std::string_view field) {
  return field == "channels_last" || field == "deterministic" || field == "cuda_kernels" ||
         field == "continuous" || field == "exclude";
}

// --exclude is a file of ratings, the field the cases that it names.
const FieldNames kNames = {{"learning_rate", "--lr"},
                           {"depth_scale", "--depth"},
                           {"max_angle_deg", "--max-angle"},
                           {"kernel_columns", "--kernel-column"},
                           {"splits", "--split"},
                           {"flip_x", "--no-flips"},
                           {"flip_y", "--no-flips"},
                           {"exclude", "--exclude FILE"},
                           {"subjects", "the subjects taken"},
                           {"positive", "the positive classes"},
                           {"init_sha256", "--init FILE"},
                           {"dataset_sha256", "the dataset"},
                           {"ranks", "the number of ranks"}};

}  // namespace

bool is_continuous(const std::string& method) {
  const auto facts = method_facts(method);
  return facts && facts->use_number;
}

TrainConfig preset(std::string_view name, const std::string& method) {
  TrainConfig config;
  if (method == "rnc") config.temperature = 2;  // distances are longer than cosines
  if (name == "published") {
    config.learning_rate = config.weight_decay = 1e-5;
    config.sigma = 0.85;
    config.normalisation = "reference";
  } else if (name != "paper") {
    throw Error(ErrorCode::usage,
                "--preset is '" + std::string(name) + "': expected paper or published");
  }
  return config;
}

namespace {

// Which methods learn from a number, and which of them weigh it by a width.
void check_continuous(const TrainConfig& c) {
  const bool wide = c.method != "rnc", width = c.continuous.find(':') != std::string::npos;
  const char* form = wide ? "NAME:SIGMA, a continuous label and the width of its Gaussian in the "
                            "label's unit, as in age:5"
                          : "NAME, a continuous label, as in age";
  const std::string of = "--continuous is " +
                         (c.continuous.empty() ? "missing" : "'" + c.continuous + "'") +
                         ": --method " + c.method;
  if (!is_continuous(c.method) && !c.continuous.empty())
    throw Error(ErrorCode::usage,
                of + " does not learn from it; choose yaware, lexp or rnc, or leave it out");
  if (is_continuous(c.method) && (c.continuous.empty() || wide != width))
    throw Error(ErrorCode::usage, of + " expects " + form +
                                      (width ? "; it compares ranks, which have no width" : ""));
}

}  // namespace

void check_config(const TrainConfig& c) {
  check_continuous(c);
  check_lengths_and_rates(c);
  one_of("norm", c.norm, {"batch", "group"});
  one_of("depth", c.depth_scale, {"kept", "liver", "volume"});
  one_of("kernel", c.kernel, {"rbf", "laplacian"});
  one_of("normalisation", c.normalisation, {"paper", "reference"});
  one_of("optimizer", c.optimizer, {"adam", "adamw", "lars", "sgd"});
  one_of("precision", c.precision, {"auto", "fp32", "tf32", "bf16", "fp16"});
  one_of("channels-last", c.channels_last, {"auto", "on", "off"});
  one_of("cuda-kernels", c.cuda_kernels, {"off", "on"});
  need(c.image_size >= 16 && c.image_size <= 4096, "image-size", c.image_size, "16 to 4096");
  need(c.batch >= 2, "batch", c.batch, "2 or more: a contrast needs another slice");
  need(c.max_crop_area >= c.min_crop_area && c.max_crop_area <= 1, "max-crop-area", c.max_crop_area,
       "--min-crop-area to 1");
  need(c.temperature > 0, "temperature", c.temperature, "above 0");
  need(c.sigma > 0, "sigma", c.sigma, "above 0");
  need(c.momentum >= 0 && c.momentum <= 1, "momentum", c.momentum, "0 to 1");
  need(c.barlow_lambda >= 0, "barlow-lambda", c.barlow_lambda, "0 or more");
  need(c.loss_tile >= 0, "loss-tile", c.loss_tile, "0 (none) or more");
  need(c.accumulate >= 1, "accumulate", c.accumulate, "1 or more");
  need(c.micro_batch >= 0 && c.micro_batch <= c.batch, "micro-batch", c.micro_batch,
       "0 (the whole batch) to --batch");
  if (c.batch % c.ranks != 0)
    refuse_value("batch", std::to_string(c.batch),
                 "a multiple of the number of ranks, which is " + std::to_string(c.ranks));
}

json to_json(const TrainConfig& config) {
  json value = {{"format", "wsp-train-config"}, {"version", 1}};
  each_field(config, [&](const char* name, const auto& field) { value[name] = field; });
  return value;
}

TrainConfig config_from_json(const json& value) {
  TrainConfig config;
  try {
    if (value.at("format") != "wsp-train-config" || value.at("version") != 1)
      throw Error(ErrorCode::corrupt, "the training configuration is of another format or version");
    each_field(config, [&](const char* name, auto& field) {
      if (value.contains(name) || !added_later(name)) value.at(name).get_to(field);
    });
  } catch (const json::exception& e) {
    throw Error(ErrorCode::corrupt,
                std::string("the training configuration cannot be read: ") + e.what());
  }
  return config;
}

std::vector<std::string> differences(const TrainConfig& was, const TrainConfig& is) {
  return field_differences(to_json(was), to_json(is), kNames);
}

std::optional<json> recorded_training(const json& recorded) {
  if (recorded.value("format", "") != "wsp-train-config") return std::nullopt;
  return std::make_optional(recorded_options(to_json(config_from_json(recorded)), kNames));
}

}  // namespace wsp::train
