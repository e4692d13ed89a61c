#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cmath>
#include <deque>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "io/core/progress.hpp"
#include "io/manifest/manifest.hpp"
#include "train/engine/batches.hpp"
#include "train/engine/checkpoint.hpp"
#include "train/engine/device.hpp"
#include "train/engine/on_its_way.hpp"
#include "train/engine/probe_pass.hpp"
#include "train/engine/run_directory.hpp"
#include "train/engine/run_log.hpp"
#include "train/engine/run_state.hpp"
#include "train/engine/setup.hpp"
#include "train/engine/step_graph.hpp"
#include "train/engine/telemetry.hpp"
#include "train/engine/train.hpp"
#include "train/engine/views.hpp"

namespace wsp::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

OptimizerOptions optimizer_options(const TrainConfig& config) {
  OptimizerOptions o;
  o.name = config.optimizer;
  o.weight_decay = config.weight_decay;
  return o;
}

// Rows of the index of the whole batch, from the rows of each rank.
std::vector<std::uint32_t> all_rows(Ranks& ranks, const std::vector<std::uint32_t>& own,
                                    const torch::Device& device) {
  if (ranks.ranks() == 1) return own;
  torch::Tensor rows = torch::empty({static_cast<std::int64_t>(own.size())}, torch::kLong);
  std::copy(own.begin(), own.end(), rows.data_ptr<std::int64_t>());
  rows = rows.to(device);
  const torch::Tensor all =
      ranks.gather_views(torch::cat({rows, rows})).chunk(2)[0].to(torch::kCPU);
  const auto* first = all.data_ptr<std::int64_t>();
  return {first, first + all.numel()};
}

class Trainer {
 public:
  Trainer(TrainConfig config, const RunOptions& options)
      : options_(options),
        environment_(rank_environment()),
        device_(choose_device(options.device, environment_.local_rank)),
        setup_(std::move(config), options, environment_.ranks, device_),
        config_(setup_.config),
        ranks_(environment_, device_, options.timeout_s),
        parameters_(*setup_.method),
        optimizer_(parameters_, optimizer_options(config_)),
        scaler_(config_.precision == "fp16"),
        // The scale of float16 follows from the last step's numbers: there they cannot be late.
        reads_late_((device_.is_cuda() || options.read_late) && !scaler_.on()),
        store_(options.out, options.keep),
        targets_(setup_.set, setup_.reader.slices().size()) {}

  TrainSummary run();

 private:
  void start();
  void judge_directory() const;
  void clear_earlier_run();
  void compare_ranks();
  void share_state();
  void load_checkpoint();
  void train_loop();
  bool one_batch(DeviceBatch& batch);
  [[nodiscard]] StepOptions step_options() const {
    return {config_.micro_batch, config_.precision, 1.0 / static_cast<double>(config_.accumulate)};
  }
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
  /// A batch that was given to the device, and what the run will say of it once its numbers are there.
  struct Step {
    std::int64_t batch = 0;
    bool updates = false;      ///< an optimizer step came with it
    double learning_rate = 0;  ///< of that or the one before
    OnItsWay numbers;          ///< float64 [2]: loss, norm of the gradient
    OnItsWay embeddings;       ///< where a line is due
    std::vector<std::uint32_t> rows;
    bool line_due = false;
  };
  std::deque<Step> open_steps_;
  std::unique_ptr<Progress> progress_;
  Position position_;
  std::int64_t steps_per_epoch_ = 0, total_batches_ = 0, resumed_at_ = 0;
  std::int64_t corrupt_counted_ = 0;
  std::int64_t line_steps_ = 0;  ///< of this process since the last line
  nlohmann::json run_facts_;
  bool stop_early_ = false;
  Clock::time_point started_, line_started_;
  double line_waited_ = 0;
};

// What a run writes; nothing else in RUN is ever touched.
constexpr const char* kRunFiles[] = {
    "config.resolved.json",     "run.json",    "metrics.jsonl", "encoder.safetensors",
    "encoder-best.safetensors", "checkpoints", "tensorboard"};

void Trainer::judge_directory() const {
  judge_run_directory(options_.out, kRunFiles, options_.force || options_.resume);
}

void Trainer::clear_earlier_run() {
  store_.remove_all();
  clear_run_directory(options_.out, kRunFiles);
}

