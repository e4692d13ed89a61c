#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/pretrain/probe_pass.hpp"
#include "train/pretrain/setup.hpp"
#include "train/pretrain/step_graph.hpp"
#include "train/pretrain/telemetry.hpp"
#include "train/run/task.hpp"

namespace wsp::train {

/// Pretraining an encoder: two views of every slice, the method's loss, the online probe.
class Pretraining final : public Task {
 public:
  /// Throws what TrainSetup does.
  Pretraining(TrainConfig config, const RunOptions& options, const RankEnvironment& environment);

  [[nodiscard]] const TaskFacts& facts() const override { return facts_; }
  [[nodiscard]] const torch::Device& device() const override { return device_; }
  [[nodiscard]] torch::nn::Module& module() override { return *setup_.method; }
  [[nodiscard]] nlohmann::json config() const override { return to_json(config_); }
  void refuse_other(const nlohmann::json& was) const override;
  [[nodiscard]] bool trains() const override { return setup_.method->trains(); }
  void prepare() override;
  [[nodiscard]] std::string unjudged() const override;
  [[nodiscard]] nlohmann::json run_facts() const override;
  [[nodiscard]] std::vector<std::string> notes() const override { return setup_.notes(); }
  [[nodiscard]] std::vector<std::string> warnings() const override;
  [[nodiscard]] std::unique_ptr<DeviceBatches> batches(std::int64_t first) override;
  BatchGradient backward(DeviceBatch& batch, const BatchContext& context) override;
  [[nodiscard]] double rate(std::int64_t step, std::int64_t steps,
                            std::int64_t warmup) const override {
    return scheduled_rate(config_.learning_rate, step, steps, warmup);
  }
  void after_step(double progress) override { setup_.method->after_step(progress); }
  [[nodiscard]] std::string does_not_fit(const DeviceBatch& batch,
                                         const BatchContext& context) override;
  RunLog::Fields line(const torch::Tensor& embeddings, const std::vector<std::uint32_t>& rows,
                      std::int64_t step) override;
  [[nodiscard]] std::string note(double loss, double wait_share,
                                 const Position& position) const override;
  [[nodiscard]] RunLog::Fields epoch_line(const Position& position) const override;
  [[nodiscard]] bool judges_untrained() const override { return true; }
  std::optional<double> judge(RunLog& log, std::int64_t step) override;
  [[nodiscard]] std::string score_text(const Position& position) const override;
  void save_weights(const std::filesystem::path& path, bool best, std::int64_t step) override;

 private:
  std::vector<std::uint32_t> rows_of(std::int64_t batch) const;
  std::vector<std::uint32_t> all_rows(const DeviceBatch& batch, Ranks& ranks) const;

  RunOptions options_;
  RankEnvironment environment_;
  torch::Device device_;
  TrainSetup setup_;
  const TrainConfig& config_;
  TaskFacts facts_;
  TargetTable targets_;
  CollapseAlarm alarm_;
  std::unique_ptr<ProbePass> probe_;  ///< of rank 0
  std::optional<StepGraph> graph_;    ///< with --cuda-graph on
};

}  // namespace wsp::train
