#pragma once
#include <torch/torch.h>

#include "train/pretrain/step.hpp"

/// What the tests of steps and ranks share.
namespace wsp::train::test {

inline std::unique_ptr<Method> method_of(const std::string& encoder, const std::string& name,
                                         Norm norm) {
  torch::manual_seed(3);
  MethodOptions options;
  options.name = name;
  options.classes = 3;
  return make_method(options, make_encoder({encoder, norm}));
}

inline Targets targets_of(std::int64_t n) {
  Targets targets;
  targets.label = torch::arange(n, torch::kLong).remainder(3);
  targets.depth = torch::linspace(0, 1, n, torch::kDouble);
  return targets;
}

}  // namespace wsp::train::test
