#include "train/engine/trainer.hpp"

#include <fmt/format.h>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"
#include "train/engine/views.hpp"

namespace wsp::train {
namespace {

OptimizerOptions optimizer_options(const TrainConfig& config) {
  OptimizerOptions o;
  o.name = config.optimizer;
  o.weight_decay = config.weight_decay;
  return o;
}

// What a run writes; nothing else in RUN is ever touched.
constexpr const char* kRunFiles[] = {"config.resolved.json", "run.json",   "metrics.jsonl",
                                     "encoder.safetensors",  kBestWeights, "checkpoints",
                                     "tensorboard"};

}  // namespace

Trainer::Trainer(TrainConfig config, const RunOptions& options)
    : options_(options),
      environment_(rank_environment()),
      device_(choose_device(options.device, environment_.local_rank)),
      setup_(std::move(config), options, environment_.ranks, device_),
      config_(setup_.config),
      ranks_(environment_, device_, options.timeout_s),
      parameters_(*setup_.method),
      gradient_sum_(parameters_, *setup_.method, ranks_),
      optimizer_(parameters_, optimizer_options(config_)),
      scaler_(config_.precision == "fp16"),
      // The scale of float16 follows from the last step's numbers: there they cannot be late.
      reads_late_((device_.is_cuda() || options.read_late) && !scaler_.on()),
      store_(options.out, options.keep),
      targets_(setup_.set, setup_.reader.slices().size()) {}

void Trainer::judge_directory() const {
  judge_run_directory(options_.out, kRunFiles, options_.force || options_.resume);
}

void Trainer::clear_earlier_run() {
  store_.remove_all();
  clear_run_directory(options_.out, kRunFiles);
}

// Every rank must compute the same thing, or the sum of their gradients means nothing.
void Trainer::compare_ranks() {
  const Digest digest = sha256(json_text(to_json(config_)));
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
  for (torch::Tensor buffer : setup_.method->buffers()) ranks_.broadcast(buffer);
  for (torch::Tensor moment : optimizer_.flat_state()) ranks_.broadcast(moment);
  for (auto& parameter : setup_.method->named_parameters())  // targets, which no optimizer moves
    if (!parameter.value().requires_grad()) {
      torch::Tensor frozen =
          parameter.value().detach().contiguous();  // for any layout of the weights
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
  if (position_.pending() == 0) return;
  for (int rank = 1; rank < ranks_.ranks(); ++rank) {
    torch::Tensor theirs = ranks_.first()
                               ? rank_gradients_[static_cast<std::size_t>(rank - 1)].to(device_)
                               : torch::empty_like(parameters_.gradients());
    ranks_.broadcast(theirs);
    if (rank == environment_.rank) parameters_.gradients().copy_(theirs);
  }
}

void Trainer::start() {
  steps_per_epoch_ = setup_.sampler.steps_per_epoch();
  total_batches_ = config_.epochs * steps_per_epoch_;
  if (config_.max_steps > 0) total_batches_ = std::min(total_batches_, config_.max_steps);
  compare_ranks();
  ranks_.first_alone([this] { begin_or_go_on(); });
  share_state();
  resumed_at_ = position_.batches;
  stop_early_ = options_.patience > 0 && position_.epochs_since_best >= options_.patience;
}

// Rank 0's part: its directory, its checkpoint, its logs.
void Trainer::begin_or_go_on() {
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
  remove_halves(options_.out, kRunFiles);
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
                          config_, options_.may_extend);
    log::warn("--resume: there is no checkpoint yet; starting from the beginning");
    return;
  }
  for (const auto& path : found->corrupt)
    log::warn("passed over a damaged checkpoint: " + path.filename().string());
  try {
    position_ =
        unpack_state(found->state, *setup_.method, parameters_, optimizer_, scaler_,
                     [&](const nlohmann::json& was) {
                       refuse_other_config(config_from_json(was), config_, options_.may_extend);
                     });
    rank_gradients_.clear();
    for (int rank = 1; rank < ranks_.ranks() && position_.pending() != 0; ++rank)
      rank_gradients_.push_back(unpack_gradients(found->state, parameters_, rank));
    restore_best_weights(
        store_, options_.out / kBestWeights, found->state, position_,
        [this](const TensorFile& from) {
          position_ = unpack_state(from, *setup_.method, parameters_, optimizer_, scaler_,
                                   [](const auto&) {});
        },
        [this] { export_weights(kBestWeights); });
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
  summary.last_probe = position_.last_probe;
  summary.best_probe = position_.best_probe;
  summary.stopped_early = stop_early_;
  summary.weights = options_.out / "encoder.safetensors";
  summary.rank = environment_.rank;
  return summary;
}

void Trainer::train_loop() try {
  const auto source = [this](std::int64_t i) -> std::vector<std::uint32_t> {
    if (i >= total_batches_) return {};
    auto rows = rank_share(setup_.sampler.batch(i / steps_per_epoch_, i % steps_per_epoch_),
                           environment_.rank, environment_.ranks);
    for (std::uint32_t& row : rows) row = setup_.set.slices[row].row;
    return rows;
  };
  setup_.method->train();
  if (position_.batches == 0)
    ranks_.first_alone([this] { probe(); });  // what an untrained encoder can tell
  if (position_.probe_due) judge_epoch();
  batches_ = std::make_unique<DeviceBatches>(setup_.reader, source, position_.batches,
                                             setup_.loader_options(), device_);
  if (options_.cuda_graph == "on")
    graph_.emplace(make_cuda_recorder(device_), [this](const torch::Tensor& views,
                                                       const Targets& targets) {
      return backward_batch(*setup_.method, views, targets, step_options(true), scaler_, ranks_);
    });
  if (ranks_.first())
    progress_ = std::make_unique<Progress>(
        "training", static_cast<std::uint64_t>(total_batches_ * config_.batch), "slices",
        static_cast<std::uint64_t>(position_.batches * config_.batch));
  started_ = line_started_ = std::chrono::steady_clock::now();
  line_steps_ = 0;
  while (!stop_early_ && (batch_ = batches_->next())) {
    bool epoch_complete = false;
    try {
      epoch_complete = one_batch(*batch_);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      if (!is_out_of_memory(e)) throw;
      graph_.reset();  // its pool is memory too
      throw store_.with_way_on({ErrorCode::failure, "out of memory on " + device_.str() + ". " +
                                                        fitting_micro_batch(*batch_)});
    }
    const bool stop = stop_requested();
    if (epoch_complete) end_of_epoch();
    if (stop) {
      if (!epoch_complete) save_together();
      leave_interrupted();
    }
  }
  batch_.reset();
  if (progress_) progress_->finish();
} catch (const Error&) {
  throw;
} catch (const std::exception& e) {
  throw store_.with_way_on(readable_error(e));
}

TrainSummary train(TrainConfig config, const RunOptions& options) {
  try {
    at::set_num_threads(std::max(1, options.threads));
    return leaking_if_card_lost(std::make_unique<Trainer>(std::move(config), options),
                                [](Trainer& trainer) { return trainer.run(); });
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

}  // namespace wsp::train