// Every rank must compute the same thing, or the sum of their gradients means nothing.
void Trainer::compare_ranks() {
  const Digest digest = sha256(to_json(config_).dump());
  torch::Tensor mine = torch::empty({static_cast<std::int64_t>(digest.size())}, torch::kLong);
  std::copy(digest.begin(), digest.end(), mine.data_ptr<std::int64_t>());
  mine = mine.to(device_);
  torch::Tensor first = mine.clone();
  ranks_.broadcast(first);
  torch::Tensor differs = (mine != first).any().to(torch::kLong).view({1});
  ranks_.sum(differs);
  if (const auto count = differs.item<std::int64_t>(); count > 0)
    throw Error(ErrorCode::usage, fmt::format("{} of {} ranks were started with other options or "
                                              "another dataset than rank 0: start all alike",
                                              count, ranks_.ranks()));
}

// Rank 0 reads checkpoints and every rank takes over what it holds.
void Trainer::share_state() {
  if (ranks_.ranks() == 1) return;
  ranks_.broadcast(parameters_.values());
  ranks_.broadcast(parameters_.gradients());
  for (torch::Tensor buffer : setup_.method->buffers()) ranks_.broadcast(buffer);
  for (torch::Tensor moment : optimizer_.flat_state()) ranks_.broadcast(moment);
  for (auto& parameter : setup_.method->named_parameters())  // targets, which no optimizer moves
    if (!parameter.value().requires_grad()) {
      torch::Tensor frozen = parameter.value().detach().contiguous();  // for any layout of the weights
      ranks_.broadcast(frozen);
      parameter.value().detach().copy_(frozen);
    }
  constexpr std::int64_t kRoom = 4096;
  std::string text = position_text(position_, optimizer_, scaler_);
  if (text.size() > kRoom) throw Error(ErrorCode::failure, "the position of a run is too long");
  text.resize(kRoom, ' ');
  torch::Tensor bytes = torch::empty({kRoom}, torch::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<std::uint8_t>());
  bytes = bytes.to(device_);
  ranks_.broadcast(bytes);
  bytes = bytes.to(torch::kCPU);
  const auto* first = bytes.data_ptr<std::uint8_t>();
  position_ = read_position({first, first + kRoom}, optimizer_, scaler_);
}

void Trainer::start() {
  steps_per_epoch_ = setup_.sampler.steps_per_epoch();
  total_batches_ = config_.epochs * steps_per_epoch_;
  if (config_.max_steps > 0) total_batches_ = std::min(total_batches_, config_.max_steps);
  compare_ranks();
  if (ranks_.first()) {
    // 1. Everything that can be refused is refused before anything is written.
    if (std::filesystem::exists(options_.out)) judge_directory();
    if (options_.probe_every > 0 && setup_.method->trains())
      probe_ = std::make_unique<ProbePass>(
          setup_.reader, setup_.set,
          options_.probe_label.empty() ? config_.label : options_.probe_label,
          setup_.loader_options());
    if (options_.patience > 0 && (!probe_ || !probe_->possible()))
      throw Error(ErrorCode::usage,
                  "--patience waits for a better probe, but there is none: " +
                      (probe_ ? probe_->reason() : std::string("--probe-every is 0")));
    directory_ = std::make_unique<RunDirectory>(options_.out);
    judge_directory();
    if (options_.resume) load_checkpoint();
    // 2. From here on the run's own files may change.
    if (options_.force || (options_.resume && position_.batches == 0)) clear_earlier_run();
    directory_->write_json("config.resolved.json", to_json(config_));
    run_facts_ = run_facts(setup_, environment_, device_);
    run_facts_["first_batch"] = position_.batches;
    directory_->write_json("run.json", run_facts_);
    log_ = std::make_unique<RunLog>(options_.out, options_.tensorboard, position_.batches > 0,
                                    position_.batches);
    for (const std::string& line : setup_.notes()) log::info(line);
    for (const std::string& line : setup_.sampler.warnings()) log::warn(line);
    if (probe_ && !probe_->possible()) log::warn("no online probe: " + probe_->reason());
  }
  share_state();
  resumed_at_ = position_.batches;
  stop_early_ = options_.patience > 0 && position_.epochs_since_best >= options_.patience;
}

