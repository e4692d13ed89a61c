#include "preprocess/pipeline/case_work.hpp"

#include <tbb/enumerable_thread_specific.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/large_buffer.hpp"
#include "io/core/parallel.hpp"
#include "io/medical/value_proof.hpp"
#include "preprocess/ops/liver.hpp"
#include "preprocess/pipeline/preview.hpp"
#include "preprocess/pipeline/seg_folder.hpp"

namespace wsp {
namespace {

MaskOptions mask_options(const CaseInputs& in) {
  MaskOptions options;
  options.organ = in.manifest.organ;
  options.liver_roi = in.config.liver_roi;
  if (!options.organ.is_liver() && options.liver_roi == MaskOptions().liver_roi)
    options.liver_roi = {options.organ.name};
  options.liver_roi.insert(options.liver_roi.end(), options.organ.names.begin(),
                           options.organ.names.end());
  options.liver_labels =
      in.config.liver_labels.empty() ? in.manifest.liver_labels : in.config.liver_labels;
  return options;
}

// The prediction of this run, cleaned and kept for the next, or of an earlier one.
Outcome<PredictedMask> take_prediction(const CaseInputs& in, CaseInHand& hand) {
  if (hand.cached) return std::move(*hand.cached);
  if (!hand.prediction->ok()) return hand.prediction->rejection();
  PredictedMask predicted = clean_prediction(std::move(*hand.prediction).value(),
                                             hand.loaded.volume, in.segmenter->refines());
  if (in.cache != nullptr) in.cache->store(hand.cache_key, predicted);
  return predicted;
}

void add_flags(std::vector<Code>& flags, const std::vector<Code>& more) {
  flags.insert(flags.end(), more.begin(), more.end());
}

std::span<const std::uint8_t> as_bytes(const std::vector<std::int16_t>& v) {
  return bytes_of(std::span<const std::int16_t>(v));
}

// One bad patient must not stop the others, whatever a library throws on its files.
template <class T, class Work>
Outcome<T> guarded(const CasePlan& plan, Work work) {
  try {
    Outcome<T> result = work();
    if (result) return result;
    Rejection rejection = result.rejection();
    rejection.case_name = plan.name;
    return rejection;
  } catch (const Error&) {
    throw;  // the job's own trouble: a full disk, a broken caller
  } catch (const std::bad_alloc&) {
    return Rejection{plan.name, "read", Code::TOO_LARGE, "no memory for this case"};
  } catch (const std::exception&) {
    return Rejection{plan.name, "read", Code::UNREADABLE, "a library gave up on this case"};
  }
}

Outcome<CaseInHand> read(const CaseInputs& in, const CasePlan& plan) {
  // 1. Pixels as HU on the canonical grid.
  auto volume = read_series(in.scan, in.scan.series[plan.series],
                            {in.config.reject_tilt, in.config.reject_gaps, in.hash_files});
  if (!volume) return volume.rejection();
  CaseInHand hand;
  hand.loaded = std::move(volume).value();
  // Before the mask is judged: of other values a mask cannot lie in tissue.
  const ValueVerdict verdict =
      judge_values(hand.loaded.volume, hand.loaded.stored, hand.loaded.counts);
  if (verdict.code == Code::NOT_HU && in.config.trust_hu)
    hand.loaded.volume.flags.push_back(Code::HU_OVERRULED);
  else if (verdict.code != Code::USED)
    return Rejection{"", "read", verdict.code, verdict.detail};
  // 2. The liver that the case came with, else the model's.
  auto given = find_given_mask(in.scan, plan, hand.loaded, mask_options(in));
  if (given)
    hand.given = std::move(given).value();
  else if (in.segmenter == nullptr || !leaves_to_segmenter(given.rejection()))
    return given.rejection();
  hand.wants_model = in.segmenter != nullptr && (!hand.given || in.config.compare_masks);
  if (hand.wants_model && in.cache != nullptr) {
    hand.cache_key = MaskCache::key(hand.loaded.volume, in.segmenter->identity());
    hand.cached = in.cache->find(hand.cache_key, hand.loaded.volume.geometry);
    if (hand.cached) hand.wants_model = false;
  }
  return hand;
}

// What the model's mask says of the given one.
void compare_with_model(const CaseInputs& in, const Volume& volume, const LiverMask& given,
                        const Outcome<PredictedMask>& predicted, CaseMeasurements& measured) {
  measured.comparison_code = predicted.ok() ? "" : to_string(predicted.rejection().code);
  if (!predicted.ok()) return;
  const PredictedMask& model = predicted.value();
  measured.comparison =
      compare_masks(volume, given, model.mask, in.config.min_area_mm2, in.config.central_permille);
  measured.comparison->doubts =
      mask_doubts(volume, model.mask, model.confidence, model.refined, liver_areas_mm2(model.mask),
                  measured.comparison->model_ml, in.manifest.organ);
}

// The given mask, else the model's.
Outcome<GivenMask> take_liver(const CaseInputs& in, CaseInHand& hand, CaseMeasurements& measured) {
  std::optional<Outcome<PredictedMask>> predicted;
  if (hand.cached || hand.prediction) predicted.emplace(take_prediction(in, hand));
  if (hand.given) {
    if (in.config.clean_masks) clean_mask(hand.given->mask);
    if (predicted)
      compare_with_model(in, hand.loaded.volume, hand.given->mask, *predicted, measured);
    return std::move(*hand.given);
  }
  if (!predicted->ok()) return predicted->rejection();
  PredictedMask& mask = predicted->value();
  measured.predicted_components = mask.components;
  measured.mean_probability = mask.mean_probability;
  measured.confidence = mask.confidence;
  measured.refined = mask.refined;
  measured.model = in.segmenter->name();
  return GivenMask{std::move(mask.mask), "segmenter", {}};
}

// Whether HU allow the phase that is required: they speak where the header is silent, and against
// it where nothing is enhanced. USED where they do.
Rejection check_phase(const CaseInputs& in, const CasePlan& plan, const PhaseByHu& phase) {
  const Series& series = in.scan.series[plan.series];
  const bool allowed = series.phase == Phase::portal ? phase.phase != HuPhase::unenhanced
                                                     : phase.phase == HuPhase::portal;
  if (!in.config.require_portal || plan.pinned || allowed) return {"", "select", Code::USED, ""};
  return {"", "select", Code::PHASE_NOT_PORTAL,
          "header: " + std::string(to_string(series.phase)) +
              "; HU: " + std::string(to_string(phase.phase)) + " (" + in.manifest.organ.name + " " +
              std::to_string(std::lround(phase.liver_median_hu)) + ", vessels " +
              std::to_string(std::lround(phase.vessel_hu)) + ")"};
}

// Remarks on a case, in the order of the code list, each once.
std::vector<Code> remarks_on(const CaseInputs& in, const CasePlan& plan, const Volume& volume,
                             const JudgedCase& judged,
                             const std::vector<std::int64_t>& components) {
  const Series& series = in.scan.series[plan.series];
  const CaseMeasurements& measured = judged.measured;
  std::vector<Code> flags = plan.flags;
  add_flags(flags, volume.flags);
  add_flags(flags, judged.liver.mask.flags);
  add_flags(flags,
            mask_flags(*judged.runs, judged.liver_ml, components, in.manifest.organ.least_ml));
  if (judged.liver.source == "segmenter") {
    if (!measured.doubts.empty()) flags.push_back(Code::MASK_UNSURE);
    if (in.segmenter->builtin()) flags.push_back(Code::MASK_FROM_BUILTIN_MODEL);
  }
  if (!fit_in_plane(volume.geometry, in.config.size).identity) flags.push_back(Code::RESAMPLED);
  if (measured.phase.phase == HuPhase::portal && series.phase == Phase::unknown)
    std::erase(flags, Code::PHASE_UNSURE);
  if (measured.phase.phase == HuPhase::unenhanced && series.is_dicom && !plan.pinned)
    flags.push_back(Code::PHASE_UNSURE);
  std::sort(flags.begin(), flags.end());
  flags.erase(std::unique(flags.begin(), flags.end()), flags.end());
  return flags;
}

Outcome<JudgedCase> judge(const CaseInputs& in, const CasePlan& plan, CaseInHand hand) {
  const Organ& organ = in.manifest.organ;
  const auto refuse = [](Rejection r) { return r; };
  JudgedCase judged;
  CaseMeasurements& measured = judged.measured;
  const Volume& volume = hand.loaded.volume;
  auto taken = take_liver(in, hand, measured);
  if (!taken) return taken.rejection();
  GivenMask& liver = judged.liver = std::move(taken).value();
  judged.runs.emplace(liver.mask);
  const MaskRuns& runs = *judged.runs;
  if (runs.empty())
    return refuse({"", "mask", Code::NO_LIVER,
                   liver.source == "segmenter"
                       ? "the model found no " + organ.name + " in this volume"
                       : "the mask holds no voxel"});
  const double tissue = share_in_tissue(volume, runs);
  if (tissue < 0.5)
    return refuse({"", "mask", Code::MASK_MISMATCH,
                   "only " + std::to_string(static_cast<int>(tissue * 100)) +
                       " % of the mask lies in tissue; expected at least 50 %"});

  // 3. The phase.
  measured.phase = phase_by_hu(volume, runs);
  if (!organ.is_liver()) measured.phase.phase = HuPhase::unclear;  // what it knows is of the liver
  if (Rejection r = check_phase(in, plan, measured.phase); r.code != Code::USED) return r;

  // 4. Which slices.
  judged.areas_mm2 = liver_areas_mm2(runs);
  const auto extent = liver_extent(judged.areas_mm2, in.config.min_area_mm2);
  if (!extent)
    return refuse(
        {"", "select", Code::NO_LIVER,
         "no slice holds " + std::to_string(in.config.min_area_mm2) + " mm2 of " + organ.name});
  measured.extent = *extent;
  measured.kept = in.config.all_slices ? SliceRange{0, volume.geometry.size[2] - 1}
                                       : central_slices(*extent, in.config.central_permille);
  judged.liver_ml = liver_volume_ml(judged.areas_mm2, volume.z_mm, volume.geometry.spacing_mm[2]);

  // 5. Remarks.
  if (liver.source == "segmenter")
    measured.doubts = mask_doubts(volume, liver.mask, measured.confidence, measured.refined,
                                  judged.areas_mm2, judged.liver_ml, organ);
  const auto components = component_sizes(runs);
  judged.flags = remarks_on(in, plan, volume, judged, components);
  measured.mask_source = liver.source;
  measured.tissue_share = tissue;
  measured.components = static_cast<std::int64_t>(components.size());
  judged.loaded = std::move(hand.loaded);
  return judged;
}

// Slice k of a volume, windowed and compressed with its mask.
SliceRecord cut_slice(const CaseInputs& in, const CasePlan& plan, const JudgedCase& judged,
                      const InPlaneFit& fit, std::int64_t k) {
  const Volume& volume = judged.loaded.volume;
  const LiverMask& liver = judged.liver.mask;
  const auto at = static_cast<std::size_t>(k);
  SliceRecord slice;
  slice.z_mm = volume.z_mm[at];
  slice.source_index = volume.source_index[at];
  const auto depth = [&](const SliceRange& range) {
    return normalised_depth(slice.z_mm, volume.z_mm[static_cast<std::size_t>(range.first)],
                            volume.z_mm[static_cast<std::size_t>(range.last)]);
  };
  slice.depth_kept = depth(judged.measured.kept);
  slice.depth_liver = depth(judged.measured.extent);
  slice.depth_volume = depth({0, volume.geometry.size[2] - 1});
  slice.liver_area_mm2 = judged.areas_mm2[at];
  const auto image = resample_slice(volume.slice(k), fit, in.config.window);
  const auto mask =
      fit.identity ? std::vector<std::uint8_t>() : resample_slice(liver.slice(k), fit);
  slice.image = compress_slice(as_bytes(image), 2, in.config.codec,
                               chunk_seed(plan.name, slice.source_index, false));
  slice.mask = compress_slice(fit.identity ? liver.slice(k) : std::span<const std::uint8_t>(mask),
                              1, in.config.codec, chunk_seed(plan.name, slice.source_index, true));
  return slice;
}

CaseProduct make_product(const CaseInputs& in, const CasePlan& plan, JudgedCase judged) {
  const LoadedVolume& loaded = judged.loaded;
  const Volume& volume = loaded.volume;
  CaseMeasurements& measured = judged.measured;
  const SliceRange& kept = measured.kept;
  const std::int64_t acquired = volume.geometry.size[2];
  CaseProduct product;
  CaseRecord& record = product.record;
  record.name = plan.name;
  record.subject = plan.subject;
  record.split = plan.split;
  record.labels = plan.labels;
  record.continuous = plan.continuous;
  record.source_hash = plan.key;
  record.flags = judged.flags;
  record.spacing_mm = volume.geometry.spacing_mm[2];
  record.liver_ml = judged.liver_ml;
  const InPlaneFit fit = fit_in_plane(volume.geometry, in.config.size);
  record.pixel_mm[0] = fit.pixel_mm[0];
  record.pixel_mm[1] = fit.pixel_mm[1];

  // 1. Per acquired slice: what QA needs. Per kept slice: window and compress.
  measured.profiles.resize(static_cast<std::size_t>(acquired));
  record.slices.resize(static_cast<std::size_t>(kept.count()));
  const MaskRuns& runs = *judged.runs;
  Preview preview(runs, in.config.window);
  struct Counts {
    ValueCounts body, liver;
  };
  tbb::enumerable_thread_specific<Counts> parts;
  // All that looks at a slice does so at once: a volume is larger than the caches.
  wsp::parallel_loop(std::int64_t{0}, acquired, [&](std::int64_t k) {
    Counts& counts = parts.local();
    measured.profiles[static_cast<std::size_t>(k)] =
        profile_slice(volume.slice(k), &runs, k, volume.geometry, counts.body, counts.liver);
    preview.add_slice(k, volume.slice(k));
    if (k >= kept.first && k <= kept.last)
      record.slices[static_cast<std::size_t>(k - kept.first)] = cut_slice(in, plan, judged, fit, k);
  });
  Counts counts;
  for (const Counts& part : parts) {
    counts.body.add(part.body);
    counts.liver.add(part.liver);
  }
  measured.histogram.add(loaded.counts.all(), counts.body, counts.liver);

  // 2. Provenance and preview.
  measured.border_contact = border_contact(runs);
  product.files = std::move(judged.liver.files);
  for (const std::size_t f : loaded.duplicate_files)
    product.files.emplace_back(f, Code::DUPLICATE_FILE);
  product.provenance =
      make_provenance(in.scan.series[plan.series], plan, loaded, in.manifest, record, measured);
  product.preview = preview.png(volume, kept);
  product.provenance["preview_sha256"] = hex(sha256(product.preview));
  spare_vectors<std::int16_t>().give(std::move(judged.loaded.volume.hu), in.at_once);
  spare_vectors<std::uint8_t>().give(std::move(judged.liver.mask.voxels), in.at_once);
  return product;
}

}  // namespace

Outcome<CaseInHand> read_case(const CaseInputs& in, const CasePlan& plan) {
  return guarded<CaseInHand>(plan, [&] { return read(in, plan); });
}

void predict_case(const CaseInputs& in, CaseInHand& hand) {
  hand.prediction.emplace(ask_segmenter(*in.segmenter, hand.loaded.volume));
}

Outcome<JudgedCase> judge_case(const CaseInputs& in, const CasePlan& plan, CaseInHand hand) {
  return guarded<JudgedCase>(plan, [&] { return judge(in, plan, std::move(hand)); });
}

Outcome<CaseProduct> finish_case(const CaseInputs& in, const CasePlan& plan, CaseInHand hand) {
  return guarded<CaseProduct>(plan, [&]() -> Outcome<CaseProduct> {
    auto judged = judge(in, plan, std::move(hand));
    if (!judged) return judged.rejection();
    if (in.segs != nullptr) in.segs->keep(in, plan, judged.value());
    return make_product(in, plan, std::move(judged).value());
  });
}

}  // namespace wsp
