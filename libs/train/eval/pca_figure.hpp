#pragma once
#include <nlohmann/json_fwd.hpp>

#include "train/eval/cohort.hpp"
#include "train/eval/figure.hpp"

namespace wsp::train {

/// Figure 2 of the paper and the numbers for what the eye sees in it.
struct PcaSummary {
  ScatterFigure figure;
  double explained[2] = {0, 0};          ///< part of the variance on PC1 and PC2
  double depth_correlation[2] = {0, 0};  ///< Pearson, over all slices
  double class_auc[2] = {0, 0};          ///< of a subject's mean on the axis, the better direction
  double class_silhouette = 0;           ///< of the subjects' means in the plane, by diagnosis
};
/// Principal components of all slices of the cohort; `shown` subjects in the figure, as many of
/// either class as there are, chosen by seed.
PcaSummary summarise_pca(const Cohort& cohort, int shown, std::uint64_t seed,
                         const std::string& title);
nlohmann::json to_json(const PcaSummary& summary);

}  // namespace wsp::train
