#include "train/run/loop.hpp"

#include <fmt/format.h>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp::train {
namespace {

constexpr const char* kConfig = "config.resolved.json";

}  // namespace

Loop::Loop(Task& task, const RunOptions& options, const RankEnvironment& environment)
    : task_(task),
      facts_(task.facts()),
      options_(options),
      device_(task.device()),
      ranks_(environment, device_, options.timeout_s),
      parameters_(task.module()),
      gradient_sum_(parameters_, task.module(), ranks_),
      optimizer_(parameters_, facts_.optimizer),
      scaler_(facts_.fp16),
      // The scale of float16 follows from the last step's numbers: there they cannot be late.
      reads_late_((device_.is_cuda() || options.read_late) && !scaler_.on()),
      store_(options.out, options.keep),
      files_{kConfig,
             "run.json",
             "metrics.jsonl",
             facts_.weights + ".safetensors",
             facts_.weights + "-best.safetensors",
             "checkpoints",
             "tensorboard"} {}

std::filesystem::path Loop::weights() const {
  return options_.out / (facts_.weights + ".safetensors");
}

std::filesystem::path Loop::best_weights() const {
  return options_.out / (facts_.weights + "-best.safetensors");
}

void Loop::judge_directory() const {
  judge_run_directory(options_.out, files_, options_.force || options_.resume);
}

void Loop::clear_earlier_run() {
  store_.remove_all();
  clear_run_directory(options_.out, files_);
}

// Every rank must compute the same thing, or the sum of their gradients means nothing.
void Loop::compare_ranks() {
  if (ranks_.ranks() == 1) return;
  const Digest digest = sha256(json_text(task_.config()));
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
void Loop::share_state() {
  if (ranks_.ranks() == 1) return;
  ranks_.broadcast(parameters_.values());
  for (torch::Tensor buffer : task_.module().buffers()) ranks_.broadcast(buffer);
  for (torch::Tensor moment : optimizer_.flat_state()) ranks_.broadcast(moment);
  for (auto& parameter : task_.module().named_parameters())  // targets, which no optimizer moves
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
    if (rank == ranks_.rank()) parameters_.gradients().copy_(theirs);
  }
}

void Loop::start() {
  compare_ranks();
  ranks_.first_alone([this] { begin_or_go_on(); });
  share_state();
  resumed_at_ = position_.batches;
  stop_early_ = options_.patience > 0 && position_.epochs_since_best >= options_.patience;
}

// Rank 0's part: its directory, its checkpoint, its logs.
void Loop::begin_or_go_on() {
  // 1. Everything that can be refused is refused before anything is written.
  if (std::filesystem::exists(options_.out)) judge_directory();
  task_.prepare();
  if (options_.patience > 0 && !is_judged())
    throw Error(
        ErrorCode::usage,
        fmt::format("--patience waits for a better {}, but there is none: {}", facts_.judgement,
                    options_.probe_every > 0 ? task_.unjudged() : facts_.every + " is 0"));
  directory_ = std::make_unique<RunDirectory>(options_.out);
  judge_directory();
  if (options_.resume) load_checkpoint();
  // 2. From here on the run's own files may change.
  remove_halves(options_.out, files_);
  if (options_.force || (options_.resume && position_.batches == 0)) clear_earlier_run();
  directory_->write_json(kConfig, task_.config());
  run_facts_ = task_.run_facts();
  run_facts_["first_batch"] = position_.batches;
  directory_->write_json("run.json", run_facts_);
  log_ = std::make_unique<RunLog>(options_.out, options_.tensorboard, position_.batches > 0,
                                  position_.batches);
  log_->text("config", "```json\n" + task_.config().dump(2) + "\n```");
  for (const std::string& line : task_.notes()) log::info(line);
  for (const std::string& line : task_.warnings()) log::warn(line);
}

