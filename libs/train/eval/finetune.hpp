#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "train/eval/protocol.hpp"
#include "train/pretrain/config.hpp"

namespace wsp::train {

struct FinetuneOptions {
  std::filesystem::path dataset, out;
  std::filesystem::path exclude;  ///< ratings of wsp-qa's page: cases rated exclude are left out
  std::filesystem::path init;     ///< encoder to start from; empty: from scratch
  Diagnosis diagnosis;
  TrainConfig config;  ///< of each fold's training; method, label, subjects are set
  ProtocolOptions protocol;
  std::vector<std::string> by = {};  ///< subgroups_by(), in place of protocol.subgroups
  std::string name, device = "auto";
  std::string precision = "fp32";  ///< of the features that are scored
  int threads = 1;
  bool force = false;  ///< begin folds anew that were trained with other options
  bool allow_overlap =
      false;  ///< go on where `init` was trained on subjects of the cohort; the result is flagged
};

/// Train a network to tell the diagnosis, once per fold on that fold's training subjects, and score
/// the subjects it never saw. The last layer is fitted anew on the trained representation (the
/// probe's regression on the training subjects), so that scores are comparable with frozen
/// encoders' and in the same folds. Its C is protocol.cv.c, or chosen from protocol.cv.c_grid in
/// inner folds of the training subjects, whose diagnoses the network has seen: the choice leans
/// towards a weak penalty, the test subjects are untouched by it. Every fold is trained once:
/// protocol.cv.repeats is not asked. Resumes: folds in OUT that are complete are taken over. Throws
/// Error(usage) where `init` was trained on subjects of the cohort (training_overlap()).
ProtocolResult finetune(const FinetuneOptions& options);

}  // namespace wsp::train
