#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/progress.hpp"
#include "io/manifest/manifest.hpp"
#include "train/engine/batches.hpp"
#include "train/engine/checkpoint.hpp"
#include "train/engine/device.hpp"
#include "train/engine/on_its_way.hpp"
#include "train/engine/run_directory.hpp"
#include "train/engine/run_log.hpp"
#include "train/engine/run_state.hpp"
#include "train/engine/setup.hpp"
#include "train/unet/schedule.hpp"
#include "train/unet/setup.hpp"
#include "train/unet/unet.hpp"

namespace wsp::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What a run writes; nothing else in RUN is ever touched.
constexpr const char* kBestWeights = "unet-best.safetensors";
constexpr const char* kRunFiles[] = {"config.resolved.json", "run.json",   "metrics.jsonl",
                                     "unet.safetensors",     kBestWeights, "checkpoints",
                                     "tensorboard"};

OptimizerOptions adamw(const UNetConfig& config) {
  OptimizerOptions o;
  o.name = "adamw";
  o.weight_decay = config.weight_decay;
  return o;
}

class UNetTrainer {
 public:
  UNetTrainer(UNetConfig wanted, const RunOptions& options)
      : options_(options),
        setup_(std::move(wanted), options),
        config_(setup_.config),
        parameters_(*setup_.net),
        optimizer_(parameters_, adamw(config_)),
        reads_late_(setup_.device.is_cuda() || options.read_late),
        store_(options.out, options.keep),
        steps_per_epoch_(setup_.steps_per_epoch),
        total_batches_(setup_.total_batches) {}

  UNetSummary run();

 private:
  void start();
  void load_checkpoint();
  void train_loop();
  bool one_batch(DeviceBatch& batch);
  void next_learning_rate();
  double apply_gradients();
  struct Step;
  void settle(std::size_t left_open);
  void settle_step(Step& step);
  void log_line(const Step& step);
  void end_of_epoch();
  void judge_epoch();
  [[noreturn]] void leave_interrupted() const;
  [[nodiscard]] std::int64_t epoch() const {
    return (position_.batches + steps_per_epoch_ - 1) / steps_per_epoch_;
  }
  void validate();
  void save(bool best);
  void write_weights(const char* name);
  [[nodiscard]] bool can_validate() const {
    return options_.probe_every > 0 && !setup_.set.validation.empty();
  }
  [[noreturn]] void refuse_not_finite(const char* what, std::int64_t batch) const;
  [[nodiscard]] UNetSummary summary() const;

  RunOptions options_;
  UNetSetup setup_;
  const UNetConfig& config_;
  FlatParameters parameters_;
  Optimizer optimizer_;
  GradScaler scaler_{false};
  bool reads_late_;
  CheckpointStore store_;
  std::int64_t steps_per_epoch_, total_batches_;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<DeviceBatches> batches_;
  std::optional<DeviceBatch> batch_;  ///< in work
  /// A batch that was given to the device, and its numbers once they are there.
  struct Step {
    std::int64_t batch = 0;
    double learning_rate = 0;
    bool line_due = false;
    OnItsWay numbers;  ///< float64 [2]: loss, norm of the gradient
  };
  std::deque<Step> open_steps_;
  std::unique_ptr<Progress> progress_;
  Position position_;
  std::int64_t resumed_at_ = 0;
  std::int64_t line_steps_ = 0;  ///< of this process since the last line
  nlohmann::json run_facts_;
  bool stop_early_ = false;
  double slices_per_s_ = 0, wait_share_ = 0;
  Clock::time_point started_, line_started_;
  double line_waited_ = 0;
};

void UNetTrainer::start() {
  // 1. Everything that can be refused is refused before anything is written.
  const bool may_exist = options_.force || options_.resume;
  if (std::filesystem::exists(options_.out))
    judge_run_directory(options_.out, kRunFiles, may_exist);
  if (options_.patience > 0 && !can_validate())
    throw Error(ErrorCode::usage,
                "--patience waits for a better validation, but there is none: "
                "give --hold-back and --validate-every");
  (void)setup_.loader_options();
  directory_ = std::make_unique<RunDirectory>(options_.out);
  judge_run_directory(options_.out, kRunFiles, may_exist);
  if (options_.resume) load_checkpoint();
  // 2. From here on the run's own files may change.
  remove_halves(options_.out, kRunFiles);
  if (options_.force || (options_.resume && position_.batches == 0)) {
    store_.remove_all();
    clear_run_directory(options_.out, kRunFiles);
  }
  directory_->write_json("config.resolved.json", to_json(config_));
  run_facts_ = {{"started", utc_now()},
                {"tool_version", WSP_VERSION},
                {"host_cores", std::thread::hardware_concurrency()},
                {"command", options_.command},
                {"device", setup_.device.str()},
                {"precision", config_.precision},
                {"threads", options_.threads},
                {"torch", TORCH_VERSION},
                {"first_batch", position_.batches}};
  directory_->write_json("run.json", run_facts_);
  log_ = std::make_unique<RunLog>(options_.out, options_.tensorboard, position_.batches > 0,
                                  position_.batches);
  for (const std::string& line : setup_.notes()) log::info(line);
  if (setup_.set.validation.empty())
    log::warn("no volume is held back: the last weights are kept, not the best");
  resumed_at_ = position_.batches;
  stop_early_ = options_.patience > 0 && position_.epochs_since_best >= options_.patience;
}

