#pragma once
#include <torch/torch.h>

#include "train/model/losses.hpp"

namespace wsp::train {

/// How the kernel spreads an anchor's weight over its positives.
struct KernelSpread {
  /// Mean over anchors of 1 / sum_i p_ti^2 (inverse participation ratio): 1 where one positive has
  /// all the weight, the number of positives where all weigh the same.
  double effective_positives = 0;
  double entropy = 0;  ///< mean over anchors of -sum_i p_ti log p_ti, in nats
};

/// Measure a batch's composite kernel. `weights`: [n, n] as composite_kernel() gives it, any real
/// type and device. The anchor is one view of a slice, its positives the other views (two of each
/// other slice, one of its own), p_ti their weights divided by the sum over the anchor's positives,
/// whatever normalisation the loss uses. With kernel.own_view_only both are 1 and 0 by definition.
KernelSpread kernel_spread(const torch::Tensor& weights, const KernelOptions& kernel);

/// Mean squared distance of the two views of a slice on the unit sphere; 0 is perfect. Wang & Isola
/// 2020 with alpha = 2. Here and below, z: [2n, dim], view 1 of all slices, then view 2, any real
/// type and device; computed in float64 without gradient; not a number where z is not finite.
double alignment(const torch::Tensor& z);

/// log of the mean over pairs of slices of exp(-2 |u_i - u_j|^2) on the unit sphere, per view and
/// averaged over the two; 0 is collapsed, -4 the limit of a uniform spread in many dimensions. Wang
/// & Isola 2020 with t = 2. Not a number for a single slice.
double uniformity(const torch::Tensor& z);

/// Effective rank: exp of the entropy of the singular values of z divided by their sum, without
/// centring. Between 1 and min(2n, dim). Garrido et al. 2023 (RankMe), their stabilising epsilon
/// left out. 0 for z = 0.
double rank_me(const torch::Tensor& z);

/// Mean over dimensions of the standard deviation of the unit-length embeddings, times sqrt(dim):
/// near 1 for well spread embeddings, 0 when all are the same (Chen & He 2021).
double embedding_std(const torch::Tensor& z);

/// All of them, of one batch.
struct Telemetry {
  KernelSpread kernel;
  double alignment = 0, uniformity = 0, rank_me = 0, embedding_std = 0;
};
Telemetry measure_telemetry(const torch::Tensor& z, const torch::Tensor& weights,
                            const KernelOptions& kernel);

/// Slices of a batch that are measured at most: the matrices are dense and float64, and must not
/// cost what --loss-tile saves.
constexpr std::int64_t kMostMeasured = 512;
/// The same of a batch and its targets: of kMostMeasured slices evenly over the batch where it has
/// more. Effective positives are then those among them, and uniformity is over their pairs.
Telemetry measure_telemetry(const torch::Tensor& z, const Targets& targets,
                            const KernelOptions& kernel);

/// Says once when the embeddings have collapsed to a point: `patience` measurements in a row below
/// the threshold. An untrained network begins close to it, so feed it after the warm-up.
class CollapseAlarm {
 public:
  explicit CollapseAlarm(double threshold = 0.1, int patience = 3)
      : threshold_(threshold), patience_(patience) {}
  /// True at the measurement that makes the alarm go off; again only after a recovery.
  bool update(double embedding_std) {
    below_ = embedding_std < threshold_ ? below_ + 1 : 0;
    return below_ == patience_;
  }
  [[nodiscard]] bool active() const { return below_ >= patience_; }

 private:
  double threshold_;
  int patience_;
  int below_ = 0;
};

}  // namespace wsp::train
