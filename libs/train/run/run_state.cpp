#include "train/run/run_state.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "wsp-checkpoint-1";

torch::Tensor on_cpu(const torch::Tensor& tensor) {
  return tensor.detach().contiguous().to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true);
}

json sums_json(const Position::Sums& sums) { return {sums.loss, sums.gradient_norm, sums.steps}; }
Position::Sums sums_of(const json& value) { return {value.at(0), value.at(1), value.at(2)}; }

const torch::Tensor& find(const TensorFile& state, const std::string& name,
                          c10::IntArrayRef sizes) {
  const auto found = state.tensors.find(name);
  if (found == state.tensors.end() || found->second.sizes() != sizes)
    throw Error(ErrorCode::corrupt,
                "the checkpoint's tensor '" + name + "' is missing or of another shape");
  return found->second;
}

std::string gradient_name(int rank, const std::string& parameter) {
  return (rank == 0 ? "gradient." : fmt::format("rank-{}.gradient.", rank)) + parameter;
}

}  // namespace

void say_extended() {
  log::warn(
      "the run is extended: from here on the learning rate follows the longer schedule, so that "
      "the result is not that of "
      "one run of this length");
}

void refuse_differences(const std::vector<std::string>& lines) {
  std::string text =
      "the run was made with another configuration; resume with the same options, or "
      "start again with --force or another --out:";
  for (const std::string& line : lines) text += "\n  " + line;
  throw Error(ErrorCode::usage, text);
}

std::string position_text(const Position& position, const Optimizer& optimizer,
                          const GradScaler& scaler) {
  return json_text(json{{"batches", position.batches},
                        {"applied", position.applied},
                        {"optimizer_steps", optimizer.steps()},
                        {"best_probe", position.best_score},
                        {"best_batches", position.best_batches},
                        {"first_probe", position.first_score},
                        {"last_probe", position.last_score},
                        {"probe_due", position.judgement_due},
                        {"first_loss", position.first_loss},
                        {"last_loss", position.last_loss},
                        {"epochs_since_best", position.epochs_since_best},
                        {"line", sums_json(position.line)},
                        {"epoch", sums_json(position.epoch)},
                        {"gradient_norm", position.gradient_norm},
                        {"learning_rate", position.learning_rate},
                        {"corrupt_slices", position.corrupt_slices},
                        {"scale", scaler.scale()},
                        {"scaler_good_steps", scaler.good_steps()}});
}

Position read_position(const std::string& text, Optimizer& optimizer, GradScaler& scaler) {
  Position position;
  try {
    const json state = json::parse(text);
    position.batches = state.at("batches");
    position.applied = state.value("applied", position.batches);
    position.best_score = state.at("best_probe");
    position.best_batches = state.value("best_batches", std::int64_t{-1});
    position.first_score = state.at("first_probe");
    position.last_score = state.at("last_probe");
    position.judgement_due = state.at("probe_due");
    position.first_loss = state.at("first_loss");
    position.last_loss = state.at("last_loss");
    position.epochs_since_best = state.at("epochs_since_best");
    position.line = sums_of(state.at("line"));
    position.epoch = sums_of(state.at("epoch"));
    position.gradient_norm = state.at("gradient_norm");
    position.learning_rate = state.at("learning_rate");
    position.corrupt_slices = state.at("corrupt_slices");
    optimizer.set_steps(state.at("optimizer_steps"));
    scaler.restore(state.at("scale"), state.at("scaler_good_steps"));
  } catch (const std::exception& e) {
    throw Error(ErrorCode::corrupt,
                std::string("the checkpoint's position cannot be read: ") + e.what());
  }
  return position;
}