void UNetTrainer::load_checkpoint() {
  const auto found = store_.newest();
  const auto refuse_other = [&](const nlohmann::json& was) {
    UNetConfig before = unet_config_from_json(was);
    const bool extended = options_.may_extend && ends_later(before, config_);
    if (extended) {
      before.epochs = config_.epochs;
      before.max_steps = config_.max_steps;
    }
    const auto lines = differences(before, config_);
    if (!lines.empty()) refuse_differences(differences(unet_config_from_json(was), config_));
    if (extended) say_extended();
  };
  if (!found) {
    if (std::filesystem::exists(options_.out / "unet.safetensors"))
      throw Error(ErrorCode::corrupt, options_.out.string() +
                                          " has weights but no checkpoint to resume from: start it "
                                          "again with --force, or give another --out");
    if (std::filesystem::exists(options_.out / "config.resolved.json"))
      refuse_other(load_json(options_.out / "config.resolved.json"));
    log::warn("--resume: there is no checkpoint yet; starting from the beginning");
    return;
  }
  for (const auto& path : found->corrupt)
    log::warn("passed over a damaged checkpoint: " + path.filename().string());
  try {
    position_ =
        unpack_state(found->state, *setup_.net, parameters_, optimizer_, scaler_, refuse_other);
    restore_best_weights(
        store_, options_.out / kBestWeights, found->state, position_,
        [this](const TensorFile& from) {
          position_ =
              unpack_state(from, *setup_.net, parameters_, optimizer_, scaler_, [](const auto&) {});
        },
        [this] { write_weights(kBestWeights); });
  } catch (Error& e) {
    throw e.within("while resuming from " + found->path.filename().string());
  }
  store_.set_aside(found->corrupt);
  log::info(fmt::format("going on after {} of {} steps", position_.batches, total_batches_));
}

UNetSummary UNetTrainer::run() {
  start();
  if ((position_.batches < total_batches_ || position_.probe_due) && !stop_early_) {
    train_loop();
    const double seconds = seconds_since(started_);
    slices_per_s_ =
        static_cast<double>((position_.batches - resumed_at_) * config_.batch) / seconds;
    wait_share_ = batches_->statistics().waited_s / seconds;
  }
  write_weights("unet.safetensors");
  run_facts_["batches"] = position_.batches;
  run_facts_["ended"] = utc_now();
  run_facts_["exit"] = stop_early_ ? "stopped early" : "done";
  directory_->write_json("run.json", run_facts_);
  return summary();
}

UNetSummary UNetTrainer::summary() const {
  UNetSummary s;
  s.steps = position_.batches;
  s.epochs = position_.batches / steps_per_epoch_;
  s.first_loss = position_.first_loss;
  s.last_loss = position_.last_loss;
  s.best_dice = position_.best_probe;
  s.last_dice = position_.last_probe;
  s.slices_per_s = slices_per_s_;
  s.wait_share = wait_share_;
  s.stopped_early = stop_early_;
  const auto best = options_.out / kBestWeights;
  s.weights = std::filesystem::exists(best) ? best : options_.out / "unet.safetensors";
  return s;
}

void UNetTrainer::train_loop() try {
  setup_.net->train();
  if (position_.probe_due) judge_epoch();
  batches_ = std::make_unique<DeviceBatches>(
      setup_.reader, [this](std::int64_t i) { return setup_.rows_of(i); }, position_.batches,
      setup_.loader_options(), setup_.device);
  progress_ = std::make_unique<Progress>(
      "training", static_cast<std::uint64_t>(total_batches_ * config_.batch), "slices",
      static_cast<std::uint64_t>(position_.batches * config_.batch));
  started_ = line_started_ = Clock::now();
  while (!stop_early_ && (batch_ = batches_->next())) {
    bool epoch_complete = false;
    try {
      epoch_complete = one_batch(*batch_);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      if (!is_out_of_memory(e)) throw;
      throw store_.with_way_on(
          {ErrorCode::failure,
           fmt::format("out of memory on {}: {} slices of {}x{} at once do not fit; use a "
                       "smaller --batch, --width or --image-size",
                       setup_.device.str(), config_.batch, config_.image_size,
                       config_.image_size)});
    }
    const bool stop = interrupt_signal() != 0;
    if (epoch_complete) end_of_epoch();
    if (stop) {
      if (!epoch_complete) save(false);
      leave_interrupted();
    }
  }
  batch_.reset();
  progress_->finish();
} catch (const Error&) {
  throw;
} catch (const std::exception& e) {
  throw store_.with_way_on(readable_error(e));
}

