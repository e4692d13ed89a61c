#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "preprocess/pipeline/plan.hpp"
#include "preprocess/segment/segmenter.hpp"

namespace wsp {

/// A liver mask that came with the export or with --masks.
struct GivenMask {
  LiverMask mask;
  std::string source;                               ///< file | seg | rtstruct
  std::vector<std::pair<std::size_t, Code>> files;  ///< index into Scan::files -> disposition
};

/// The mask that files or DICOM objects give a case, files first; NO_LIVER_MASK or NO_LIVER_SEGMENT
/// where none does, which a segmenter may mend; other rejections stand.
Outcome<GivenMask> find_given_mask(const Scan& scan, const CasePlan& plan,
                                   const LoadedVolume& volume, const MaskOptions& options);
/// True for a rejection of find_given_mask() that leaves the case to a segmenter.
bool leaves_to_segmenter(const Rejection& rejection);

/// A cleaned mask of a segmenter and what it says of itself.
struct PredictedMask {
  LiverMask mask;
  std::int64_t components = 0;             ///< before clean-up, 26-connected
  std::optional<double> mean_probability;  ///< over the cleaned mask
  /// Soft Dice of the cleaned mask with the probabilities, 2 sum(pm) / (sum p + sum m): 1 where the
  /// model is certain everywhere, less where it hesitates, or where clean-up took much away.
  std::optional<double> confidence;
};
/// Below this a case is flagged MASK_UNSURE.
inline constexpr double kUnsure = 0.7;

/// Ask a segmenter; what it throws is SEGMENTER_FAILED, and so is a mask of another grid. An Error
/// passes.
Outcome<Segmentation> ask_segmenter(Segmenter& segmenter, const Volume& volume);

/// Clean a prediction (specks in each slice, largest component, holes) and measure its confidence.
PredictedMask clean_prediction(Segmentation prediction);

/// Model against given mask.
struct MaskComparison {
  double dice = 0;
  double given_ml = 0, model_ml = 0;
};
MaskComparison compare_masks(const Volume& volume, const LiverMask& given, const LiverMask& model);

}  // namespace wsp
