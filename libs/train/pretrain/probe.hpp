#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/stats/subject_scores.hpp"

namespace wsp::train {

/// Representations of slices, and what is known of them.
struct ProbeSlices {
  torch::Tensor features;             ///< [n, d], any real type and device
  std::vector<std::int64_t> label;    ///< [n]; slices with -1 are left out
  std::vector<std::int32_t> subject;  ///< [n]
};

struct ProbeOptions {
  std::int64_t neighbours = 20;  ///< k; all there are where there are fewer
  double neighbour_temperature =
      0.07;        ///< a neighbour weighs exp(cosine / temperature), Wu et al. 2018
  double c = 1.0;  ///< inverse strength of the logistic regression's L2 penalty
};

/// What the frozen representation tells of subjects that it was not fitted on.
struct ProbeResult {
  SubjectScores knn;
  SubjectScores logistic;
  std::int64_t train_slices = 0, held_back_slices = 0;
};

/// Probabilities [m, classes] of queries [m, d] by weighted vote of the nearest of `features` [n,
/// d] in cosine; `label` [n] indexes classes, from 0. float64, on the CPU.
torch::Tensor knn_probabilities(const torch::Tensor& features,
                                const std::vector<std::int64_t>& label, std::int64_t classes,
                                const torch::Tensor& queries, const ProbeOptions& options);

/// Probe a representation: k nearest neighbours and a logistic regression on features standardised
/// by the training slices, both averaged over each held-back subject. Scores are not numbers where
/// they cannot be had: no labelled slice on a side, one class only to learn (logistic) or to tell
/// apart (AUC). Throws Error(failure) for sizes that do not agree, a subject on both sides, or
/// features that are not finite. Deterministic; Torch's random state is left alone.
ProbeResult run_probe(const ProbeSlices& train, const ProbeSlices& held_back,
                      const ProbeOptions& options = {});

}  // namespace wsp::train