TensorFile pack_state(const torch::nn::Module& module, FlatParameters& parameters,
                      const Optimizer& optimizer, const GradScaler& scaler,
                      const Position& position, const json& config) {
  TensorFile file;
  for (const auto& entry : module.named_parameters())
    file.tensors["model." + entry.key()] = on_cpu(entry.value());
  for (const auto& entry : module.named_buffers())
    file.tensors["model." + entry.key()] = on_cpu(entry.value());
  for (auto& [name, tensor] : optimizer.state()) file.tensors["optimizer." + name] = tensor;
  if (position.pending() != 0) pack_gradients(file, parameters, parameters.gradients(), 0);
  {
    auto generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard lock(generator.mutex());
    file.tensors["generator.cpu"] = generator.get_state();
  }
  file.metadata = {{"wsp.format", kFormat},
                   {"wsp.config", json_text(config)},
                   {"wsp.state", position_text(position, optimizer, scaler)}};
  return file;
}

Position unpack_state(const TensorFile& file, torch::nn::Module& module, FlatParameters& parameters,
                      Optimizer& optimizer, GradScaler& scaler,
                      const std::function<void(const json&)>& refuse_other) {
  torch::NoGradGuard no_grad;
  Position position;
  try {
    if (file.metadata.at("wsp.format") != kFormat)
      throw Error(ErrorCode::corrupt, "the checkpoint is of another format");
    const json config = json::parse(file.metadata.at("wsp.config"));
    refuse_other(config);
    position = read_position(file.metadata.at("wsp.state"), optimizer, scaler);
    // In a checkpoint of an earlier release only gradients tell that some wait for a step.
    const auto gradient = file.tensors.lower_bound("gradient.");
    if (position.pending() == 0 && gradient != file.tensors.end() &&
        gradient->first.starts_with("gradient."))
      position.applied -= position.batches % config.value("accumulate", std::int64_t{1});
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(ErrorCode::corrupt,
                std::string("the checkpoint's metadata cannot be read: ") + e.what());
  }
  for (auto& entry : module.named_parameters())
    entry.value().copy_(find(file, "model." + entry.key(), entry.value().sizes()));
  for (auto& entry : module.named_buffers())
    entry.value().copy_(find(file, "model." + entry.key(), entry.value().sizes()));
  std::map<std::string, torch::Tensor> moments;
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with("optimizer.")) moments[name.substr(10)] = tensor;
  optimizer.load_state(moments, optimizer.steps());
  if (position.pending() != 0)
    parameters.gradients().copy_(unpack_gradients(file, parameters, 0));
  else
    parameters.zero_gradients();
  auto generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  generator.set_state(find(file, "generator.cpu", generator.get_state().sizes()));
  return position;
}

void pack_gradients(TensorFile& state, const FlatParameters& parameters, const torch::Tensor& flat,
                    int rank) {
  for (const auto& segment : parameters.segments())
    state.tensors[gradient_name(rank, segment.name)] = on_cpu(FlatParameters::view(flat, segment));
}

torch::Tensor unpack_gradients(const TensorFile& state, FlatParameters& parameters, int rank) {
  torch::Tensor flat = torch::zeros_like(parameters.gradients());
  for (const auto& segment : parameters.segments())
    FlatParameters::view(flat, segment)
        .copy_(find(state, gradient_name(rank, segment.name), segment.sizes));
  return flat;
}

void restore_best_weights(const CheckpointStore& store, const std::filesystem::path& weights,
                          const TensorFile& state, Position& position,
                          const std::function<void(const TensorFile&)>& unpack,
                          const std::function<void()>& write) {
  const std::int64_t claimed = position.best_batches;
  if (claimed < 0 || steps_of_weights(weights) == claimed) return;
  if (position.batches != claimed)
    if (const auto best = store.best()) unpack(*best);
  const bool found = position.batches == claimed;
  if (found) write();
  unpack(state);
  if (found) return;
  log::warn("the best weights so far are lost, with their checkpoint: the best is looked for anew");
  std::filesystem::remove(weights);
  position.best_score = -1;
  position.best_batches = -1;
}

}  // namespace wsp::train
