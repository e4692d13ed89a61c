#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "preprocess/pipeline/liver_source.hpp"
#include "preprocess/pipeline/mask_cache.hpp"
#include "preprocess/pipeline/plan.hpp"
#include "preprocess/pipeline/provenance.hpp"

namespace wsp {

/// Everything that one case adds to the dataset, and what its files turned out to be.
struct CaseProduct {
  CaseRecord record;
  nlohmann::json provenance;                        ///< cases/CASE.json
  std::vector<std::uint8_t> preview;                ///< previews/CASE.png
  std::vector<std::pair<std::size_t, Code>> files;  ///< index into Scan::files -> disposition
};

struct CaseInputs {
  const Scan& scan;
  const IngestConfig& config;
  const DataManifest& manifest;
  Segmenter* segmenter;             ///< or null
  MaskCache* cache;                 ///< of the segmenter's masks, or null
  bool hash_files = true;           ///< hash what is read, for case_key()
  class SegFolder* segs = nullptr;  ///< takes the model's masks, or null
  std::size_t at_once = 0;          ///< cases in memory: so many volumes are kept for the next
};

/// A case that was read and waits for its liver, or has it.
struct CaseInHand {
  LoadedVolume loaded;
  std::optional<GivenMask> given;
  bool wants_model = false;                         ///< predict_case() is to be called
  std::optional<PredictedMask> cached;              ///< what an earlier run predicted
  std::optional<Outcome<Segmentation>> prediction;  ///< what predict_case() got
  std::string cache_key;
};

/// A case whose volume, mask and slices are accepted: what is left is to cut and to compress.
struct JudgedCase {
  LoadedVolume loaded;
  GivenMask liver;                ///< or the model's, with source "segmenter"
  std::optional<MaskRuns> runs;   ///< the liver's
  CaseMeasurements measured;      ///< without profiles, histogram and border contact
  std::vector<double> areas_mm2;  ///< of liver, by acquired slice
  double liver_ml = 0;
  std::vector<Code> flags;
};

/// Stage 1: pixels as HU, the given mask, or the cached one. Thread-safe; deterministic, like all.
Outcome<CaseInHand> read_case(const CaseInputs& inputs, const CasePlan& plan);
/// Stage 2, where hand.wants_model: ask the segmenter.
void predict_case(const CaseInputs& inputs, CaseInHand& hand);
/// Stage 3: clean a prediction, judge the liver and choose the slices; here a dry run ends.
Outcome<JudgedCase> judge_case(const CaseInputs& inputs, const CasePlan& plan, CaseInHand hand);
/// Stage 3 and what follows: cut, resample and compress.
Outcome<CaseProduct> finish_case(const CaseInputs& inputs, const CasePlan& plan, CaseInHand hand);

}  // namespace wsp
