#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/shard/dataset.hpp"

namespace wsp::train {

/// Over which slices z_mm was scaled to [0, 1] (DESIGN section 2). `kept` is the scale of the
/// published code and the default.
enum class DepthScale { kept, liver, volume };
DepthScale parse_depth_scale(std::string_view name);  ///< throws Error(usage)
std::string_view to_string(DepthScale scale);

/// A further column of the composite kernel: equality of a label column (sigma empty), or a
/// Gaussian of the given sigma on a label column, a continuous one, `z_mm` or `liver_area_mm2`.
struct KernelColumn {
  std::string name;
  std::optional<double> sigma;
};
/// Parse "NAME" or "NAME:SIGMA"; throws Error(usage).
KernelColumn parse_kernel_column(std::string_view text);

struct SelectOptions {
  std::string label = "label";        ///< label column that is y
  std::vector<KernelColumn> columns;  ///< further columns of the kernel
  /// The number that the method learns from: a continuous label, a label of classes, `z_mm` or
  /// `liver_area_mm2`. With a sigma it is a Gaussian column of the kernel, without one
  /// TrainingSet::values. Cases are then left out where it is unknown, and not where the label is.
  std::optional<KernelColumn> continuous;
  DepthScale depth = DepthScale::kept;
  bool include_flagged = false;     ///< keep cases flagged LIVER_TRUNCATED or with untrusted depth
  bool include_unlabelled = false;  ///< keep slices with y = -1, or without a continuous label
  /// Splits to take; empty takes every case whose split is not "val" or "test", and with `subjects`
  /// every case of theirs.
  std::vector<std::string> splits;
  /// Names of subjects to take, e.g. those of the training part of a fold; empty takes all.
  std::vector<std::string> subjects;
  /// Names of cases that a reader rated as ones to leave out: neither trained on nor held back.
  std::vector<std::string> exclude;
  /// Classes of the label that become 1, all others 0: a binary diagnosis; empty leaves them.
  std::vector<std::int64_t> positive;
  /// Part of the labelled subjects kept back for the online probe where the dataset has no split
  /// "val" (or `splits` trains on it): of each class those whose names hash lowest. In [0, 1); 0
  /// keeps none back.
  double hold_back = 0;
};

/// A slice that can be drawn.
struct TrainSlice {
  std::uint32_t row = 0;     ///< index into DatasetReader::slices()
  std::int32_t subject = 0;  ///< index into TrainingSet::subjects
  std::int32_t case_id = 0;  ///< index into DatasetReader::cases()
  std::int64_t label = -1;
  double depth = 0.5;
};

/// The slices of a dataset that training (or the online probe) may draw, in the order of the index.
struct TrainingSet {
  std::vector<TrainSlice> slices;
  std::vector<TrainSlice> held_back;  ///< slices of the subjects kept back, or of split "val"
  std::vector<std::string> subjects;  ///< names; indices are TrainSlice::subject
  std::vector<KernelColumn> columns;
  /// [column][row of the index]; unknown is -1 in a column that must be equal, NaN in a Gaussian
  /// one.
  std::vector<std::vector<double>> column_values;
  /// [row of the index]: the continuous label where it has no sigma, NaN unknown; else empty.
  std::vector<double> values;
  std::int64_t classes = 0;  ///< 1 + the largest label
  /// What was left out and why, e.g. "12 cases flagged LIVER_TRUNCATED", for the log.
  std::vector<std::string> left_out;
};

/// Choose the slices of a dataset. No subject is both in `slices` and in `held_back`. Throws
/// Error(usage) for an unknown label column, kernel column or split (naming those that exist) and
/// for an excluded case that the dataset does not have, Error(no_input) when nothing is left,
/// Error(corrupt) for a depth that is no number.
TrainingSet select_slices(const DatasetReader& reader, const SelectOptions& options);

}  // namespace wsp::train
