#pragma once
#include <chrono>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/core/progress.hpp"
#include "train/engine/batches.hpp"
#include "train/engine/checkpoint.hpp"
#include "train/engine/device.hpp"
#include "train/engine/gradient_sum.hpp"
#include "train/engine/on_its_way.hpp"
#include "train/engine/probe_pass.hpp"
#include "train/engine/run_directory.hpp"
#include "train/engine/run_log.hpp"
#include "train/engine/run_state.hpp"
#include "train/engine/setup.hpp"
#include "train/engine/step_graph.hpp"
#include "train/engine/telemetry.hpp"
#include "train/engine/train.hpp"

namespace wsp::train {

/// One run of wsp-train, from its directory to its last checkpoint. What it does in which file:
/// trainer.cpp begins, resumes and loops; trainer_step.cpp makes one batch and one optimizer step;
/// trainer_epoch.cpp probes, saves and ends.
class Trainer {
 public:
  Trainer(TrainConfig config, const RunOptions& options);

  TrainSummary run();

 private:
  void start();
  void begin_or_go_on();
  void judge_directory() const;
  void clear_earlier_run();
  void compare_ranks();
  void share_state();
  void load_checkpoint();
  void train_loop();
  bool one_batch(DeviceBatch& batch);
  /// `sums`: an optimizer's step comes with the batch, whose gradients the ranks add up.
  [[nodiscard]] StepOptions step_options(bool sums) {
    StepOptions o{config_.micro_batch, config_.precision,
                  1.0 / static_cast<double>(config_.accumulate)};
    if (sums && ranks_.ranks() > 1) o.before_last_backward = [this] { gradient_sum_.arm(); };
    return o;
  }
  std::vector<std::uint32_t> all_rows(const DeviceBatch& batch);
  void finish_gradients();
  double next_learning_rate();
  double apply_gradients();
  torch::Tensor apply_gradients_unless_not_finite(const torch::Tensor& loss);
  struct Step;
  void settle(std::size_t left_open);
  void settle_step(Step& step);
  [[noreturn]] void refuse_not_finite(const char* what, std::int64_t batch) const;
  void log_line(const Step& step, const torch::Tensor& embeddings);
  /// The epoch, from 1, of the last batch done.
  std::int64_t epoch() const {
    return (position_.batches + steps_per_epoch_ - 1) / steps_per_epoch_;
  }
  void end_of_epoch();
  void judge_epoch();
  void keep_epoch(bool probed, bool best);
  [[noreturn]] void leave_interrupted();
  void count_corrupt();
  void probe();
  void collect_gradients();
  void save_together();
  void save(bool best);
  void export_weights(const char* name);
  std::string fitting_micro_batch(const DeviceBatch& batch);
  bool stop_requested();

  RunOptions options_;
  RankEnvironment environment_;
  torch::Device device_;
  TrainSetup setup_;
  const TrainConfig& config_;
  Ranks ranks_;
  FlatParameters parameters_;
  GradientSum gradient_sum_;
  Optimizer optimizer_;
  GradScaler scaler_;
  bool reads_late_;
  CheckpointStore store_;
  TargetTable targets_;
  CollapseAlarm alarm_;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<ProbePass> probe_;
  std::unique_ptr<DeviceBatches> batches_;
  std::optional<DeviceBatch> batch_;  ///< in work
  std::optional<StepGraph> graph_;    ///< with --cuda-graph on
  /// A batch that was given to the device, and what the run will say of it once its numbers are
  /// there.
  struct Step {
    std::int64_t batch = 0;
    bool updates = false;      ///< an optimizer step came with it
    double learning_rate = 0;  ///< of that or the one before
    /// float64 [2]: loss, norm of the gradient; with several ranks whose numbers are read late [3],
    /// and the largest signal that any of them has.
    OnItsWay numbers;
    std::int64_t joined = 0;  ///< collectives that the numbers follow from
    OnItsWay embeddings;      ///< where a line is due
    std::vector<std::uint32_t> rows;
    bool line_due = false;
  };
  std::deque<Step> open_steps_;
  std::unique_ptr<Progress> progress_;
  Position position_;
  std::vector<torch::Tensor>
      rank_gradients_;  ///< on rank 0: flat, of ranks 1, 2, ..., that no step has used yet
  std::int64_t steps_per_epoch_ = 0, total_batches_ = 0, resumed_at_ = 0;
  std::int64_t corrupt_counted_ = 0;
  std::int64_t line_steps_ = 0;  ///< of this process since the last line
  int signal_ = 0;               ///< that all ranks know of
  nlohmann::json run_facts_;
  bool stop_early_ = false;
  std::chrono::steady_clock::time_point started_, line_started_;
  double line_waited_ = 0;
};

constexpr const char* kBestWeights = "encoder-best.safetensors";

/// Seconds from then to now.
inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace wsp::train