void Trainer::load_checkpoint() {
  const auto found = store_.newest();
  if (!found) {
    // A run that ended before its first checkpoint is begun again; one that lost its checkpoints is
    // not.
    if (std::filesystem::exists(options_.out / "encoder.safetensors"))
      throw Error(ErrorCode::corrupt, options_.out.string() +
                                          " has weights but no checkpoint to resume from: start it "
                                          "again with --force, or give another --out");
    if (std::filesystem::exists(options_.out / "config.resolved.json"))
      refuse_other_config(config_from_json(load_json(options_.out / "config.resolved.json")),
                          config_);
    log::warn("--resume: there is no checkpoint yet; starting from the beginning");
    return;
  }
  for (const auto& path : found->corrupt)
    log::warn("passed over a damaged checkpoint: " + path.filename().string());
  try {
    position_ = unpack_state(
        found->state, *setup_.method, parameters_, optimizer_, scaler_, config_.accumulate,
        [&](const nlohmann::json& was) { refuse_other_config(config_from_json(was), config_); });
  } catch (Error& e) {
    throw e.within("while resuming from " + found->path.filename().string());
  }
  store_.set_aside(found->corrupt);
  log::info(fmt::format("going on after {} of {} steps", position_.batches, total_batches_));
}

TrainSummary Trainer::run() {
  start();
  TrainSummary summary;
  if (setup_.method->trains() && !stop_early_ &&
      (position_.batches < total_batches_ || position_.probe_due)) {
    train_loop();
    const double seconds = seconds_since(started_);
    const LoaderStatistics loaded = batches_->statistics();
    summary.slices_per_s =
        static_cast<double>((position_.batches - resumed_at_) * config_.batch) / seconds;
    summary.wait_share = loaded.waited_s / seconds;
  }
  if (ranks_.first()) {
    export_weights("encoder.safetensors");
    run_facts_["batches"] = position_.batches;
    run_facts_["ended"] = utc_now();
    run_facts_["exit"] = stop_early_ ? "stopped early" : "done";
    directory_->write_json("run.json", run_facts_);
  }
  summary.corrupt_slices = position_.corrupt_slices;
  summary.steps = position_.batches;
  summary.epochs = position_.batches / steps_per_epoch_;
  summary.first_loss = position_.first_loss;
  summary.last_loss = position_.last_loss;
  summary.first_probe = position_.first_probe;
  summary.best_probe = position_.best_probe;
  summary.stopped_early = stop_early_;
  summary.weights = options_.out / "encoder.safetensors";
  summary.rank = environment_.rank;
  return summary;
}

void Trainer::train_loop() {
  const auto source = [this](std::int64_t i) -> std::vector<std::uint32_t> {
    if (i >= total_batches_) return {};
    auto rows = rank_share(setup_.sampler.batch(i / steps_per_epoch_, i % steps_per_epoch_),
                           environment_.rank, environment_.ranks);
    for (std::uint32_t& row : rows) row = setup_.set.slices[row].row;
    return rows;
  };
  setup_.method->train();
  if (position_.batches == 0) probe();  // what an untrained encoder can tell
  if (position_.probe_due) judge_epoch();
  batches_ = std::make_unique<DeviceBatches>(setup_.reader, source, position_.batches,
                                             setup_.loader_options(), device_);
  if (options_.cuda_graph == "on")
    graph_.emplace(make_cuda_recorder(device_), [this](const torch::Tensor& views, const Targets& targets) {
      return backward_batch(*setup_.method, views, targets, step_options(), scaler_, ranks_);
    });
  if (ranks_.first())
    progress_ = std::make_unique<Progress>(
        "training", static_cast<std::uint64_t>(total_batches_ * config_.batch), "slices",
        static_cast<std::uint64_t>(position_.batches * config_.batch));
  started_ = line_started_ = Clock::now();
  line_steps_ = 0;
  while (!stop_early_ && (batch_ = batches_->next())) {
    bool epoch_complete = false;
    try {
      epoch_complete = one_batch(*batch_);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      if (!is_out_of_memory(e)) {
        Error error = readable_error(e);
        throw store_.any() ? error.within("the last checkpoint is sound: go on with --resume") : error;
      }
      graph_.reset();  // its pool is memory too
      throw Error(ErrorCode::failure,
                  "out of memory on " + device_.str() + ". " + fitting_micro_batch(*batch_));
    }
    const bool stop = stop_requested();
    if (epoch_complete) end_of_epoch();
    if (stop) {
      if (ranks_.first() && !epoch_complete) save(false);
      leave_interrupted();
    }
  }
  batch_.reset();
  if (progress_) progress_->finish();
}

