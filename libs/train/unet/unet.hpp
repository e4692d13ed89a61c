#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/core/volume.hpp"
#include "train/run/options.hpp"
#include "train/run/run_summary.hpp"
#include "train/stats/mask_scores.hpp"
#include "train/unet/config.hpp"

/// The liver U-Net: training, export, evaluation, prediction, each as one call. No Torch stands
/// here.
namespace wsp::train {

/// weights: unet-best.safetensors, or unet.safetensors.
struct UNetSummary : RunSummary {
  double best_dice = -1, last_dice = -1;  ///< mean over validation volumes, -1 where there is none
};

/// Train (or resume) as configured, in one process. Writes RUN/: config.resolved.json, run.json,
/// metrics.jsonl, checkpoints/, tensorboard/, unet.safetensors, unet-best.safetensors. Of
/// RunOptions, probe_every counts epochs between validations and patience those without a better
/// one; init and probe_label are not used. Throws Error as train() does.
UNetSummary train_unet(UNetConfig config, const RunOptions& options);

struct UNetExport {
  std::filesystem::path source;      ///< run directory or weights
  std::filesystem::path descriptor;  ///< DIR/NAME.json; DIR/NAME.ts or .onnx stands beside it
  /// Descriptors of other networks that export_unet() wrote: the model is the mean of their and the
  /// source's probabilities.
  std::vector<std::filesystem::path> with;
  std::string name = "liver-unet", model_version = "1.0.0", comment;
  bool force = false;
  bool half = false;    ///< keep the weights in half precision
  bool onnx = false;    ///< an ONNX file, DIR/NAME.onnx, in place of TorchScript
  bool refine = false;  ///< the descriptor asks for refinement by HU (preprocess/ops/refine.hpp)
};
/// Write a TorchScript or ONNX file and its descriptor (schemas/segmentation_model.schema.json),
/// which goes last. The same weights give the same bytes. Returns the descriptor. Throws
/// Error(output) where one of the two exists, unless forced.
nlohmann::json export_unet(const UNetExport& what);

struct UNetEvaluate {
  std::filesystem::path source, dataset;
  /// False: volumes whose subjects the network was trained on are left out.
  bool all = false;
  std::filesystem::path exclude;  ///< ratings of wsp-qa's page: cases rated exclude are not scored
  bool clean = true;              ///< largest component, holes filled, as the ingest does
  double min_area_mm2 = 100;
  std::int64_t central_permille = 700;
  std::int64_t resamples = 2000;
  std::uint64_t seed = 0;
  int threads = 1, workers = 0;
  std::string device = "auto";
  std::string precision = "auto";  ///< as LiverPredictor's
};

/// One volume, on the grid of the stored slices.
struct CaseScores {
  std::string name, subject;
  std::int64_t slices = 0;
  OverlapScores overlap;
  SurfaceDistances surface;
  /// Predicted minus true first and last slice of the liver; both unset where one mask has none.
  bool has_extent = false;
  std::int64_t first_off = 0, last_off = 0;
  double kept_iou = 0;  ///< of the sets of central slices that the ingest would keep
};

struct UNetEvaluation {
  std::vector<CaseScores> cases;
  std::string part;  ///< "held back", "validation" or "all": EvaluationScope::part
  std::int64_t left_out = 0;
  std::vector<std::string> excluded = {};  ///< cases that a reader's ratings leave out
  /// Volumes among the cases whose subject was trained on; none where the weights do not say.
  std::optional<std::int64_t> trained_on;
};

/// Predict every volume of a dataset made with `wsp-ingest --slices all --masks` and compare with
/// its masks. Throws Error(usage) for a dataset whose slices have another size than those trained
/// on, and Error(no_input) for one of central slices, or where every mask is a model's or every
/// subject was trained on.
UNetEvaluation evaluate_unet(const UNetEvaluate& what);

/// Means with bootstrap intervals over subjects, and the cases
/// (schemas/unet_evaluation.schema.json).
nlohmann::json evaluation_json(const UNetEvaluation& evaluation, const UNetEvaluate& what);
/// One line a case, tab separated, with a header; what is not defined is empty.
std::string evaluation_tsv(const UNetEvaluation& evaluation);

/// Predicts livers of volumes outside a dataset.
class LiverPredictor {
 public:
  /// precision: auto (on a card what the network was trained in, on the CPU fp32), fp32, bf16 or
  /// fp16 (on a card), of the convolutions; probabilities are float32 always. Throws what
  /// load_trained_unet() throws, and Error(usage) for a device or precision that is not to be had.
  LiverPredictor(const std::filesystem::path& source, const std::string& device, int threads,
                 const std::string& precision = "auto");
  ~LiverPredictor();
  LiverPredictor(const LiverPredictor&) = delete;
  LiverPredictor& operator=(const LiverPredictor&) = delete;
  /// A mask on the volume's own grid, not cleaned. Slices are brought to the stored form as the
  /// ingest does it, probabilities back linearly, and cut at one half.
  [[nodiscard]] LiverMask predict(const Volume& volume);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wsp::train
