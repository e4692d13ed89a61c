#include "train/engine/run_state.hpp"

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

}  // namespace

void refuse_other_config(const TrainConfig& was, const TrainConfig& is) {
  TrainConfig in_other_pieces = was;
  in_other_pieces.micro_batch = is.micro_batch;
  if (!differences(in_other_pieces, is).empty()) refuse_differences(differences(was, is));
  if (was.micro_batch != is.micro_batch)
    log::warn(fmt::format("--micro-batch was {}, is {}: the gradient stays that of the whole batch, but for rounding and, with --norm "
                          "batch, for statistics over each micro-batch",
                          was.micro_batch, is.micro_batch));
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
              {"optimizer_steps", optimizer.steps()},
              {"best_probe", position.best_probe},
              {"first_probe", position.first_probe},
              {"last_probe", position.last_probe},
              {"probe_due", position.probe_due},
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
    position.best_probe = state.at("best_probe");
    position.first_probe = state.at("first_probe");
    position.last_probe = state.at("last_probe");
    position.probe_due = state.at("probe_due");
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
                      const Optimizer& optimizer, const GradScaler& scaler, const Position& position,
                      std::int64_t accumulate, const json& config) {
  TensorFile file;
  for (const auto& entry : module.named_parameters())
    file.tensors["model." + entry.key()] = on_cpu(entry.value());
  for (const auto& entry : module.named_buffers())
    file.tensors["model." + entry.key()] = on_cpu(entry.value());
  for (auto& [name, tensor] : optimizer.state()) file.tensors["optimizer." + name] = tensor;
  if (position.batches % accumulate != 0)
    for (const auto& segment : parameters.segments())
      file.tensors["gradient." + segment.name] =
          on_cpu(FlatParameters::view(parameters.gradients(), segment));
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
                      Optimizer& optimizer, GradScaler& scaler, std::int64_t accumulate,
                      const std::function<void(const json&)>& refuse_other) {
  torch::NoGradGuard no_grad;
  Position position;
  try {
    if (file.metadata.at("wsp.format") != kFormat)
      throw Error(ErrorCode::corrupt, "the checkpoint is of another format");
    refuse_other(json::parse(file.metadata.at("wsp.config")));
    position = read_position(file.metadata.at("wsp.state"), optimizer, scaler);
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
  if (position.batches % accumulate != 0)
    for (const auto& segment : parameters.segments())
      FlatParameters::view(parameters.gradients(), segment)
          .copy_(find(file, "gradient." + segment.name, segment.sizes));
  auto generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  generator.set_state(find(file, "generator.cpu", generator.get_state().sizes()));
  return position;
}

}  // namespace wsp::train