// One batch, as numbered prose; true when an epoch is complete with it.
bool Trainer::one_batch(DeviceBatch& batch) {
  // 1. Two views of every slice, drawn on the device: a function of (seed, epoch, place in the
  // epoch).
  const std::int64_t step = batch.number % steps_per_epoch_;
  const auto m = static_cast<std::int64_t>(batch.rows.size());
  const auto parameters = batch_views(config_, batch.number / steps_per_epoch_,
                                      step * config_.batch + environment_.rank * m, m);
  // On a card a micro-batch's views are drawn when their turn comes, twice: memory is what micro-batches are for.
  const std::int64_t piece =
      device_.is_cuda() && config_.micro_batch > 0 ? std::min(config_.micro_batch, m) : m;
  const auto views_of = [&](std::int64_t at, std::int64_t count) {
    std::vector<ViewParameters> some;
    for (const std::int64_t view : {std::int64_t{0}, m})
      for (std::int64_t i = 0; i < count; ++i)
        some.push_back(parameters[static_cast<std::size_t>(view + at + i)]);
    return draw_views(batch.hu.narrow(0, at, count), some, view_drawing(config_));
  };
  torch::Tensor views;
  if (piece == m) views = draw_views(batch.hu, parameters, view_drawing(config_));

  // 2. The gradient of the whole batch, over micro-batches and ranks.
  std::vector<std::uint32_t> rows = all_rows(ranks_, batch.rows, device_);
  const Targets targets = targets_.targets(rows, device_);
  const StepOptions how = step_options();
  const StepResult result =
      graph_            ? graph_->run(views, targets)
      : views.defined() ? backward_batch(*setup_.method, views, targets, how, scaler_, ranks_)
                        : backward_batch(*setup_.method, views_of, m, targets, how, scaler_, ranks_);
  ++position_.batches;

  // 3. A step of the optimizer, where enough batches are together; nothing that is not finite reaches it.
  Step now;
  now.batch = position_.batches;
  now.updates = position_.batches % config_.accumulate == 0 || position_.batches == total_batches_;
  torch::Tensor norm = torch::zeros_like(result.loss);
  if (reads_late_) {
    if (now.updates) norm = apply_gradients_unless_not_finite(result.loss);
  } else {
    if (!std::isfinite(result.loss.item<double>())) refuse_not_finite("the loss", now.batch);
    if (now.updates) norm = torch::full({}, apply_gradients(), torch::kDouble);
  }
  now.learning_rate = position_.learning_rate;

  // 4. What the run says of itself, as soon as it is known: of this step, or of the one before while the device works.
  const bool epoch_complete =
      position_.batches % steps_per_epoch_ == 0 || position_.batches == total_batches_;
  now.numbers = OnItsWay(torch::stack({result.loss.to(torch::kDouble), norm.to(device_, torch::kDouble)}));
  now.line_due = ranks_.first() && (position_.batches == 1 || position_.batches % options_.log_every == 0);
  if (now.line_due) {
    now.embeddings = OnItsWay(result.embeddings);
    now.rows = std::move(rows);
  }
  open_steps_.push_back(std::move(now));
  if (ranks_.first()) progress_->advance(static_cast<std::uint64_t>(config_.batch));
  if (ranks_.first() && step == 0) {
    const std::int64_t shown = std::min<std::int64_t>(4, m);
    if (views.defined())
      log_->add_views(position_.batches, batch.hu, views);
    else
      log_->add_views(position_.batches, batch.hu.narrow(0, 0, shown), views_of(0, shown));
  }
  settle(reads_late_ && !epoch_complete ? 1 : 0);
  if (!ranks_.first()) return epoch_complete;
  if (!epoch_complete && options_.checkpoint_every > 0 &&
      position_.batches % options_.checkpoint_every == 0)
    save(false);
  return epoch_complete;
}

