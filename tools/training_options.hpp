#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "train/pretrain/config.hpp"

/// Options that every training has, of wsp-train and of wsp-unet train.
namespace wsp {

/// --device, --checkpoint-every, --keep, --log-every.
void declare_running(CLI::App& group, train::RunOptions& run);
/// --verify, --workers, --ring, --cache, --cache-limit. caches: what --cache may be.
void declare_reading(CLI::App& group, train::RunOptions& run,
                     const std::vector<std::string>& caches);
/// --exclude, of every command that takes cases.
void declare_exclude(CLI::App& group, std::filesystem::path& ratings);
/// --patience; what: "epochs without a better probe".
void declare_patience(CLI::App& group, train::RunOptions& run, const std::string& what);

/// --split, repeatable.
template <class Config>
void declare_splits(CLI::App& group, Config& config) {
  group.add_option("--split", config.splits, "Take only cases of this split; repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

/// --samples-per-epoch, --epochs, --max-steps.
template <class Config>
void declare_length(CLI::App& group, Config& config) {
  group.add_option("--samples-per-epoch", config.samples_per_epoch, "Draws that make an epoch")
      ->capture_default_str();
  group.add_option("--epochs", config.epochs, "Epochs")->capture_default_str();
  group.add_option("--max-steps", config.max_steps, "Stop after this many batches; 0: never")
      ->capture_default_str();
}

/// --augment-probability, --max-angle, --max-shift, --min-crop-area.
template <class Config>
void declare_affine(CLI::App& group, Config& config) {
  group.add_option("--augment-probability", config.augment_probability, "Of each augmentation")
      ->capture_default_str();
  group.add_option("--max-angle", config.max_angle_deg, "Largest rotation, degrees")
      ->capture_default_str();
  group.add_option("--max-shift", config.max_shift, "Largest translation, part of the image")
      ->capture_default_str();
  group.add_option("--min-crop-area", config.min_crop_area, "Smallest crop, part of the area")
      ->capture_default_str();
}

/// --weight-decay, --warmup-epochs, --clip-norm.
template <class Config>
void declare_steps(CLI::App& group, Config& config) {
  group.add_option("--weight-decay", config.weight_decay, "Weight decay")->capture_default_str();
  group.add_option("--warmup-epochs", config.warmup_epochs, "Linear warm-up")
      ->capture_default_str();
  group.add_option("--clip-norm", config.clip_norm, "Largest norm of the gradient; 0: no limit")
      ->capture_default_str();
}

/// "loss ... speed ...", the lines for people; nothing of a speed that is 0.
void print_loss(double first, double last, std::int64_t steps);
void print_speed(double slices_per_s, double wait_share);

}  // namespace wsp
