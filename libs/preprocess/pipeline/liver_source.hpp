#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "preprocess/ops/refine.hpp"
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
/// Bytes of memory that find_given_mask() takes beside the volume, by the headers of the masks.
double given_mask_bytes(const Scan& scan, const CasePlan& plan);
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
  std::optional<RefinedLiver> refined;  ///< where the model asks for refinement
};

/// Ask a segmenter; what it throws is SEGMENTER_FAILED, and so is a mask of another grid. An Error
/// passes.
Outcome<Segmentation> ask_segmenter(Segmenter& segmenter, const Volume& volume);

/// Clean a prediction (specks in each slice, largest component, holes) and measure its confidence.
/// With `refine` components without lungs above them give way to one with, and the mask is refined
/// by HU.
PredictedMask clean_prediction(Segmentation prediction, const Volume& volume, bool refine);

/// Why a predicted mask may be wrong, a word each, in a fixed order; empty where no check failed:
///   confidence  the model's own doubt: soft Dice below 0.7
///   agreement   refinement by HU changed it, or ends elsewhere from a bolder and from a surer
///   mask,
///               more than HU that tell the liver apart so well can
///   volume      no adult's liver: outside 350 to 8000 ml (50 ml where the scan cuts it off)
///   side        its middle lies over 25 mm to the left of the body's
///   place       the lungs are not above it
///   values      no liver has these HU, or so wide a spread of them
///   shape       its area jumps from slice to slice
/// Of another organ the confidence, and the volume by the manifest. How often each is right:
/// docs/LIVER.md.
std::vector<std::string> mask_doubts(const Volume& volume, const LiverMask& mask,
                                     const std::optional<double>& confidence,
                                     const std::optional<RefinedLiver>& refined,
                                     const std::vector<double>& areas_mm2, double liver_ml,
                                     const Organ& organ = {});

/// Model against given mask, in the volume's voxels.
struct MaskComparison {
  double dice = 0;  ///< 1 where both are empty
  double given_ml = 0, model_ml = 0;
  double hd95_mm = 0;  ///< surface_distances(); NaN where one is empty
  /// The model's extent from the given one's, in slices and mm to the head; 0 where one has none.
  std::int64_t first_off = 0, last_off = 0;
  double first_off_mm = 0, last_off_mm = 0;
  double kept_iou = 0;  ///< of the two sets of central slices
  std::vector<std::string> doubts;
};
/// `min_area_mm2` and `permille` as the ingest chooses its slices.
MaskComparison compare_masks(const Volume& volume, const LiverMask& given, const LiverMask& model,
                             double min_area_mm2, std::int64_t permille);

}  // namespace wsp