// One batch, as numbered prose; true when an epoch is complete with it.
bool UNetTrainer::one_batch(DeviceBatch& batch) {
  // 1. The gradient of a batch of augmented slices: a function of (seed, epoch, place in the
  // epoch).
  const TrainedBatch result = backward_pairs(setup_, batch);
  position_.applied = ++position_.batches;
  Step now;
  now.batch = position_.batches;

  // 2. A step of the optimizer; nothing that is not finite reaches it.
  torch::Tensor norm;
  if (reads_late_) {
    next_learning_rate();
    norm = step_where_finite(parameters_, optimizer_, result.loss, config_.clip_norm,
                             position_.learning_rate);
  } else {
    if (!std::isfinite(result.loss.item<double>())) refuse_not_finite("the loss", now.batch);
    norm = torch::full({}, apply_gradients(), torch::kDouble);
  }
  parameters_.zero_gradients();
  now.learning_rate = position_.learning_rate;

  // 3. What the run says of itself, as soon as it is known: of this step, or of the one before
  // while the device works.
  const bool epoch_complete =
      position_.batches % steps_per_epoch_ == 0 || position_.batches == total_batches_;
  now.line_due = position_.batches == 1 || position_.batches % options_.log_every == 0;
  now.numbers = OnItsWay(
      torch::stack({result.loss.to(torch::kDouble), norm.to(setup_.device, torch::kDouble)}));
  open_steps_.push_back(std::move(now));
  progress_->advance(static_cast<std::uint64_t>(config_.batch));
  if (batch.number % steps_per_epoch_ == 0) {
    const torch::Tensor hu = result.pair.images.select(1, config_.neighbours).mul(500).sub(100);
    log_->add_views(
        position_.batches, hu,
        torch::cat({result.pair.masks, torch::sigmoid(result.logits.detach().to(torch::kFloat))}),
        "slice, mask, predicted");
  }
  settle(reads_late_ && !epoch_complete ? 1 : 0);
  if (!epoch_complete && options_.checkpoint_every > 0 &&
      position_.batches % options_.checkpoint_every == 0)
    save(false);
  return epoch_complete;
}

void UNetTrainer::refuse_not_finite(const char* what, std::int64_t batch) const {
  throw Error(ErrorCode::failure,
              fmt::format("{} is not finite at step {}: stopped before it could be kept. {}Try a "
                          "smaller --lr, --clip-norm 1 or --precision fp32",
                          what, batch, store_.any() ? "The last checkpoint is sound. " : ""));
}

void UNetTrainer::next_learning_rate() {
  const auto warmup = static_cast<std::int64_t>(
      std::lround(config_.warmup_epochs * static_cast<double>(steps_per_epoch_)));
  position_.learning_rate = decayed_rate(config_.schedule, config_.learning_rate,
                                         position_.batches - 1, total_batches_, warmup);
}

// Returns the norm of the gradient.
double UNetTrainer::apply_gradients() {
  const torch::NoGradGuard no_grad;
  const double norm = parameters_.gradient_norm().item<double>();
  if (!std::isfinite(norm)) refuse_not_finite("a gradient", position_.batches);
  if (config_.clip_norm > 0 && norm > config_.clip_norm)
    parameters_.gradients().mul_(config_.clip_norm / norm);
  next_learning_rate();
  optimizer_.step(position_.learning_rate);
  return norm;
}

// Take in the numbers of steps, oldest first, until `left_open` are left.
void UNetTrainer::settle(std::size_t left_open) {
  for (; open_steps_.size() > left_open; open_steps_.pop_front()) settle_step(open_steps_.front());
}

void UNetTrainer::settle_step(Step& step) {
  const torch::Tensor& numbers = step.numbers.get();
  const double loss = numbers[0].item<double>(), norm = numbers[1].item<double>();
  if (!std::isfinite(loss)) refuse_not_finite("the loss", step.batch);
  if (!std::isfinite(norm)) refuse_not_finite("a gradient", step.batch);
  position_.gradient_norm = norm;
  ++line_steps_;
  position_.line.add(loss, norm);
  position_.epoch.add(loss, norm);
  if (step.line_due) log_line(step);
}

