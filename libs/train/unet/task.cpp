#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "train/run/device.hpp"
#include "train/run/loop.hpp"
#include "train/unet/schedule.hpp"
#include "train/unet/setup.hpp"
#include "train/unet/unet.hpp"

namespace wsp::train {
namespace {

TaskFacts facts_of(const UNetSetup& setup) {
  const UNetConfig& c = setup.config;
  TaskFacts f;
  f.weights = "unet";
  f.judgement = "validation";
  f.every = "--validate-every";
  f.views = "slice, mask, predicted";
  f.batch = c.batch;
  f.epochs = c.epochs;
  f.steps_per_epoch = setup.steps_per_epoch;
  f.total_batches = setup.total_batches;
  f.clip_norm = c.clip_norm;
  f.warmup_epochs = c.warmup_epochs;
  f.optimizer.name = "adamw";
  f.optimizer.weight_decay = c.weight_decay;
  return f;
}

// Training a U-Net: augmented slices with their masks, judged by the Dice of whole volumes.
class UNetTask final : public Task {
 public:
  UNetTask(UNetConfig wanted, const RunOptions& options)
      : options_(options),
        setup_(std::move(wanted), options),
        config_(setup_.config),
        facts_(facts_of(setup_)) {}

  [[nodiscard]] const TaskFacts& facts() const override { return facts_; }
  [[nodiscard]] const torch::Device& device() const override { return setup_.device; }
  [[nodiscard]] torch::nn::Module& module() override { return *setup_.net; }
  [[nodiscard]] nlohmann::json config() const override { return to_json(config_); }
  void refuse_other(const nlohmann::json& was) const override;
  void prepare() override { (void)setup_.loader_options(); }
  [[nodiscard]] std::string unjudged() const override {
    return setup_.set.validation.empty() ? "no volume is held back (--hold-back)" : "";
  }
  [[nodiscard]] nlohmann::json run_facts() const override;
  [[nodiscard]] std::vector<std::string> notes() const override { return setup_.notes(); }
  [[nodiscard]] std::vector<std::string> warnings() const override;
  [[nodiscard]] std::unique_ptr<DeviceBatches> batches(std::int64_t first) override;
  BatchGradient backward(DeviceBatch& batch, const BatchContext& context) override;
  [[nodiscard]] double rate(std::int64_t step, std::int64_t steps,
                            std::int64_t warmup) const override {
    return decayed_rate(config_.schedule, config_.learning_rate, step, steps, warmup);
  }
  [[nodiscard]] std::string does_not_fit(const DeviceBatch& batch,
                                         const BatchContext& context) override;
  [[nodiscard]] std::string note(double loss, double wait_share,
                                 const Position& position) const override;
  std::optional<double> judge(RunLog& log, std::int64_t step) override;
  [[nodiscard]] std::string score_text(const Position& position) const override;
  void save_weights(const std::filesystem::path& path, bool best, std::int64_t step) override;

 private:
  RunOptions options_;
  UNetSetup setup_;
  const UNetConfig& config_;
  TaskFacts facts_;
};

void UNetTask::refuse_other(const nlohmann::json& was) const {
  const UNetConfig before = unet_config_from_json(was);
  UNetConfig allowed = before;
  const bool extended = options_.may_extend && ends_later(before, config_);
  if (extended) {
    allowed.epochs = config_.epochs;
    allowed.max_steps = config_.max_steps;
  }
  if (!differences(allowed, config_).empty()) refuse_differences(differences(before, config_));
  if (extended) say_extended();
}

nlohmann::json UNetTask::run_facts() const {
  return {{"started", utc_now()},
          {"tool_version", WSP_VERSION},
          {"host_cores", std::thread::hardware_concurrency()},
          {"command", options_.command},
          {"device", setup_.device.str()},
          {"precision", config_.precision},
          {"threads", options_.threads},
          {"torch", TORCH_VERSION}};
}

std::vector<std::string> UNetTask::warnings() const {
  if (!setup_.set.validation.empty()) return {};
  return {"no volume is held back: the last weights are kept, not the best"};
}

std::unique_ptr<DeviceBatches> UNetTask::batches(std::int64_t first) {
  return std::make_unique<DeviceBatches>(
      setup_.reader, [this](std::int64_t i) { return setup_.rows_of(i); }, first,
      setup_.loader_options(), setup_.device);
}

BatchGradient UNetTask::backward(DeviceBatch& batch, const BatchContext& context) {
  const TrainedBatch result = backward_pairs(setup_, batch);
  BatchGradient out;
  out.loss = result.loss;
  if (context.show) {
    out.hu = result.pair.images.select(1, config_.neighbours).mul(500).sub(100);
    out.views =
        torch::cat({result.pair.masks, torch::sigmoid(result.logits.detach().to(torch::kFloat))});
  }
  return out;
}

std::string UNetTask::does_not_fit(const DeviceBatch& /*batch*/, const BatchContext& /*context*/) {
  return fmt::format(
      "{} slices of {}x{} at once do not fit; use a smaller --batch, --width or --image-size",
      config_.batch, config_.image_size, config_.image_size);
}

std::string UNetTask::note(double loss, double /*wait_share*/, const Position& position) const {
  return position.last_score >= 0
             ? fmt::format("loss {:.4f}  Dice {:.4f}", loss, position.last_score)
             : fmt::format("loss {:.4f}", loss);
}

std::optional<double> UNetTask::judge(RunLog& log, std::int64_t step) {
  const double dice = validation_dice(setup_);
  log.add("validation", step, {{"dice", dice}, {"volumes", std::ssize(setup_.set.validation)}});
  return dice;
}

std::string UNetTask::score_text(const Position& position) const {
  return fmt::format("validation Dice {:.4f} (best {:.4f})", position.last_score,
                     position.best_score);
}

void UNetTask::save_weights(const std::filesystem::path& path, bool best, std::int64_t step) {
  std::map<std::string, std::string> about{{"wsp.config", json_text(to_json(config_))},
                                           {"wsp.steps", std::to_string(step)}};
  if (setup_.trained_on) about["wsp.trained_on"] = marks_text(*setup_.trained_on);
  // The last weights are those of the last epoch whatever its score, unless the score said when to
  // stop.
  about["wsp.chosen_on"] =
      marks_text(best || options_.patience > 0 ? subject_marks(setup_.set.validation)
                                               : std::set<std::string>{});
  save_unet_weights(*setup_.net, path, about);
}

}  // namespace

UNetSummary train_unet(UNetConfig config, const RunOptions& options) {
  // One process: --device says which card, whatever a launcher set.
  const LoopResult result =
      run_task([&] { return std::make_unique<UNetTask>(std::move(config), options); }, options, {});
  UNetSummary s{result.summary};
  s.best_dice = result.position.best_score;
  s.last_dice = result.position.last_score;
  if (const auto best = options.out / "unet-best.safetensors"; std::filesystem::exists(best))
    s.weights = best;
  return s;
}

}  // namespace wsp::train
