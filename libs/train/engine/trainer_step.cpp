#include <fmt/format.h>

#include <cmath>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "train/engine/trainer.hpp"
#include "train/engine/views.hpp"

namespace wsp::train {
namespace {

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

// Rows of the index of the whole batch. Every rank draws them all; only slices put in the place of
// damaged ones must be asked for.
std::vector<std::uint32_t> Trainer::all_rows(const DeviceBatch& batch) {
  if (ranks_.ranks() == 1) return batch.rows;
  if (!config_.skip_corrupt) {
    auto rows =
        setup_.sampler.batch(batch.number / steps_per_epoch_, batch.number % steps_per_epoch_);
    for (std::uint32_t& row : rows) row = setup_.set.slices[row].row;
    return rows;
  }
  torch::Tensor rows = torch::empty({std::ssize(batch.rows)}, torch::kLong);
  std::copy(batch.rows.begin(), batch.rows.end(), rows.data_ptr<std::int64_t>());
  rows = rows.to(device_);
  const torch::Tensor gathered = ranks_.gather_views(torch::cat({rows, rows})).chunk(2)[0];
  ranks_.settle(ranks_.joined());
  const torch::Tensor all = gathered.to(torch::kCPU);
  const auto* first = all.data_ptr<std::int64_t>();
  return {first, first + all.numel()};
}

// One batch, as numbered prose; true when an epoch is complete with it.
bool Trainer::one_batch(DeviceBatch& batch) {
  // 1. Two views of every slice, drawn on the device: a function of (seed, epoch, place in the
  // epoch).
  const std::int64_t step = batch.number % steps_per_epoch_;
  const auto m = static_cast<std::int64_t>(batch.rows.size());
  const auto parameters = batch_views(config_, batch.number / steps_per_epoch_,
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
  std::vector<std::uint32_t> rows = all_rows(batch);
  const Targets targets = targets_.targets(rows, device_);
  Step now;
  now.updates =
      position_.pending() + 1 == config_.accumulate || position_.batches + 1 == total_batches_;
  const StepOptions how = step_options(now.updates);
  const StepResult result =
      graph_ ? graph_->run(views, targets)
      : views.defined()
          ? backward_batch(*setup_.method, views, targets, how, scaler_, ranks_)
          : backward_batch(*setup_.method, views_of, m, targets, how, scaler_, ranks_);
  ++position_.batches;

  // 3. A step of the optimizer, where enough batches are together; nothing that is not finite
  // reaches it.
  now.batch = position_.batches;
  torch::Tensor norm = torch::zeros_like(result.loss);
  if (reads_late_) {
    if (now.updates) norm = apply_gradients_unless_not_finite(result.loss);
  } else {
    ranks_.settle(ranks_.joined());
    if (!std::isfinite(result.loss.item<double>())) refuse_not_finite("the loss", now.batch);
    if (now.updates) norm = torch::full({}, apply_gradients(), torch::kDouble);
  }
  now.learning_rate = position_.learning_rate;

  // 4. What the run says of itself, as soon as it is known: of this step, or of the one before
  // while the device works.
  const bool epoch_complete =
      position_.batches % steps_per_epoch_ == 0 || position_.batches == total_batches_;
  std::vector<torch::Tensor> numbers{result.loss.to(torch::kDouble),
                                     norm.to(device_, torch::kDouble)};
  if (reads_late_ && ranks_.ranks() > 1) {
    numbers.push_back(torch::full({}, interrupt_signal(), numbers[0].options()));
    ranks_.begin_maximum(numbers.back());
    ranks_.join();
  }
  now.joined = ranks_.joined();
  now.numbers = OnItsWay(torch::stack(numbers));
  now.line_due =
      ranks_.first() && (position_.batches == 1 || position_.batches % options_.log_every == 0);
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
  if (!epoch_complete && options_.checkpoint_every > 0 &&
      position_.batches % options_.checkpoint_every == 0)
    save_together();
  return epoch_complete;
}

void Trainer::refuse_not_finite(const char* what, std::int64_t batch) const {
  throw Error(ErrorCode::failure,
              fmt::format("{} is not finite at step {}: stopped before it could be kept. {}Try a "
                          "smaller --lr, --clip-norm 1 or --precision fp32",
                          what, batch, store_.any() ? "The last checkpoint is sound. " : ""));
}

// The gradient of the optimizer's step out of what the batches and ranks added up.
void Trainer::finish_gradients() {
  torch::Tensor& gradients = parameters_.gradients();
  gradient_sum_.finish();
  if (scaler_.on()) gradients.mul_(1 / scaler_.scale());
  // The last step of a run may have fewer batches than the others; it is their mean all the same.
  if (const std::int64_t together = position_.pending(); together != config_.accumulate)
    gradients.mul_(static_cast<double>(config_.accumulate) / static_cast<double>(together));
  position_.applied = position_.batches;
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
  ranks_.settle(ranks_.joined());
  const double norm = parameters_.gradient_norm().item<double>();
  const bool finite = std::isfinite(norm);
  if (!scaler_.update(finite)) refuse_not_finite("a gradient", position_.batches);
  if (finite) {
    if (config_.clip_norm > 0 && norm > config_.clip_norm) gradients.mul_(config_.clip_norm / norm);
    const double progress = next_learning_rate();
    optimizer_.step(position_.learning_rate);
    setup_.method->after_step(progress);
  } else if (ranks_.first()) {
    log::info(
        fmt::format("the gradient overflowed float16 at step {}: passed over, its scale is {} now",
                    position_.batches, scaler_.scale()));
  }
  parameters_.zero_gradients();
  return finite ? norm : position_.gradient_norm;
}

// The same without waiting: the run stops when it has read numbers that are not finite. Returns the
// norm, on the device.
torch::Tensor Trainer::apply_gradients_unless_not_finite(const torch::Tensor& loss) {
  torch::NoGradGuard no_grad;
  finish_gradients();
  const double progress = next_learning_rate();
  const torch::Tensor norm =
      step_where_finite(parameters_, optimizer_, loss, config_.clip_norm, position_.learning_rate);
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
  ranks_.settle(step.joined);
  const torch::Tensor& numbers = step.numbers.get();
  const double loss = numbers[0].item<double>(), norm = numbers[1].item<double>();
  if (numbers.size(0) > 2) signal_ = std::max(signal_, static_cast<int>(numbers[2].item<double>()));
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
  line_started_ = std::chrono::steady_clock::now();
  line_waited_ = waited;
}

// Halves the slices embedded at once until a step goes through; nothing that it computes is kept.
std::string Trainer::fitting_micro_batch(const DeviceBatch& batch) {
  const auto m = static_cast<std::int64_t>(batch.rows.size());
  const std::int64_t tried = config_.micro_batch > 0 ? config_.micro_batch : m;
  const std::string what = fmt::format("{} slices of {}x{} at once do not fit; ", tried,
                                       config_.image_size, config_.image_size);
  if (ranks_.ranks() > 1)
    return what + fmt::format("try --micro-batch {}", std::max<std::int64_t>(1, tried / 2));
  const auto parameters = batch_views(config_, 0, 0, m);
  const auto views_of = [&](std::int64_t at, std::int64_t count) {
    return views_of_piece(config_, batch.hu, parameters, at, count);
  };
  for (std::int64_t count = tried / 2; count >= 1; count /= 2) {
    try {
      // As a run with it would: only a micro-batch's views are in memory at once.
      (void)backward_batch(*setup_.method, views_of, m, targets_.targets(batch.rows, device_),
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

}  // namespace wsp::train
