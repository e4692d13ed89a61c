#pragma once
#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/core/progress.hpp"
#include "train/run/batches.hpp"
#include "train/run/checkpoint.hpp"
#include "train/run/device.hpp"
#include "train/run/gradient_sum.hpp"
#include "train/run/on_its_way.hpp"
#include "train/run/options.hpp"
#include "train/run/run_directory.hpp"
#include "train/run/run_log.hpp"
#include "train/run/run_state.hpp"
#include "train/run/run_summary.hpp"
#include "train/run/task.hpp"

namespace wsp::train {

/// What a run came to.
struct LoopResult {
  RunSummary summary;
  Position position;
};

/// One run of whatever is trained, from its directory to its last checkpoint: epochs, signals,
/// early stop, numbers that come late, checkpoints, resuming, ranks. What it does in which file:
/// loop.cpp begins, resumes and loops; loop_step.cpp makes one batch and one optimizer step;
/// loop_epoch.cpp judges, saves and ends.
class Loop {
 public:
  /// task: outlives the loop.
  Loop(Task& task, const RunOptions& options, const RankEnvironment& environment);

  /// Throws Error as train() does (train.hpp).
  LoopResult run();

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
  void finish_gradients();
  double next_learning_rate();
  double apply_gradients();
  torch::Tensor apply_gradients_unless_not_finite(const torch::Tensor& loss);
  struct Step;
  void settle(std::size_t left_open);
  void settle_step(Step& step);
  [[noreturn]] void refuse_not_finite(const char* what, std::int64_t batch) const;
  void log_line(Step& step);
  /// The epoch, from 1, of the last batch done.
  [[nodiscard]] std::int64_t epoch() const {
    return (position_.batches + facts_.steps_per_epoch - 1) / facts_.steps_per_epoch;
  }
  [[nodiscard]] bool is_judged() const {
    return options_.probe_every > 0 && task_.unjudged().empty();
  }
  void end_of_epoch();
  void judge_epoch();
  void keep_epoch(bool judged, bool best);
  void judge();
  [[noreturn]] void leave_interrupted();
  void count_corrupt();
  void collect_gradients();
  void save_together();
  void save(bool best);
  void save_best_weights();
  [[nodiscard]] std::filesystem::path weights() const;
  [[nodiscard]] std::filesystem::path best_weights() const;
  bool stop_requested();

  Task& task_;
  const TaskFacts& facts_;
  RunOptions options_;
  torch::Device device_;
  Ranks ranks_;
  FlatParameters parameters_;
  GradientSum gradient_sum_;
  Optimizer optimizer_;
  GradScaler scaler_;
  bool reads_late_;
  CheckpointStore store_;
  std::vector<std::string> files_;  ///< what a run writes; nothing else in RUN is ever touched
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<DeviceBatches> batches_;
  std::optional<DeviceBatch> batch_;  ///< in work
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
    OnItsWay detail;          ///< where a line is due
    std::vector<std::uint32_t> rows;
    bool line_due = false;
  };
  std::deque<Step> open_steps_;
  std::unique_ptr<Progress> progress_;
  Position position_;
  std::vector<torch::Tensor>
      rank_gradients_;  ///< on rank 0: flat, of ranks 1, 2, ..., that no step has used yet
  std::int64_t resumed_at_ = 0, corrupt_counted_ = 0;
  std::int64_t line_steps_ = 0;  ///< of this process since the last line
  int signal_ = 0;               ///< that all ranks know of
  nlohmann::json run_facts_;
  bool stop_early_ = false;
  std::chrono::steady_clock::time_point started_, line_started_;
  double line_waited_ = 0;
};

/// Make a task and run it to its end. Throws what `make` and Loop::run() do. What lies on a card is
/// leaked where the card was lost.
LoopResult run_task(const std::function<std::unique_ptr<Task>()>& make, const RunOptions& options,
                    const RankEnvironment& environment);

/// Seconds from then to now.
inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace wsp::train
