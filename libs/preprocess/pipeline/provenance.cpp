#include "preprocess/pipeline/provenance.hpp"

#include <algorithm>
#include <cmath>

namespace wsp {
namespace {

// Decimal numbers short enough to read; still far finer than what they measure.
double rounded(double value, double unit) { return std::round(value / unit) * unit; }

nlohmann::json finite(double value, double unit) {
  return std::isfinite(value) ? nlohmann::json(rounded(value, unit)) : nlohmann::json();
}

template <class Get>
nlohmann::json column(const std::vector<SliceProfile>& profiles, Get get) {
  nlohmann::json values = nlohmann::json::array();
  for (const SliceProfile& p : profiles) values.push_back(rounded(get(p), 1.0 / 128));
  return values;
}

nlohmann::json mask_json(const CaseRecord& record, const Volume& volume,
                         const CaseMeasurements& m) {
  const auto z = [&](std::int64_t k) { return volume.z_mm[static_cast<std::size_t>(k)]; };
  nlohmann::json mask{
      {"source", m.mask_source},
      {"liver_ml", rounded(record.liver_ml, 1.0 / 1024)},
      {"share_in_tissue", rounded(m.tissue_share, 1.0 / 1024)},
      {"extent_mm",
       rounded(z(m.extent.last) - z(m.extent.first) + volume.geometry.spacing_mm[2], 1.0 / 1024)},
      {"components", m.components},
      {"border_contact", m.border_contact},
      {"mean_hu", rounded(m.phase.liver_mean_hu, 1.0 / 128)}};
  if (!m.model.empty()) {
    mask["model"] = m.model;
    mask["predicted_components"] = m.predicted_components;
    if (m.mean_probability) mask["mean_probability"] = rounded(*m.mean_probability, 1.0 / 4096);
    if (m.confidence) mask["confidence"] = rounded(*m.confidence, 1.0 / 4096);
    if (m.refined)
      mask["refined"] = {{"agreement", rounded(m.refined->agreement, 1.0 / 4096)},
                         {"mode_hu", m.refined->mode_hu},
                         {"spread_hu", rounded(m.refined->spread_hu, 1.0 / 128)},
                         {"overlap", rounded(m.refined->overlap, 1.0 / 4096)},
                         {"stability", rounded(m.refined->stability, 1.0 / 4096)}};
    mask["doubts"] = m.doubts;
  }
  if (m.comparison)
    mask["comparison"] = {{"dice", rounded(m.comparison->dice, 1.0 / 65536)},
                          {"given_ml", rounded(m.comparison->given_ml, 1.0 / 1024)},
                          {"model_ml", rounded(m.comparison->model_ml, 1.0 / 1024)},
                          {"hd95_mm", finite(m.comparison->hd95_mm, 1.0 / 1024)},
                          {"first_off", m.comparison->first_off},
                          {"last_off", m.comparison->last_off},
                          {"first_off_mm", rounded(m.comparison->first_off_mm, 1.0 / 1024)},
                          {"last_off_mm", rounded(m.comparison->last_off_mm, 1.0 / 1024)},
                          {"kept_iou", rounded(m.comparison->kept_iou, 1.0 / 4096)},
                          {"doubts", m.comparison->doubts}};
  else if (!m.comparison_code.empty())
    mask["comparison"] = {{"code", m.comparison_code}};
  return mask;
}

nlohmann::json series_json(const Series& series, const CasePlan& plan, const LoadedVolume& loaded) {
  nlohmann::json gaps = nlohmann::json::array();
  for (const std::size_t k : series.missing_after)
    if (k < series.gaps_mm.size())
      gaps.push_back({{"after_slice", k}, {"distance_mm", series.gaps_mm[k]}});
  nlohmann::json split = nlohmann::json::array();
  for (const SplitReason& reason : series.split_by)
    split.push_back({{"attributes", reason.attributes},
                     {"slices", reason.slices},
                     {"spacing_mm", reason.spacing_mm}});
  return {{"kind", series.is_dicom ? "dicom" : "image"},
          {"transfer_syntax", series.transfer_syntax},
          {"phase", to_string(series.phase)},
          {"kernel", series.kernel_class},
          {"scanner", series.scanner},
          {"thickness_mm", series.thickness_mm},
          {"tilt_deg", rounded(series.tilt_deg, 1e-4)},
          {"gaps", gaps},
          {"split_by", split},
          {"files", loaded.files.size()},
          {"duplicate_files", loaded.duplicate_files.size()},
          {"score", series.score},
          {"candidates", plan.candidates}};
}

nlohmann::json profile_json(const Volume& volume, const std::vector<SliceProfile>& profiles) {
  return {{"z_mm", volume.z_mm},
          {"body_mm2", column(profiles, [](const auto& p) { return p.body_mm2; })},
          {"lung_mm2", column(profiles, [](const auto& p) { return p.lung_mm2; })},
          {"bone_mm2", column(profiles, [](const auto& p) { return p.bone_mm2; })},
          {"liver_mm2", column(profiles, [](const auto& p) { return p.liver_mm2; })},
          {"liver_mean_hu", column(profiles, [](const auto& p) { return p.liver_mean_hu; })}};
}

}  // namespace

nlohmann::json make_provenance(const Series& series, const CasePlan& plan,
                               const LoadedVolume& loaded, const DataManifest& manifest,
                               const CaseRecord& record, const CaseMeasurements& m) {
  const Volume& volume = loaded.volume;
  nlohmann::json labels = nlohmann::json::object();
  for (std::size_t i = 0; i < record.labels.size(); ++i)
    labels[i < manifest.labels.size() ? manifest.labels[i].name : "label"] = record.labels[i];
  nlohmann::json flags = nlohmann::json::array();
  for (const Code flag : record.flags) flags.push_back(to_string(flag));
  const auto& g = volume.geometry;
  nlohmann::json provenance = {
      {"format", "wsp-case"},
      {"version", 1},
      {"name", record.name},
      {"subject", record.subject},
      {"split", record.split},
      {"labels", labels},
      {"flags", flags},
      {"source_hash", record.source_hash},
      {"geometry",
       {{"size", g.size},
        {"spacing_mm", g.spacing_mm},
        {"origin_mm", g.origin_mm},
        {"direction", {g.axis[0], g.axis[1], g.axis[2]}},
        {"z_mm", volume.z_mm}}},
      {"series", series_json(series, plan, loaded)},
      {"stored",
       {{"minimum_hu", loaded.stored.minimum},
        {"maximum_hu", loaded.stored.maximum},
        {"sum_hu", loaded.stored.sum},
        {"padding_voxels", loaded.stored.padding_voxels}}},
      {"phase_by_hu",
       {{"liver_mean_hu", rounded(m.phase.liver_mean_hu, 1.0 / 128)},
        {"liver_median_hu", m.phase.liver_median_hu},
        {"vessel_hu", m.phase.vessel_hu},
        {"noise_hu", m.phase.noise_hu},
        {"verdict", to_string(m.phase.phase)}}},
      {"mask", mask_json(record, volume, m)},
      {"slices",
       {{"acquired", g.size[2]},
        {"liver_first", m.extent.first},
        {"liver_last", m.extent.last},
        {"kept_first", m.kept.first},
        {"kept_count", m.kept.count()}}},
      {"profile", profile_json(volume, m.profiles)},
      {"histogram",
       {{"low_hu", HuHistogram::kLow},
        {"high_hu", HuHistogram::kHigh},
        {"bin_hu", HuHistogram::kWidth},
        {"body", m.histogram.body},
        {"liver", m.histogram.liver},
        {"air", m.histogram.air}}},
  };
  if (!manifest.continuous.empty())
    provenance["continuous"] = numbers_json(manifest.continuous_names(), record.continuous);
  return provenance;
}

}  // namespace wsp