void UNetTrainer::log_line(const Step& step) {
  const double seconds = seconds_since(line_started_);
  const double waited = batches_->statistics().waited_s;
  const double share = (waited - line_waited_) / std::max(seconds, 1e-9);
  const double loss = position_.line.mean_loss();
  log_->add("train", step.batch,
            {{"loss", loss},
             {"lr", step.learning_rate},
             {"gradient_norm", position_.gradient_norm},
             {"slices_per_s", static_cast<double>(line_steps_ * config_.batch) / seconds},
             {"wait_share", share}});
  progress_->note(position_.last_probe >= 0
                      ? fmt::format("loss {:.4f}  Dice {:.4f}", loss, position_.last_probe)
                      : fmt::format("loss {:.4f}", loss));
  position_.line = {};
  line_steps_ = 0;
  line_started_ = Clock::now();
  line_waited_ = waited;
}

void UNetTrainer::end_of_epoch() {
  const double loss = position_.epoch.mean_loss();
  if (epoch() == 1) position_.first_loss = loss;
  position_.last_loss = loss;
  position_.epoch = {};
  log_->add("epoch", position_.batches, {{"epoch", epoch()}, {"loss", loss}});
  judge_epoch();
}

// The validation and what follows from it. A signal during it leaves a checkpoint that begins here.
void UNetTrainer::judge_epoch() {
  const bool validated = can_validate() && (epoch() % options_.probe_every == 0 ||
                                            position_.batches == total_batches_);
  const double before = position_.best_probe;
  position_.probe_due = false;
  try {
    if (validated) validate();
  } catch (const Error& e) {
    if (e.code() != ErrorCode::interrupted) throw;
    position_.probe_due = true;
    save(false);
    leave_interrupted();
  }
  const bool best = position_.best_probe > before;
  if (validated) position_.epochs_since_best = best ? 0 : position_.epochs_since_best + 1;
  log::info(fmt::format("epoch {}/{}: loss {:.4f}{}", epoch(), config_.epochs, position_.last_loss,
                        validated ? fmt::format(", validation Dice {:.4f} (best {:.4f})",
                                                position_.last_probe, position_.best_probe)
                                  : ""));
  save(best);
  write_weights("unet.safetensors");
  stop_early_ = options_.patience > 0 && position_.epochs_since_best >= options_.patience;
  if (stop_early_)
    log::info(fmt::format("stopped early: no better validation for {} epochs", options_.patience));
}

void UNetTrainer::leave_interrupted() const {
  throw Error(ErrorCode::interrupted,
              fmt::format("stopped by a signal after {} of {} steps; go on with --resume",
                          position_.batches, total_batches_));
}

void UNetTrainer::validate() {
  position_.last_probe = validation_dice(setup_);
  position_.best_probe = std::max(position_.best_probe, position_.last_probe);
  log_->add("validation", position_.batches,
            {{"dice", position_.last_probe}, {"volumes", std::ssize(setup_.set.validation)}});
}

void UNetTrainer::save(bool best) {
  settle(0);
  if (!torch::isfinite(parameters_.values()).all().item<bool>())
    refuse_not_finite("a weight", position_.batches);
  log_->flush();
  if (best) {  // before the checkpoint that holds their score
    position_.best_batches = position_.batches;
    write_weights(kBestWeights);
  }
  store_.save(
      position_.batches,
      pack_state(*setup_.net, parameters_, optimizer_, scaler_, position_, to_json(config_)), best);
}

void UNetTrainer::write_weights(const char* name) {
  std::map<std::string, std::string> about{{"wsp.config", json_text(to_json(config_))},
                                           {"wsp.steps", std::to_string(position_.batches)}};
  if (setup_.trained_on) about["wsp.trained_on"] = marks_text(*setup_.trained_on);
  // The last weights are those of the last epoch whatever its score, unless the score said when to
  // stop.
  const bool chosen = name == std::string_view(kBestWeights) || options_.patience > 0;
  about["wsp.chosen_on"] =
      marks_text(chosen ? subject_marks(setup_.set.validation) : std::set<std::string>{});
  save_unet_weights(*setup_.net, options_.out / name, about);
}

}  // namespace

UNetSummary train_unet(UNetConfig config, const RunOptions& options) {
  try {
    at::set_num_threads(std::max(1, options.threads));
    return leaking_if_card_lost(std::make_unique<UNetTrainer>(std::move(config), options),
                                [](UNetTrainer& trainer) { return trainer.run(); });
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

}  // namespace wsp::train
