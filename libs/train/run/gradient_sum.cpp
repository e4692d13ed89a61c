#include "train/run/gradient_sum.hpp"

#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace wsp::train {

/// On the node that adds a parameter's gradient up, which the parameter alone does not keep.
struct GradientSum::Hook {
  // Which pointer this is depends on LibTorch's version.
  decltype(torch::autograd::impl::grad_accumulator(torch::Tensor())) node;
  std::uintptr_t key;
};

GradientSum::GradientSum(FlatParameters& parameters, torch::nn::Module& module, Ranks& ranks,
                         std::int64_t piece)
    : parameters_(parameters), ranks_(ranks) {
  if (ranks.ranks() == 1) return;
  const auto by_name = module.named_parameters();
  const auto& segments = parameters.segments();
  std::int64_t end = parameters.gradients().numel();
  for (std::size_t i = segments.size(); i-- > 0;) {
    if (pieces_.empty() || pieces_.back().count > 0) pieces_.emplace_back();
    ++pieces_.back().parameters;
    const auto node = torch::autograd::impl::grad_accumulator(by_name[segments[i].name]);
    const auto there = [this, place = pieces_.size() - 1](const auto& outputs, const auto&) {
      take(place);
      return outputs;
    };
    hooks_.push_back({node, node->add_post_hook(
                                std::make_unique<torch::autograd::utils::LambdaPostHook>(there))});
    if (i > 0 && end - segments[i].offset < piece) continue;
    pieces_.back().offset = segments[i].offset;
    pieces_.back().count = end - segments[i].offset;
    end = segments[i].offset;
  }
}

GradientSum::~GradientSum() {
  for (const Hook& hook : hooks_) hook.node->del_post_hook(hook.key);
}

void GradientSum::arm() {
  armed_ = true;
  next_ = 0;
  for (Piece& piece : pieces_) piece.missing = piece.parameters;
}

// In a thread of the backward pass, which runs its nodes one after another.
void GradientSum::take(std::size_t piece) {
  if (!armed_) return;
  --pieces_[piece].missing;
  while (next_ < pieces_.size() && pieces_[next_].missing <= 0) begin_next();
}

void GradientSum::begin_next() {
  const Piece& piece = pieces_[next_++];
  ranks_.begin_sum(parameters_.gradients().narrow(0, piece.offset, piece.count));
}

std::int64_t GradientSum::finish() {
  if (!armed_) next_ = 0;
  const auto during = static_cast<std::int64_t>(next_);
  while (next_ < pieces_.size()) begin_next();
  ranks_.join();
  armed_ = false;
  return during;
}

}  // namespace wsp::train