void Loop::load_checkpoint() {
  const auto found = store_.newest();
  if (!found) {
    // A run that ended before its first checkpoint is begun again; one that lost its checkpoints is
    // not.
    if (std::filesystem::exists(weights()))
      throw Error(ErrorCode::corrupt, options_.out.string() +
                                          " has weights but no checkpoint to resume from: start it "
                                          "again with --force, or give another --out");
    if (std::filesystem::exists(options_.out / kConfig))
      task_.refuse_other(load_json(options_.out / kConfig));
    log::warn("--resume: there is no checkpoint yet; starting from the beginning");
    return;
  }
  for (const auto& path : found->corrupt)
    log::warn("passed over a damaged checkpoint: " + path.filename().string());
  const auto unpack = [this](const TensorFile& from,
                             const std::function<void(const nlohmann::json&)>& refuse_other) {
    position_ = unpack_state(from, task_.module(), parameters_, optimizer_, scaler_, refuse_other);
  };
  try {
    unpack(found->state, [this](const nlohmann::json& was) { task_.refuse_other(was); });
    rank_gradients_.clear();
    for (int rank = 1; rank < ranks_.ranks() && position_.pending() != 0; ++rank)
      rank_gradients_.push_back(unpack_gradients(found->state, parameters_, rank));
    restore_best_weights(
        store_, best_weights(), found->state, position_,
        [&](const TensorFile& from) { unpack(from, [](const nlohmann::json&) {}); },
        [this] { save_best_weights(); });
  } catch (Error& e) {
    throw e.within("while resuming from " + found->path.filename().string());
  }
  store_.set_aside(found->corrupt);
  log::info(fmt::format("going on after {} of {} steps", position_.batches, facts_.total_batches));
}

LoopResult Loop::run() {
  start();
  LoopResult result;
  if (task_.trains() && !stop_early_ &&
      (position_.batches < facts_.total_batches || position_.judgement_due)) {
    train_loop();
    const double seconds = seconds_since(started_);
    result.summary.slices_per_s =
        static_cast<double>((position_.batches - resumed_at_) * facts_.batch) / seconds;
    result.summary.wait_share = batches_->statistics().waited_s / seconds;
  }
  if (ranks_.first()) {
    task_.save_weights(weights(), false, position_.batches);
    run_facts_["batches"] = position_.batches;
    run_facts_["ended"] = utc_now();
    run_facts_["exit"] = stop_early_ ? "stopped early" : "done";
    directory_->write_json("run.json", run_facts_);
  }
  result.position = position_;
  RunSummary& s = result.summary;
  s.steps = position_.batches;
  s.epochs = position_.batches / facts_.steps_per_epoch;
  s.first_loss = position_.first_loss;
  s.last_loss = position_.last_loss;
  s.stopped_early = stop_early_;
  s.weights = weights();
  return result;
}

void Loop::train_loop() try {
  task_.module().train();
  if (position_.batches == 0 && task_.judges_untrained())
    ranks_.first_alone([this] { judge(); });  // what an untrained network can tell
  if (position_.judgement_due) judge_epoch();
  batches_ = task_.batches(position_.batches);
  if (ranks_.first())
    progress_ = std::make_unique<Progress>(
        "training", static_cast<std::uint64_t>(facts_.total_batches * facts_.batch), "slices",
        static_cast<std::uint64_t>(position_.batches * facts_.batch));
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
      throw store_.with_way_on(
          {ErrorCode::failure, "out of memory on " + device_.str() + ": " +
                                   task_.does_not_fit(*batch_, {false, scaler_, ranks_})});
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

LoopResult run_task(const std::function<std::unique_ptr<Task>()>& make, const RunOptions& options,
                    const RankEnvironment& environment) {
  // All that lies on a card.
  struct Held {
    Held(std::unique_ptr<Task> made, const RunOptions& o, const RankEnvironment& e)
        : task(std::move(made)), loop(*task, o, e) {}
    std::unique_ptr<Task> task;
    Loop loop;
  };
  try {
    at::set_num_threads(std::max(1, options.threads));
    return leaking_if_card_lost(std::make_unique<Held>(make(), options, environment),
                                [](Held& held) { return held.loop.run(); });
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

}  // namespace wsp::train
