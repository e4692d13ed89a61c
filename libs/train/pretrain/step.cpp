#include "train/pretrain/step.hpp"

#include "train/run/device.hpp"

namespace wsp::train {
namespace {

// Rows [at, at + count) of both views.
torch::Tensor both_views(const torch::Tensor& tensor, std::int64_t at, std::int64_t count) {
  const std::int64_t m = tensor.size(0) / 2;
  if (at == 0 && count == m) return tensor;
  return torch::cat({tensor.narrow(0, at, count), tensor.narrow(0, m + at, count)}, 0);
}

std::vector<torch::Tensor> run(Method& method, const torch::Tensor& views,
                               const std::string& precision) {
  const Autocast autocast(views.device(), precision);
  auto outputs = method.forward(views);
  for (torch::Tensor& output : outputs)
    if (output.scalar_type() == torch::kHalf || output.scalar_type() == torch::kBFloat16)
      output = output.to(torch::kFloat);
  return outputs;
}

}  // namespace

StepResult backward_batch(Method& method, const torch::Tensor& views, const Targets& targets,
                          const StepOptions& options, const GradScaler& scaler, Ranks& ranks) {
  return backward_batch(
      method, [&](std::int64_t at, std::int64_t count) { return both_views(views, at, count); },
      views.size(0) / 2, targets, options, scaler, ranks);
}

StepResult backward_batch(Method& method, const ViewPieces& views, std::int64_t m,
                          const Targets& targets, const StepOptions& options,
                          const GradScaler& scaler, Ranks& ranks) {
  const std::int64_t piece = options.micro_batch > 0 ? std::min(options.micro_batch, m) : m;
  const bool whole = piece == m;

  // 1. Embed all slices of this rank; the graph is kept only when they fit in one piece.
  std::vector<torch::Tensor> outputs;  // of the last piece, with its graph
  std::vector<std::vector<torch::Tensor>> first, second;
  {
    std::vector<torch::Tensor> before;  // running statistics: moved once per batch, in step 4
    torch::NoGradGuard no_grad;
    if (!whole)
      for (const torch::Tensor& buffer : method.buffers()) before.push_back(buffer.clone());
    for (std::int64_t at = 0; at < m; at += piece) {
      const std::int64_t count = std::min(piece, m - at);
      torch::AutoGradMode graph(whole);
      outputs = run(method, views(at, count), options.precision);
      first.resize(outputs.size());
      second.resize(outputs.size());
      for (std::size_t o = 0; o < outputs.size(); ++o) {
        first[o].push_back(outputs[o].detach().narrow(0, 0, count));
        second[o].push_back(outputs[o].detach().narrow(0, count, count));
      }
    }
    const auto buffers = method.buffers();
    for (std::size_t i = 0; i < before.size(); ++i) torch::Tensor(buffers[i]).copy_(before[i]);
  }

  // 2. Join the outputs of all ranks, as leaves whose gradients are wanted.
  std::vector<torch::Tensor> joined;
  for (std::size_t o = 0; o < outputs.size(); ++o) {
    std::vector<torch::Tensor> parts = first[o];
    parts.insert(parts.end(), second[o].begin(), second[o].end());
    joined.push_back(ranks.gather_views(parts.size() == 1 ? parts[0] : torch::cat(parts, 0))
                         .requires_grad_(true));
  }

  // 3. The loss of the whole batch and its gradient at the outputs. Every rank computes all of it,
  //    so that the rows of this rank need no further communication.
  StepResult result;
  {
    const ExactProducts exact;
    torch::Tensor loss = method.loss(joined, targets);
    result.loss = loss.detach();
    result.embeddings = joined[method.embedding_output()].detach();
    (loss * (options.loss_weight * scaler.scale())).backward();
  }

  // 4. Carry it through the networks, piece by piece.
  for (std::int64_t at = 0; at < m; at += piece) {
    const std::int64_t count = std::min(piece, m - at);
    if (!whole) outputs = run(method, views(at, count), options.precision);
    std::vector<torch::Tensor> roots, gradients;
    for (std::size_t o = 0; o < outputs.size(); ++o) {
      if (!outputs[o].requires_grad() || !joined[o].grad().defined()) continue;
      roots.push_back(outputs[o]);
      gradients.push_back(both_views(ranks.own_views(joined[o].grad()), at, count));
    }
    if (at + count == m && options.before_last_backward) options.before_last_backward();
    torch::autograd::backward(roots, gradients);
  }
  return result;
}

}  // namespace wsp::train
