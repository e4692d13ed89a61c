#include <fmt/format.h>

#include <cmath>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "train/run/loop.hpp"

namespace wsp::train {

// One batch, as numbered prose; true when an epoch is complete with it.
bool Loop::one_batch(DeviceBatch& batch) {
  // 1. The gradient of the whole batch, over micro-batches and ranks.
  BatchContext context{ranks_.first() && batch.number % facts_.steps_per_epoch == 0, scaler_,
                       ranks_};
  Step now;
  now.updates =
      position_.pending() + 1 == facts_.accumulate || position_.batches + 1 == facts_.total_batches;
  if (now.updates && ranks_.ranks() > 1)
    context.before_last_backward = [this] { gradient_sum_.arm(); };
  BatchGradient result = task_.backward(batch, context);
  ++position_.batches;

  // 2. A step of the optimizer, where enough batches are together; nothing that is not finite
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

  // 3. What the run says of itself, as soon as it is known: of this step, or of the one before
  // while the device works.
  const bool epoch_complete =
      position_.batches % facts_.steps_per_epoch == 0 || position_.batches == facts_.total_batches;
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
  if (now.line_due && result.detail.defined()) {
    now.detail = OnItsWay(result.detail);
    now.rows = std::move(result.rows);
  }
  open_steps_.push_back(std::move(now));
  if (ranks_.first()) progress_->advance(static_cast<std::uint64_t>(facts_.batch));
  if (context.show) log_->add_views(position_.batches, result.hu, result.views, facts_.views);
  settle(reads_late_ && !epoch_complete ? 1 : 0);
  if (!epoch_complete && options_.checkpoint_every > 0 &&
      position_.batches % options_.checkpoint_every == 0)
    save_together();
  return epoch_complete;
}

void Loop::refuse_not_finite(const char* what, std::int64_t batch) const {
  throw Error(ErrorCode::failure,
              fmt::format("{} is not finite at step {}: stopped before it could be kept. {}Try a "
                          "smaller --lr, --clip-norm 1 or --precision fp32",
                          what, batch, store_.any() ? "The last checkpoint is sound. " : ""));
}

// The gradient of the optimizer's step out of what the batches and ranks added up.
void Loop::finish_gradients() {
  torch::Tensor& gradients = parameters_.gradients();
  gradient_sum_.finish();
  if (scaler_.on()) gradients.mul_(1 / scaler_.scale());
  // The last step of a run may have fewer batches than the others; it is their mean all the same.
  if (const std::int64_t together = position_.pending(); together != facts_.accumulate)
    gradients.mul_(static_cast<double>(facts_.accumulate) / static_cast<double>(together));
  position_.applied = position_.batches;
}

double Loop::next_learning_rate() {
  const auto steps = [&](std::int64_t batches) {
    return (batches + facts_.accumulate - 1) / facts_.accumulate;
  };
  const std::int64_t total = steps(facts_.total_batches), done = steps(position_.batches);
  const auto warmup = static_cast<std::int64_t>(
      std::lround(facts_.warmup_epochs * static_cast<double>(facts_.steps_per_epoch) /
                  static_cast<double>(facts_.accumulate)));
  position_.learning_rate = task_.rate(done - 1, total, warmup);
  return static_cast<double>(done) / static_cast<double>(total);
}

// Returns the norm of the last gradient that was finite: in float16 others are passed over.
double Loop::apply_gradients() {
  torch::NoGradGuard no_grad;
  finish_gradients();
  torch::Tensor& gradients = parameters_.gradients();
  ranks_.settle(ranks_.joined());
  const double norm = parameters_.gradient_norm().item<double>();
  const bool finite = std::isfinite(norm);
  if (!scaler_.update(finite)) refuse_not_finite("a gradient", position_.batches);
  if (finite) {
    if (facts_.clip_norm > 0 && norm > facts_.clip_norm) gradients.mul_(facts_.clip_norm / norm);
    const double progress = next_learning_rate();
    optimizer_.step(position_.learning_rate);
    task_.after_step(progress);
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
torch::Tensor Loop::apply_gradients_unless_not_finite(const torch::Tensor& loss) {
  torch::NoGradGuard no_grad;
  finish_gradients();
  const double progress = next_learning_rate();
  const torch::Tensor norm =
      step_where_finite(parameters_, optimizer_, loss, facts_.clip_norm, position_.learning_rate);
  task_.after_step(progress);
  parameters_.zero_gradients();
  return norm;
}

// Take in the numbers of steps, oldest first, until `left_open` are left.
void Loop::settle(std::size_t left_open) {
  while (open_steps_.size() > left_open) {
    Step step = std::move(open_steps_.front());
    open_steps_.pop_front();
    settle_step(step);
  }
}

void Loop::settle_step(Step& step) {
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
  if (step.line_due) log_line(step);
}

void Loop::log_line(Step& step) {
  const double seconds = seconds_since(line_started_);
  const double waited = batches_->statistics().waited_s;
  const double share = (waited - line_waited_) / std::max(seconds, 1e-9);
  const double loss = position_.line.mean_loss();
  RunLog::Fields fields{
      {"loss", loss}, {"lr", step.learning_rate}, {"gradient_norm", position_.gradient_norm}};
  const RunLog::Fields more = task_.line(step.detail.get(), step.rows, step.batch);
  fields.insert(fields.end(), more.begin(), more.end());
  fields.emplace_back("slices_per_s", static_cast<double>(line_steps_ * facts_.batch) / seconds);
  fields.emplace_back("wait_share", share);
  log_->add("train", step.batch, fields);
  progress_->note(task_.note(loss, share, position_));
  position_.line = {};
  line_steps_ = 0;
  line_started_ = std::chrono::steady_clock::now();
  line_waited_ = waited;
}

}  // namespace wsp::train
