#include <fmt/format.h>

#include <csignal>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "train/run/loop.hpp"

namespace wsp::train {

void Loop::end_of_epoch() {
  position_.last_loss = position_.epoch.mean_loss();
  if (epoch() == 1) position_.first_loss = position_.last_loss;
  position_.epoch = {};
  count_corrupt();
  if (ranks_.first()) {
    RunLog::Fields fields{{"epoch", epoch()}, {"loss", position_.last_loss}};
    const RunLog::Fields more = task_.epoch_line(position_);
    fields.insert(fields.end(), more.begin(), more.end());
    log_->add("epoch", position_.batches, fields);
  }
  judge_epoch();
}

// The judgement and what follows from it. A signal during it leaves a checkpoint that begins here.
void Loop::judge_epoch() {
  enum Verdict { kGoOn, kStopEarly, kInterrupted };
  torch::Tensor verdict = torch::zeros({1}, torch::TensorOptions(device_).dtype(torch::kFloat));
  position_.judgement_due = false;
  collect_gradients();
  ranks_.first_alone([&] {
    const bool judged = is_judged() && (epoch() % options_.probe_every == 0 ||
                                        position_.batches == facts_.total_batches);
    const double before = position_.best_score;
    try {
      if (judged) judge();
    } catch (const Error& e) {
      if (e.code() != ErrorCode::interrupted) throw;
      position_.judgement_due = true;
      save(false);
      verdict.fill_(kInterrupted);
    }
    if (!position_.judgement_due) {
      keep_epoch(judged, position_.best_score > before);
      if (options_.patience > 0 && position_.epochs_since_best >= options_.patience)
        verdict.fill_(kStopEarly);
    }
  });
  ranks_.broadcast(verdict);
  const int found = static_cast<int>(verdict.item<float>());
  if (found == kInterrupted) leave_interrupted();
  stop_early_ = found == kStopEarly;
  if (stop_early_ && ranks_.first())
    log::info(fmt::format("stopped early: no better {} for {} epochs", facts_.judgement,
                          options_.patience));
}

void Loop::keep_epoch(bool judged, bool best) {
  log::info(fmt::format("epoch {}/{}: loss {:.4f}{}", epoch(), facts_.epochs, position_.last_loss,
                        judged ? ", " + task_.score_text(position_) : ""));
  if (judged) position_.epochs_since_best = best ? 0 : position_.epochs_since_best + 1;
  save(best);
  task_.save_weights(weights(), false, position_.batches);
}

void Loop::judge() {
  if (!is_judged()) return;
  const std::optional<double> score = task_.judge(*log_, position_.batches);
  if (!score) return;
  position_.last_score = *score;
  if (position_.batches == 0)
    position_.first_score = *score;
  else
    position_.best_score = std::max(position_.best_score, *score);
}

void Loop::leave_interrupted() {
  note_interrupt(SIGTERM);  // where only another rank had the signal: the exit code says so
  ranks_.barrier();         // a launcher may kill all ranks once the first has left
  throw Error(ErrorCode::interrupted,
              fmt::format("stopped by a signal after {} of {} steps; go on with --resume",
                          position_.batches, facts_.total_batches));
}

void Loop::count_corrupt() {
  const std::int64_t here = batches_->statistics().corrupt_slices;
  torch::Tensor fresh =
      torch::full({1}, here - corrupt_counted_, torch::TensorOptions(device_).dtype(torch::kLong));
  ranks_.sum(fresh);
  position_.corrupt_slices += fresh.item<std::int64_t>();
  corrupt_counted_ = here;
}

// What no step has used yet differs between the ranks, and a checkpoint holds all of it.
void Loop::collect_gradients() {
  rank_gradients_.clear();
  if (position_.pending() == 0) return;
  for (int rank = 1; rank < ranks_.ranks(); ++rank) {
    torch::Tensor theirs = parameters_.gradients().clone();
    ranks_.broadcast(theirs, rank);
    if (ranks_.first()) rank_gradients_.push_back(theirs.to(torch::kCPU));
  }
}

void Loop::save_together() {
  collect_gradients();
  ranks_.first_alone([this] { save(false); });
}

void Loop::save(bool best) {
  settle(0);
  if (!torch::isfinite(parameters_.values()).all().item<bool>())
    refuse_not_finite("a weight", position_.batches);
  log_->flush();
  if (best) {  // before the checkpoint that holds their score
    position_.best_batches = position_.batches;
    save_best_weights();
  }
  TensorFile state =
      pack_state(task_.module(), parameters_, optimizer_, scaler_, position_, task_.config());
  for (std::size_t i = 0; i < rank_gradients_.size(); ++i)
    pack_gradients(state, parameters_, rank_gradients_[i], static_cast<int>(i) + 1);
  store_.save(position_.batches, state, best);
}

void Loop::save_best_weights() { task_.save_weights(best_weights(), true, position_.batches); }

bool Loop::stop_requested() {
  if (ranks_.ranks() == 1) return interrupt_signal() != 0;
  if (reads_late_) {  // it came with the step's numbers, without a wait of its own
    note_interrupt(signal_);
    return signal_ != 0;
  }
  torch::Tensor signal =
      torch::full({1}, interrupt_signal(), torch::TensorOptions(device_).dtype(torch::kLong));
  ranks_.maximum(signal);
  // What all ranks know decides: a signal that came to this one meanwhile is told with the next
  // step.
  const auto known = static_cast<int>(signal.item<std::int64_t>());
  note_interrupt(known);
  return known != 0;
}

}  // namespace wsp::train
