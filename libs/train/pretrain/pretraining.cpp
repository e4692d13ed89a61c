#include "train/pretrain/pretraining.hpp"

#include <fmt/format.h>

#include <cmath>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "train/data/provenance.hpp"
#include "train/pretrain/train.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/device.hpp"
#include "train/run/loop.hpp"

namespace wsp::train {
namespace {

// Throws Error(usage) when two configurations compute different things, naming each difference.
// Another --micro-batch is only said: a run that ran out of memory goes on with a smaller one. So
// is a later end (--epochs, --max-steps) with `may_extend`: the run then follows the learning rate
// of the longer schedule.
void refuse_other_config(const TrainConfig& was, const TrainConfig& is, bool may_extend) {
  TrainConfig allowed = was;
  allowed.micro_batch = is.micro_batch;
  const bool extended = may_extend && ends_later(was, is);
  if (extended) {
    allowed.epochs = is.epochs;
    allowed.max_steps = is.max_steps;
  }
  if (!differences(allowed, is).empty()) refuse_differences(differences(was, is));
  if (extended) say_extended();
  if (was.micro_batch != is.micro_batch)
    log::warn(
        fmt::format("--micro-batch was {}, is {}: the gradient stays that of the whole batch, but "
                    "for rounding and, with --norm "
                    "batch, for statistics over each micro-batch",
                    was.micro_batch, is.micro_batch));
}

TaskFacts facts_of(const TrainSetup& setup) {
  const TrainConfig& c = setup.config;
  TaskFacts f;
  f.weights = "encoder";
  f.judgement = "probe";
  f.every = "--probe-every";
  f.views = "slice, view 1, view 2";
  f.batch = c.batch;
  f.epochs = c.epochs;
  f.steps_per_epoch = setup.sampler.steps_per_epoch();
  f.total_batches = c.epochs * f.steps_per_epoch;
  if (c.max_steps > 0) f.total_batches = std::min(f.total_batches, c.max_steps);
  f.accumulate = c.accumulate;
  f.clip_norm = c.clip_norm;
  f.warmup_epochs = c.warmup_epochs;
  f.optimizer.name = c.optimizer;
  f.optimizer.weight_decay = c.weight_decay;
  f.fp16 = c.precision == "fp16";
  return f;
}

// Both views of slices [at, at + count) of hu [m, s, s]. parameters: [2m], of all of them.
torch::Tensor views_of_piece(const TrainConfig& config, const torch::Tensor& hu,
                             const std::vector<ViewParameters>& parameters, std::int64_t at,
                             std::int64_t count) {
  std::vector<ViewParameters> some;
  for (const std::int64_t view : {std::int64_t{0}, hu.size(0)})
    for (std::int64_t i = 0; i < count; ++i)
      some.push_back(parameters[static_cast<std::size_t>(view + at + i)]);
  return draw_views(hu.narrow(0, at, count), some, view_drawing(config));
}

}  // namespace

Pretraining::Pretraining(TrainConfig config, const RunOptions& options,
                         const RankEnvironment& environment)
    : options_(options),
      environment_(environment),
      device_(choose_device(options.device, environment.local_rank)),
      setup_(std::move(config), options, environment.ranks, device_),
      config_(setup_.config),
      facts_(facts_of(setup_)),
      targets_(setup_.set, setup_.reader.slices().size()) {}

void Pretraining::refuse_other(const nlohmann::json& was) const {
  refuse_other_config(config_from_json(was), config_, options_.may_extend);
}

void Pretraining::prepare() {
  if (options_.probe_every > 0 && setup_.method->trains())
    probe_ = std::make_unique<ProbePass>(
        setup_.reader, setup_.set,
        options_.probe_label.empty() ? config_.label : options_.probe_label,
        setup_.loader_options());
}

std::string Pretraining::unjudged() const {
  return probe_ ? probe_->reason() : "the method trains nothing";
}

nlohmann::json Pretraining::run_facts() const {
  return train::run_facts(setup_, environment_, device_);
}

std::vector<std::string> Pretraining::warnings() const {
  std::vector<std::string> lines = setup_.sampler.warnings();
  if (probe_ && !probe_->possible()) lines.push_back("no online probe: " + probe_->reason());
  return lines;
}

// Rows of the index, over all ranks.
std::vector<std::uint32_t> Pretraining::rows_of(std::int64_t batch) const {
  auto rows = setup_.sampler.batch(batch / facts_.steps_per_epoch, batch % facts_.steps_per_epoch);
  for (std::uint32_t& row : rows) row = setup_.set.slices[row].row;
  return rows;
}

std::unique_ptr<DeviceBatches> Pretraining::batches(std::int64_t first) {
  const auto source = [this](std::int64_t i) -> std::vector<std::uint32_t> {
    if (i >= facts_.total_batches) return {};
    return rank_share(rows_of(i), environment_.rank, environment_.ranks);
  };
  return std::make_unique<DeviceBatches>(setup_.reader, source, first, setup_.loader_options(),
                                         device_);
}

// Rows of the index of the whole batch. Every rank draws them all; only slices put in the place of
// damaged ones must be asked for.
std::vector<std::uint32_t> Pretraining::all_rows(const DeviceBatch& batch, Ranks& ranks) const {
  if (ranks.ranks() == 1) return batch.rows;
  if (!config_.skip_corrupt) return rows_of(batch.number);
  torch::Tensor rows = torch::empty({std::ssize(batch.rows)}, torch::kLong);
  std::copy(batch.rows.begin(), batch.rows.end(), rows.data_ptr<std::int64_t>());
  rows = rows.to(device_);
  const torch::Tensor gathered = ranks.gather_views(torch::cat({rows, rows})).chunk(2)[0];
  ranks.settle(ranks.joined());
  const torch::Tensor all = gathered.to(torch::kCPU);
  const auto* first = all.data_ptr<std::int64_t>();
  return {first, first + all.numel()};
}

BatchGradient Pretraining::backward(DeviceBatch& batch, const BatchContext& context) {
  const GradScaler& scaler = context.scaler;
  Ranks& ranks = context.ranks;
  // 1. Two views of every slice, drawn on the device: a function of (seed, epoch, place in the
  // epoch).
  const std::int64_t step = batch.number % facts_.steps_per_epoch;
  const auto m = static_cast<std::int64_t>(batch.rows.size());
  const auto parameters = batch_views(config_, batch.number / facts_.steps_per_epoch,
                                      step * config_.batch + environment_.rank * m, m);
  // On a card a micro-batch's views are drawn when their turn comes, twice: memory is what
  // micro-batches are for.
  const std::int64_t piece =
      device_.is_cuda() && config_.micro_batch > 0 ? std::min(config_.micro_batch, m) : m;
  const auto views_of = [&](std::int64_t at, std::int64_t count) {
    return views_of_piece(config_, batch.hu, parameters, at, count);
  };
  torch::Tensor views;
  if (piece == m) views = draw_views(batch.hu, parameters, view_drawing(config_));

  // 2. The gradient of the whole batch, over micro-batches and ranks.
  BatchGradient out;
  out.rows = all_rows(batch, ranks);
  const Targets targets = targets_.targets(out.rows, device_);
  const StepOptions how{config_.micro_batch, config_.precision,
                        1.0 / static_cast<double>(config_.accumulate),
                        context.before_last_backward};
  if (options_.cuda_graph == "on" && !graph_)
    graph_.emplace(make_cuda_recorder(device_),
                   [this, how, &scaler, &ranks](const torch::Tensor& both, const Targets& of_both) {
                     return backward_batch(*setup_.method, both, of_both, how, scaler, ranks);
                   });
  const StepResult result =
      graph_            ? graph_->run(views, targets)
      : views.defined() ? backward_batch(*setup_.method, views, targets, how, scaler, ranks)
                        : backward_batch(*setup_.method, views_of, m, targets, how, scaler, ranks);
  out.loss = result.loss;
  out.detail = result.embeddings;

  // 3. The pictures.
  if (context.show) {
    const std::int64_t shown = views.defined() ? m : std::min<std::int64_t>(4, m);
    out.hu = batch.hu.narrow(0, 0, shown);
    out.views = views.defined() ? views : views_of(0, shown);
  }
  return out;
}

RunLog::Fields Pretraining::line(const torch::Tensor& embeddings,
                                 const std::vector<std::uint32_t>& rows, std::int64_t step) {
  const Telemetry t =
      measure_telemetry(embeddings, targets_.targets(rows, torch::kCPU), setup_.method->kernel());
  if (alarm_.update(t.embedding_std))
    log::warn(
        fmt::format("the embeddings have collapsed: their standard deviation is {:.3f} of a "
                    "uniform spread at step {}; lower --lr or look at the labels",
                    t.embedding_std, step));
  return {{"effective_positives", t.kernel.effective_positives},
          {"kernel_entropy", t.kernel.entropy},
          {"alignment", t.alignment},
          {"uniformity", t.uniformity},
          {"rank_me", t.rank_me},
          {"embedding_std", t.embedding_std}};
}

std::string Pretraining::note(double loss, double wait_share, const Position& /*position*/) const {
  return fmt::format("loss {:.4f}  waiting {:.1f} %", loss, 100 * wait_share);
}

RunLog::Fields Pretraining::epoch_line(const Position& position) const {
  return {{"corrupt_slices", position.corrupt_slices}};
}

std::optional<double> Pretraining::judge(RunLog& log, std::int64_t step) {
  const ProbeResult result = probe_->run(setup_.method->encoder(), device_);
  log.add("probe", step,
          {{"knn_balanced_accuracy", result.knn.balanced_accuracy},
           {"knn_auc", result.knn.auc},
           {"balanced_accuracy", result.logistic.balanced_accuracy},
           {"auc", result.logistic.auc},
           {"subjects", result.logistic.subjects}});
  if (!std::isfinite(result.logistic.balanced_accuracy)) return std::nullopt;
  std::vector<std::vector<std::string>> rows;
  for (const TrainSlice& s : probe_->held_back_slices())
    rows.push_back({setup_.set.subjects[static_cast<std::size_t>(s.subject)],
                    std::to_string(s.label), fmt::format("{:.3f}", s.depth)});
  log.set_projection(probe_->held_back().features, {"subject", "label", "depth"}, rows);
  return result.logistic.balanced_accuracy;
}

std::string Pretraining::score_text(const Position& position) const {
  return fmt::format("probe {:.3f} (best {:.3f})", position.last_score, position.best_score);
}

void Pretraining::save_weights(const std::filesystem::path& path, bool /*best*/,
                               std::int64_t step) {
  std::vector<std::pair<std::string, std::string>> about{
      {"wsp.method", config_.method},
      {"wsp.image_size", std::to_string(config_.image_size)},
      {"wsp.steps", std::to_string(step)},
      {"wsp.seed", std::to_string(config_.seed)},
      {"wsp.dataset_sha256", config_.dataset_sha256}};
  if (setup_.trained_on) about.emplace_back("wsp.trained_on", marks_text(*setup_.trained_on));
  save_encoder_weights(setup_.method->encoder(), path, about);
}

// Halves the slices embedded at once until a step goes through; nothing that it computes is kept.
std::string Pretraining::does_not_fit(const DeviceBatch& batch, const BatchContext& context) {
  graph_.reset();  // its pool is memory too
  const auto m = static_cast<std::int64_t>(batch.rows.size());
  const std::int64_t tried = config_.micro_batch > 0 ? config_.micro_batch : m;
  const std::string what = fmt::format("{} slices of {}x{} at once do not fit; ", tried,
                                       config_.image_size, config_.image_size);
  if (context.ranks.ranks() > 1)
    return what + fmt::format("try --micro-batch {}", std::max<std::int64_t>(1, tried / 2));
  const auto parameters = batch_views(config_, 0, 0, m);
  const auto views_of = [&](std::int64_t at, std::int64_t count) {
    return views_of_piece(config_, batch.hu, parameters, at, count);
  };
  for (std::int64_t count = tried / 2; count >= 1; count /= 2) {
    try {
      // As a run with it would: only a micro-batch's views are in memory at once.
      (void)backward_batch(*setup_.method, views_of, m, targets_.targets(batch.rows, device_),
                           {count, config_.precision, 1.0}, context.scaler, context.ranks);
      return what +
             fmt::format("--micro-batch {} does (tried), with the gradient of the whole batch",
                         count);
    } catch (const std::exception& e) {
      if (!is_out_of_memory(e)) break;
    }
  }
  return what + "no micro-batch does: use a smaller --batch or --image-size";
}

TrainSummary train(TrainConfig config, const RunOptions& options) {
  const RankEnvironment environment = rank_environment();
  const LoopResult result = run_task(
      [&] { return std::make_unique<Pretraining>(std::move(config), options, environment); },
      options, environment);
  TrainSummary s{result.summary};
  s.first_probe = result.position.first_score;
  s.last_probe = result.position.last_score;
  s.best_probe = result.position.best_score;
  s.corrupt_slices = result.position.corrupt_slices;
  s.rank = environment.rank;
  return s;
}

}  // namespace wsp::train
