#pragma once
#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

/// What configurations of trainings share: ranges, names on the command line, differences. No Torch
/// stands here, so that tools need none.
namespace wsp::train {

/// How a field of a recorded configuration is asked for, where that is not "--" and its name with
/// dashes: another option, "--no-NAME" for one that turns it off, or words for what no option
/// gives.
using FieldNames = std::map<std::string, std::string>;

/// Throws Error(usage) "--option is FOUND: expected EXPECTED" unless `good` and finite.
void need(bool good, const char* option, double found, const char* expected);
void need(bool good, const char* option, std::int64_t found, const char* expected);
/// Throws Error(usage) unless `found` is one of `known`.
void one_of(const char* option, const std::string& found, std::initializer_list<const char*> known);
[[noreturn]] void refuse_value(const std::string& option, const std::string& found,
                               const std::string& expected);

/// What every training asks of its batches, epochs, views and learning rate. Throws Error(usage).
template <class Config>
void check_lengths_and_rates(const Config& c) {
  need(c.hold_back >= 0 && c.hold_back < 1, "hold-back", c.hold_back, "a part from 0 to below 1");
  need(c.samples_per_epoch >= c.batch, "samples-per-epoch", c.samples_per_epoch,
       "at least one --batch");
  need(c.epochs >= 1, "epochs", c.epochs, "1 or more");
  need(c.max_steps >= 0, "max-steps", c.max_steps, "0 (no limit) or more");
  need(c.augment_probability >= 0 && c.augment_probability <= 1, "augment-probability",
       c.augment_probability, "0 to 1");
  need(c.max_angle_deg >= 0 && c.max_angle_deg <= 180, "max-angle", c.max_angle_deg, "0 to 180");
  need(c.max_shift >= 0 && c.max_shift < 1, "max-shift", c.max_shift, "0 to below 1");
  need(c.min_crop_area > 0 && c.min_crop_area <= 1, "min-crop-area", c.min_crop_area,
       "above 0, up to 1");
  need(c.learning_rate > 0, "lr", c.learning_rate, "above 0");
  need(c.weight_decay >= 0, "weight-decay", c.weight_decay, "0 or more");
  need(c.warmup_epochs >= 0, "warmup-epochs", c.warmup_epochs, "0 or more");
  need(c.clip_norm >= 0, "clip-norm", c.clip_norm, "0 (off) or more");
}

/// "--option: was A, is B" for each field in which two recorded configurations differ, as the
/// command line has it.
std::vector<std::string> field_differences(const nlohmann::json& was, const nlohmann::json& is,
                                           const FieldNames& names);
/// The options, by long name without dashes, that give a recorded configuration again; a line of
/// the log names what the command itself gives, such as the dataset. Throws Error(usage) for what
/// no option can give.
nlohmann::json recorded_options(const nlohmann::json& config, const FieldNames& names);

}  // namespace wsp::train
