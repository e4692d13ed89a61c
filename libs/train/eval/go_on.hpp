#pragma once
#include "train/pretrain/train.hpp"

namespace wsp::train {

/// train() into run.out, as one part of an evaluation (no verification, probe or TensorBoard),
/// going on where an earlier call stopped. Weights without a checkpoint (a method that trains
/// nothing leaves none) are made anew where they were made with this configuration. What cannot be
/// gone on with, a run of another configuration or without a sound checkpoint, is refused as
/// train() refuses it; with `force` it is begun anew, and a warning says so.
TrainSummary train_or_go_on(const TrainConfig& config, RunOptions run, bool force);

}  // namespace wsp::train