void Trainer::refuse_not_finite(const char* what, std::int64_t batch) const {
  throw Error(
      ErrorCode::failure,
      fmt::format("{} is not finite at step {}: stopped before it could be kept. {}Try a "
                  "smaller --lr, --clip-norm 1 or --precision fp32",
                  what, batch, store_.any() ? "The last checkpoint is sound. " : ""));
}

// The gradient of the optimizer's step out of what the batches and ranks added up.
void Trainer::finish_gradients() {
  torch::Tensor& gradients = parameters_.gradients();
  ranks_.sum(gradients);
  if (scaler_.on()) gradients.mul_(1 / scaler_.scale());
  // The last step of a run may have fewer batches than the others; it is their mean all the same.
  if (const std::int64_t rest = position_.batches % config_.accumulate; rest != 0)
    gradients.mul_(static_cast<double>(config_.accumulate) / static_cast<double>(rest));
}

double Trainer::next_learning_rate() {
  const auto steps = [&](std::int64_t batches) {
    return (batches + config_.accumulate - 1) / config_.accumulate;
  };
  const std::int64_t total = steps(total_batches_), done = steps(position_.batches);
  const auto warmup = static_cast<std::int64_t>(
      std::lround(config_.warmup_epochs * static_cast<double>(steps_per_epoch_) /
                  static_cast<double>(config_.accumulate)));
  position_.learning_rate = scheduled_rate(config_.learning_rate, done - 1, total, warmup);
  return static_cast<double>(done) / static_cast<double>(total);
}

// Returns the norm of the last gradient that was finite: in float16 others are passed over.
double Trainer::apply_gradients() {
  torch::NoGradGuard no_grad;
  finish_gradients();
  torch::Tensor& gradients = parameters_.gradients();
  const double norm = parameters_.gradient_norm().item<double>();
  const bool finite = std::isfinite(norm);
  scaler_.update(finite);
  if (finite) {
    if (config_.clip_norm > 0 && norm > config_.clip_norm) gradients.mul_(config_.clip_norm / norm);
    const double progress = next_learning_rate();
    optimizer_.step(position_.learning_rate);
    setup_.method->after_step(progress);
  } else if (!scaler_.on()) {
    refuse_not_finite("a gradient", position_.batches);
  }
  parameters_.zero_gradients();
  return finite ? norm : position_.gradient_norm;
}

// The same without waiting: the device itself decides that a step with numbers that are not finite changes no weight, and
// the run stops when it has read them. Returns the norm, on the device.
torch::Tensor Trainer::apply_gradients_unless_not_finite(const torch::Tensor& loss) {
  torch::NoGradGuard no_grad;
  finish_gradients();
  const torch::Tensor norm = parameters_.gradient_norm();
  const torch::Tensor skip =
      torch::isfinite(norm).logical_and(torch::isfinite(loss)).logical_not().to(torch::kFloat).view({1});
  if (config_.clip_norm > 0)
    parameters_.gradients().mul_((config_.clip_norm / norm).clamp_max(1));
  const double progress = next_learning_rate();
  optimizer_.step(position_.learning_rate, skip);
  setup_.method->after_step(progress);
  parameters_.zero_gradients();
  return norm;
}

// Take in the numbers of steps, oldest first, until `left_open` are left.
void Trainer::settle(std::size_t left_open) {
  while (open_steps_.size() > left_open) {
    Step step = std::move(open_steps_.front());
    open_steps_.pop_front();
    settle_step(step);
  }
}

void Trainer::settle_step(Step& step) {
  const torch::Tensor& numbers = step.numbers.get();
  const double loss = numbers[0].item<double>(), norm = numbers[1].item<double>();
  if (!std::isfinite(loss)) refuse_not_finite("the loss", step.batch);
  if (!std::isfinite(norm)) refuse_not_finite("a gradient", step.batch);
  if (step.updates) position_.gradient_norm = norm;
  ++line_steps_;
  position_.line.add(loss, position_.gradient_norm);
  position_.epoch.add(loss, position_.gradient_norm);
  if (step.line_due) log_line(step, step.embeddings.get());
}

