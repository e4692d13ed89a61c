#include <fmt/format.h>

#include <cmath>
#include <csignal>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "train/data/provenance.hpp"
#include "train/engine/trainer.hpp"

namespace wsp::train {

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

// The probe and what follows from it. A signal during the probe leaves a checkpoint that begins
// here.
void Trainer::judge_epoch() {
  enum Verdict { kGoOn, kStopEarly, kInterrupted };
  torch::Tensor verdict = torch::zeros({1}, torch::TensorOptions(device_).dtype(torch::kFloat));
  position_.probe_due = false;
  collect_gradients();
  ranks_.first_alone([&] {
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
  });
  ranks_.broadcast(verdict);
  const int found = static_cast<int>(verdict.item<float>());
  if (found == kInterrupted) leave_interrupted();
  stop_early_ = found == kStopEarly;
  if (stop_early_ && ranks_.first())
    log::info(fmt::format("stopped early: no better probe for {} epochs", options_.patience));
}

void Trainer::keep_epoch(bool probed, bool best) {
  log::info(fmt::format(
      "epoch {}/{}: loss {:.4f}{}", epoch(), config_.epochs, position_.last_loss,
      probed && probe_ && probe_->possible()
          ? fmt::format(", probe {:.3f} (best {:.3f})", position_.last_probe, position_.best_probe)
          : ""));
  if (probed) position_.epochs_since_best = best ? 0 : position_.epochs_since_best + 1;
  save(best);
  export_weights("encoder.safetensors");
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

// What no step has used yet differs between the ranks, and a checkpoint holds all of it.
void Trainer::collect_gradients() {
  rank_gradients_.clear();
  if (position_.pending() == 0) return;
  for (int rank = 1; rank < ranks_.ranks(); ++rank) {
    torch::Tensor theirs = parameters_.gradients().clone();
    ranks_.broadcast(theirs, rank);
    if (ranks_.first()) rank_gradients_.push_back(theirs.to(torch::kCPU));
  }
}

void Trainer::save_together() {
  collect_gradients();
  ranks_.first_alone([this] { save(false); });
}

void Trainer::save(bool best) {
  settle(0);
  if (!torch::isfinite(parameters_.values()).all().item<bool>())
    refuse_not_finite("a weight", position_.batches);
  log_->flush();
  if (best) {  // before the checkpoint that holds their score
    position_.best_batches = position_.batches;
    export_weights(kBestWeights);
  }
  TensorFile state =
      pack_state(*setup_.method, parameters_, optimizer_, scaler_, position_, to_json(config_));
  for (std::size_t i = 0; i < rank_gradients_.size(); ++i)
    pack_gradients(state, parameters_, rank_gradients_[i], static_cast<int>(i) + 1);
  store_.save(position_.batches, state, best);
}

void Trainer::export_weights(const char* name) {
  std::vector<std::pair<std::string, std::string>> about{
      {"wsp.method", config_.method},
      {"wsp.image_size", std::to_string(config_.image_size)},
      {"wsp.steps", std::to_string(position_.batches)},
      {"wsp.seed", std::to_string(config_.seed)},
      {"wsp.dataset_sha256", config_.dataset_sha256}};
  if (setup_.trained_on) about.emplace_back("wsp.trained_on", marks_text(*setup_.trained_on));
  save_encoder_weights(setup_.method->encoder(), options_.out / name, about);
}

bool Trainer::stop_requested() {
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
