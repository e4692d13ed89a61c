#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/run/batches.hpp"
#include "train/run/distributed.hpp"
#include "train/run/grad_scaler.hpp"
#include "train/run/optimizer.hpp"
#include "train/run/run_log.hpp"
#include "train/run/run_state.hpp"

namespace wsp::train {

/// What a loop has to know of a task before it begins.
struct TaskFacts {
  std::string weights;    ///< "encoder": RUN/encoder.safetensors, RUN/encoder-best.safetensors
  std::string judgement;  ///< what an epoch is judged by, for messages: "probe"
  std::string every;      ///< the option that says how often: "--probe-every"
  std::string views;      ///< under the pictures of a batch: RunLog::add_views()
  std::int64_t batch = 0, epochs = 0, steps_per_epoch = 0, total_batches = 0;
  std::int64_t accumulate = 1;  ///< batches a step of the optimizer
  double clip_norm = 0, warmup_epochs = 0;
  OptimizerOptions optimizer;
  bool fp16 = false;
};

/// What a task is given with a batch.
struct BatchContext {
  bool show = false;  ///< with pictures
  const GradScaler& scaler;
  Ranks& ranks;
  /// StepOptions::before_last_backward.
  std::function<void()> before_last_backward = {};
};

/// What came of one batch, whose gradient was added to the parameters'.
struct BatchGradient {
  torch::Tensor loss;    ///< scalar, detached, on the device, of the whole batch over all ranks
  torch::Tensor detail;  ///< what Task::line() is made of; undefined where there is no need
  std::vector<std::uint32_t> rows = {};  ///< of the index, of the whole batch
  torch::Tensor hu, views = {};          ///< for the pictures, where they were asked for
};

/// What a run trains: all that Loop does not know. Called by one thread. With several ranks every
/// rank has one; "rank 0" marks what only the first is asked.
class Task {
 public:
  virtual ~Task() = default;
  [[nodiscard]] virtual const TaskFacts& facts() const = 0;
  [[nodiscard]] virtual const torch::Device& device() const = 0;
  /// Its trainable parameters are what the loop steps; all of its state is in checkpoints.
  [[nodiscard]] virtual torch::nn::Module& module() = 0;
  [[nodiscard]] virtual nlohmann::json config() const = 0;
  /// Throws Error(usage) where the run was made with a configuration that computes another thing.
  virtual void refuse_other(const nlohmann::json& was) const = 0;
  /// False where there is nothing to train: the weights are written as they are.
  [[nodiscard]] virtual bool trains() const { return true; }

  /// Rank 0, before anything is written: refuse what can be refused.
  virtual void prepare() = 0;
  /// Why no epoch can be judged, after prepare(); empty: it can.
  [[nodiscard]] virtual std::string unjudged() const = 0;
  /// Rank 0: run.json, and what the user should know of data and network, a line each.
  [[nodiscard]] virtual nlohmann::json run_facts() const = 0;
  [[nodiscard]] virtual std::vector<std::string> notes() const = 0;
  [[nodiscard]] virtual std::vector<std::string> warnings() const = 0;

  [[nodiscard]] virtual std::unique_ptr<DeviceBatches> batches(std::int64_t first) = 0;
  /// A function of (seed, epoch, place in the epoch). What `context` refers to outlives the task's
  /// last batch.
  virtual BatchGradient backward(DeviceBatch& batch, const BatchContext& context) = 0;
  /// Learning rate of a step of the optimizer, from 0.
  [[nodiscard]] virtual double rate(std::int64_t step, std::int64_t steps,
                                    std::int64_t warmup) const = 0;
  /// After each step of the optimizer; progress in (0, 1].
  virtual void after_step(double /*progress*/) {}
  /// "N slices of SxS at once do not fit; ...": what the user can do. Nothing of it is kept.
  [[nodiscard]] virtual std::string does_not_fit(const DeviceBatch& batch,
                                                 const BatchContext& context) = 0;

  /// Rank 0: what a line of the log has beside loss, rate and gradient; detail on the host.
  virtual RunLog::Fields line(const torch::Tensor& /*detail*/,
                              const std::vector<std::uint32_t>& /*rows*/, std::int64_t /*step*/) {
    return {};
  }
  /// Rank 0: behind the progress bar.
  [[nodiscard]] virtual std::string note(double loss, double wait_share,
                                         const Position& position) const = 0;
  /// Rank 0: what an epoch's line of the log has beside its loss.
  [[nodiscard]] virtual RunLog::Fields epoch_line(const Position& /*position*/) const { return {}; }
  /// Whether the untrained network is judged too.
  [[nodiscard]] virtual bool judges_untrained() const { return false; }
  /// Rank 0: write what an epoch is worth into the log; none where it is no number. Throws
  /// Error(interrupted) after a signal.
  virtual std::optional<double> judge(RunLog& log, std::int64_t step) = 0;
  /// "probe 0.412 (best 0.433)".
  [[nodiscard]] virtual std::string score_text(const Position& position) const = 0;
  /// Rank 0. best: they were chosen by their score.
  virtual void save_weights(const std::filesystem::path& path, bool best, std::int64_t step) = 0;
};

}  // namespace wsp::train
