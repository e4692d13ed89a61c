#include "training_options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace wsp {

void declare_running(CLI::App& group, train::RunOptions& run) {
  group.add_option("--device", run.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  group
      .add_option("--checkpoint-every", run.checkpoint_every, "Steps; 0: at the end of each epoch")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  group.add_option("--keep", run.keep, "Newest checkpoints kept, beside the best")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  group.add_option("--log-every", run.log_every, "Steps between two lines of metrics.jsonl")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void declare_reading(CLI::App& group, train::RunOptions& run,
                     const std::vector<std::string>& caches) {
  group.add_flag("--verify", run.verify, "Check every hash of the dataset first");
  group
      .add_option("--workers", run.workers,
                  "Decoding threads; 0: one on the CPU, all cores on CUDA")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  group.add_option("--ring", run.ring, "Batches read ahead")
      ->check(CLI::Range(2, 1024))
      ->capture_default_str();
  group
      .add_option("--cache", run.cache,
                  fmt::format("{}: keep decoded slices", fmt::join(caches, " or ")))
      ->check(CLI::IsMember(caches))
      ->capture_default_str();
  group
      .add_option("--cache-limit", run.cache_limit_bytes,
                  "Most bytes of the cache, e.g. 8GiB (default: half of what is free)")
      ->transform(CLI::AsSizeValue(false));
}

void declare_exclude(CLI::App& group, std::filesystem::path& ratings) {
  group.add_option("--exclude", ratings,
                   "Ratings saved from the page of wsp-qa (TSV): cases rated exclude are left out");
}

void declare_patience(CLI::App& group, train::RunOptions& run, const std::string& what) {
  group.add_option("--patience", run.patience, "Stop after this many " + what + "; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void print_loss(double first, double last, std::int64_t steps) {
  fmt::print("loss        {:.4f} in the first epoch, {:.4f} in the last ({} steps)\n", first, last,
             steps);
}

void print_speed(double slices_per_s, double wait_share) {
  if (slices_per_s > 0)
    fmt::print("speed       {:.1f} slices/s, {:.1f} % of the time waiting for data\n", slices_per_s,
               100 * wait_share);
}

}  // namespace wsp