void Trainer::log_line(const Step& step, const torch::Tensor& embeddings) {
  const double seconds = seconds_since(line_started_);
  const double waited = batches_->statistics().waited_s;
  const double share = (waited - line_waited_) / std::max(seconds, 1e-9);
  const double loss = position_.line.mean_loss();
  const Telemetry t = measure_telemetry(embeddings, targets_.targets(step.rows, torch::kCPU),
                                        setup_.method->kernel());
  log_->add("train", step.batch,
            {{"loss", loss},
             {"lr", step.learning_rate},
             {"gradient_norm", position_.gradient_norm},
             {"effective_positives", t.kernel.effective_positives},
             {"kernel_entropy", t.kernel.entropy},
             {"alignment", t.alignment},
             {"uniformity", t.uniformity},
             {"rank_me", t.rank_me},
             {"embedding_std", t.embedding_std},
             {"slices_per_s", static_cast<double>(line_steps_ * config_.batch) / seconds},
             {"wait_share", share}});
  progress_->note(fmt::format("loss {:.4f}  waiting {:.1f} %", loss, 100 * share));
  if (alarm_.update(t.embedding_std))
    log::warn(
        fmt::format("the embeddings have collapsed: their standard deviation is {:.3f} of a "
                    "uniform spread at step {}; lower --lr or look at the labels",
                    t.embedding_std, step.batch));
  position_.line = {};
  line_steps_ = 0;
  line_started_ = Clock::now();
  line_waited_ = waited;
}

void Trainer::end_of_epoch() {
  position_.last_loss = position_.epoch.mean_loss();
  if (epoch() == 1) position_.first_loss = position_.last_loss;
  position_.epoch = {};
  count_corrupt();
  if (ranks_.first())
    log_->add("epoch", position_.batches,
              {{"epoch", epoch()},
               {"loss", position_.last_loss},
               {"corrupt_slices", position_.corrupt_slices}});
  judge_epoch();
}

// The probe and what follows from it. A signal during the probe leaves a checkpoint that begins here.
void Trainer::judge_epoch() {
  enum Verdict { kGoOn, kStopEarly, kInterrupted };
  torch::Tensor verdict = torch::zeros({1}, torch::TensorOptions(device_).dtype(torch::kFloat));
  position_.probe_due = false;
  if (ranks_.first()) {
    const bool probed = options_.probe_every > 0 && (epoch() % options_.probe_every == 0 ||
                                                     position_.batches == total_batches_);
    const double before = position_.best_probe;
    try {
      if (probed) probe();
    } catch (const Error& e) {
      if (e.code() != ErrorCode::interrupted) throw;
      position_.probe_due = true;
      save(false);
      verdict.fill_(kInterrupted);
    }
    if (!position_.probe_due) {
      keep_epoch(probed, position_.best_probe > before);
      if (options_.patience > 0 && position_.epochs_since_best >= options_.patience)
        verdict.fill_(kStopEarly);
    }
  }
  ranks_.broadcast(verdict);
  const int found = static_cast<int>(verdict.item<float>());
  if (found == kInterrupted) leave_interrupted();
  stop_early_ = found == kStopEarly;
  if (stop_early_ && ranks_.first())
    log::info(fmt::format("stopped early: no better probe for {} epochs", options_.patience));
}

void Trainer::keep_epoch(bool probed, bool best) {
  log::info(fmt::format("epoch {}/{}: loss {:.4f}{}", epoch(), config_.epochs, position_.last_loss,
                        probed && probe_ && probe_->possible()
                            ? fmt::format(", probe {:.3f} (best {:.3f})", position_.last_probe,
                                          position_.best_probe)
                            : ""));
  if (probed) position_.epochs_since_best = best ? 0 : position_.epochs_since_best + 1;
  save(best);
  export_weights("encoder.safetensors");
  if (best) export_weights("encoder-best.safetensors");
}

void Trainer::leave_interrupted() {
  note_interrupt(SIGTERM);  // where only another rank had the signal: the exit code says so
  ranks_.barrier();         // a launcher may kill all ranks once the first has left
  throw Error(ErrorCode::interrupted,
              fmt::format("stopped by a signal after {} of {} steps; go on with --resume",
                          position_.batches, total_batches_));
}

void Trainer::count_corrupt() {
  const std::int64_t here = batches_->statistics().corrupt_slices;
  torch::Tensor fresh =
      torch::full({1}, here - corrupt_counted_, torch::TensorOptions(device_).dtype(torch::kLong));
  ranks_.sum(fresh);
  position_.corrupt_slices += fresh.item<std::int64_t>();
  corrupt_counted_ = here;
}

