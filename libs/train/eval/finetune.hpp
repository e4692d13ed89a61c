#pragma once
#include <filesystem>
#include <string>

#include "train/engine/config.hpp"
#include "train/eval/protocol.hpp"

namespace wsp::train {

struct FinetuneOptions {
  std::filesystem::path dataset, out;
  std::filesystem::path init;  ///< encoder to start from; empty: from scratch
  Diagnosis diagnosis;
  TrainConfig config;          ///< of each fold's training; method, label, subjects are set
  ProtocolOptions protocol;
  std::string name, device = "auto";
  int threads = 1;
};

/// Train a network to tell the diagnosis, once per fold on that fold's training subjects, and score the
/// subjects it never saw. The last layer is fitted anew on the trained representation (the probe's
/// regression on the training subjects), so that scores are comparable with frozen encoders' and in the
/// same folds. Resumes: folds in OUT that are complete are taken over.
ProtocolResult finetune(const FinetuneOptions& options);

}  // namespace wsp::train
