#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "train/model/safetensors.hpp"
#include "train/run/checkpoint.hpp"
#include "train/run/grad_scaler.hpp"
#include "train/run/optimizer.hpp"

namespace wsp::train {

/// Where a run stands. Nothing here is derivable from the configuration.
struct Position {
  std::int64_t batches = 0;  ///< batches done since the start; epoch and step follow from it
  std::int64_t applied = 0;  ///< of them, those whose gradient an optimizer step has used
  [[nodiscard]] std::int64_t pending() const { return batches - applied; }
  double best_score = -1;  ///< scores, here and below: what an epoch is judged by
  std::int64_t best_batches =
      -1;  ///< where the best weights were; -1: not known, or there are none
  std::int64_t epochs_since_best = 0;
  double first_loss = 0, last_loss = 0;  ///< mean over an epoch
  double first_score = -1, last_score = -1;
  bool judgement_due =
      false;  ///< stopped within that of an epoch's end: it comes first on resuming
  /// Sums since the last line of metrics.jsonl and since the start of the epoch, so that a resumed
  /// run writes the lines of an uninterrupted one.
  struct Sums {
    double loss = 0, gradient_norm = 0;
    std::int64_t steps = 0;
    void add(double l, double g) {
      loss += l;
      gradient_norm += g;
      ++steps;
    }
    [[nodiscard]] double mean_loss() const {
      return loss / static_cast<double>(steps > 0 ? steps : 1);
    }
  } line, epoch;
  double gradient_norm = 0, learning_rate = 0;  ///< of the last optimizer step
  std::int64_t corrupt_slices = 0;              ///< replaced so far, over all ranks
};

/// True where `is` asks for the epochs and steps of `was` and more.
template <class Config>
bool ends_later(const Config& was, const Config& is) {
  const bool no_fewer = is.max_steps == 0 || (was.max_steps > 0 && is.max_steps >= was.max_steps);
  return is.epochs >= was.epochs && no_fewer &&
         (is.epochs > was.epochs || is.max_steps != was.max_steps);
}
/// Log what an extended run does from here on.
void say_extended();
/// The same from lines that name the differences.
[[noreturn]] void refuse_differences(const std::vector<std::string>& lines);

/// The numbers of a run as text: position, optimizer steps, scaler.
std::string position_text(const Position& position, const Optimizer& optimizer,
                          const GradScaler& scaler);
/// Inverse of position_text(). Throws Error(corrupt).
Position read_position(const std::string& text, Optimizer& optimizer, GradScaler& scaler);

/// Everything that a resumed run needs to go on as if it had never stopped: parameters and buffers
/// ("model.NAME"), optimizer ("optimizer.KIND.NAME"), gradients not yet applied ("gradient.NAME"),
/// Torch's generator, scaler and position (metadata). `config`: the run's configuration, as JSON.
TensorFile pack_state(const torch::nn::Module& module, FlatParameters& parameters,
                      const Optimizer& optimizer, const GradScaler& scaler,
                      const Position& position, const nlohmann::json& config);
/// Inverse of pack_state(). `refuse_other` gets the configuration in the checkpoint before anything
/// is changed and throws where it is another. Throws Error(corrupt) when a tensor is missing.
Position unpack_state(const TensorFile& state, torch::nn::Module& module,
                      FlatParameters& parameters, Optimizer& optimizer, GradScaler& scaler,
                      const std::function<void(const nlohmann::json&)>& refuse_other);
/// Add the gradients of a rank, flat, that no step has used yet; those of rank 0 are
/// "gradient.NAME" and part of pack_state(), the others' "rank-R.gradient.NAME".
void pack_gradients(TensorFile& state, const FlatParameters& parameters, const torch::Tensor& flat,
                    int rank);
/// Inverse of pack_gradients(). Throws Error(corrupt) when a tensor is missing.
torch::Tensor unpack_gradients(const TensorFile& state, FlatParameters& parameters, int rank);

/// Score and weights are one: where a run broke off between the two, or the file of its best
/// weights is gone, `write` makes it again from the best checkpoint, which `unpack` brings into the
/// run; at the end `state` is unpacked again. Without that checkpoint too the best is forgotten,
/// and a line says so.
void restore_best_weights(const CheckpointStore& store, const std::filesystem::path& weights,
                          const TensorFile& state, Position& position,
                          const std::function<void(const TensorFile&)>& unpack,
                          const std::function<void()>& write);

}  // namespace wsp::train