void Trainer::probe() {
  if (!probe_ || !probe_->possible()) return;
  const ProbeResult result = probe_->run(setup_.method->encoder(), device_);
  log_->add("probe", position_.batches,
            {{"knn_balanced_accuracy", result.knn.balanced_accuracy},
             {"knn_auc", result.knn.auc},
             {"balanced_accuracy", result.logistic.balanced_accuracy},
             {"auc", result.logistic.auc},
             {"subjects", result.logistic.subjects}});
  if (!std::isfinite(result.logistic.balanced_accuracy)) return;
  position_.last_probe = result.logistic.balanced_accuracy;
  if (position_.batches == 0) position_.first_probe = position_.last_probe;
  if (position_.batches > 0 && position_.last_probe > position_.best_probe)
    position_.best_probe = position_.last_probe;
  std::vector<std::vector<std::string>> rows;
  for (const TrainSlice& s : probe_->held_back_slices())
    rows.push_back({setup_.set.subjects[static_cast<std::size_t>(s.subject)],
                    std::to_string(s.label), fmt::format("{:.3f}", s.depth)});
  log_->set_projection(probe_->held_back().features, {"subject", "label", "depth"}, rows);
}

void Trainer::save(bool best) {
  settle(0);
  if (!torch::isfinite(parameters_.values()).all().item<bool>())
    refuse_not_finite("a weight", position_.batches);
  log_->flush();
  store_.save(position_.batches,
              pack_state(*setup_.method, parameters_, optimizer_, scaler_, position_,
                         config_.accumulate, to_json(config_)),
              best);
}

void Trainer::export_weights(const char* name) {
  save_encoder_weights(setup_.method->encoder(), options_.out / name,
                       {{"wsp.method", config_.method},
                        {"wsp.image_size", std::to_string(config_.image_size)},
                        {"wsp.steps", std::to_string(position_.batches)},
                        {"wsp.seed", std::to_string(config_.seed)},
                        {"wsp.dataset_sha256", config_.dataset_sha256}});
}

bool Trainer::stop_requested() {
  if (ranks_.ranks() == 1) return interrupt_signal() != 0;
  torch::Tensor signal =
      torch::full({1}, interrupt_signal(), torch::TensorOptions(device_).dtype(torch::kLong));
  ranks_.maximum(signal);
  // What all ranks know decides: a signal that came to this one meanwhile is told with the next step.
  const auto known = static_cast<int>(signal.item<std::int64_t>());
  note_interrupt(known);
  return known != 0;
}

// Halves the slices embedded at once until a step goes through; nothing that it computes is kept.
std::string Trainer::fitting_micro_batch(const DeviceBatch& batch) {
  const auto m = static_cast<std::int64_t>(batch.rows.size());
  const std::int64_t tried = config_.micro_batch > 0 ? config_.micro_batch : m;
  const std::string what = fmt::format("{} slices of {}x{} at once do not fit; ", tried,
                                       config_.image_size, config_.image_size);
  if (ranks_.ranks() > 1)
    return what + fmt::format("try --micro-batch {}", std::max<std::int64_t>(1, tried / 2));
  for (std::int64_t count = tried / 2; count >= 1; count /= 2) {
    try {
      const torch::Tensor views = draw_views(batch.hu, batch_views(config_, 0, 0, m), view_drawing(config_));
      (void)backward_batch(*setup_.method, views, targets_.targets(batch.rows, device_),
                           {count, config_.precision, 1.0}, scaler_, ranks_);
      return what +
             fmt::format("--micro-batch {} does (tried), with the gradient of the whole batch",
                         count);
    } catch (const std::exception& e) {
      if (!is_out_of_memory(e)) break;
    }
  }
  return what + "no micro-batch does: use a smaller --batch or --image-size";
}

}  // namespace

TrainSummary train(TrainConfig config, const RunOptions& options) {
  try {
    at::set_num_threads(std::max(1, options.threads));
    auto trainer = std::make_unique<Trainer>(std::move(config), options);
    try {
      return trainer->run();
    } catch (const std::exception& e) {
      if (is_card_lost(e)) (void)trainer.release();
      throw;
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

}  // namespace wsp::train
