#include "preprocess/pipeline/provenance.hpp"

#include <algorithm>
#include <cmath>

namespace wsp {
namespace {

// Decimal numbers short enough to read; still far finer than what they measure.
double rounded(double value, double unit) { return std::round(value / unit) * unit; }

template <class Get>
nlohmann::json column(const std::vector<SliceProfile>& profiles, Get get) {
  nlohmann::json values = nlohmann::json::array();
  for (const SliceProfile& p : profiles) values.push_back(rounded(get(p), 1.0 / 128));
  return values;
}

}  // namespace

PhaseByHu phase_from_hu(const Volume& volume, const LiverMask& mask) {
  std::vector<std::int64_t> counts(65536, 0);
  std::int64_t n = 0, sum = 0;
  for (std::size_t i = 0; i < mask.voxels.size(); ++i)
    if (mask.voxels[i] != 0) {
      ++counts[static_cast<std::size_t>(volume.hu[i] + 32768)];
      ++n;
      sum += volume.hu[i];
    }
  PhaseByHu phase;
  if (n == 0) return phase;
  phase.liver_mean_hu = static_cast<double>(sum) / static_cast<double>(n);
  std::int64_t seen = 0;
  for (std::size_t v = 0; v < counts.size(); ++v) {
    seen += counts[v];
    if (seen * 100 >= n * 98) {
      phase.liver_p98_hu = static_cast<double>(v) - 32768;
      break;
    }
  }
  constexpr double kEnhancedHu = 80;
  phase.enhanced = phase.liver_mean_hu >= kEnhancedHu;
  return phase;
}

nlohmann::json make_provenance(const Series& series, const CasePlan& plan,
                               const LoadedVolume& loaded, const DataManifest& manifest,
                               const CaseRecord& record, const CaseMeasurements& m) {
  const Volume& volume = loaded.volume;
  nlohmann::json labels = nlohmann::json::object();
  for (std::size_t i = 0; i < record.labels.size(); ++i)
    labels[i < manifest.labels.size() ? manifest.labels[i].name : "label"] = record.labels[i];
  nlohmann::json flags = nlohmann::json::array();
  for (const Code flag : record.flags) flags.push_back(to_string(flag));
  nlohmann::json gaps = nlohmann::json::array();
  for (const std::size_t k : series.missing_after)
    if (k < series.gaps_mm.size())
      gaps.push_back({{"after_slice", k}, {"distance_mm", series.gaps_mm[k]}});
  const auto& g = volume.geometry;
  return {
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
      {"series",
       {{"kind", series.is_dicom ? "dicom" : "image"},
        {"transfer_syntax", series.transfer_syntax},
        {"phase", to_string(series.phase)},
        {"kernel", series.kernel_class},
        {"thickness_mm", series.thickness_mm},
        {"tilt_deg", rounded(series.tilt_deg, 1e-4)},
        {"gaps", gaps},
        {"files", loaded.files.size()},
        {"duplicate_files", loaded.duplicate_files.size()},
        {"score", series.score},
        {"candidates", plan.candidates}}},
      {"stored",
       {{"minimum_hu", loaded.stored.minimum},
        {"maximum_hu", loaded.stored.maximum},
        {"sum_hu", loaded.stored.sum},
        {"padding_voxels", loaded.stored.padding_voxels}}},
      {"phase_by_hu",
       {{"liver_mean_hu", rounded(m.phase.liver_mean_hu, 1.0 / 128)},
        {"liver_p98_hu", m.phase.liver_p98_hu},
        {"enhanced", m.phase.enhanced}}},
      {"mask",
       {{"source", m.mask_source},
        {"liver_ml", rounded(record.liver_ml, 1.0 / 1024)},
        {"share_in_tissue", rounded(m.tissue_share, 1.0 / 1024)}}},
      {"slices",
       {{"acquired", g.size[2]},
        {"liver_first", m.extent.first},
        {"liver_last", m.extent.last},
        {"kept_first", m.kept.first},
        {"kept_count", m.kept.count()}}},
      {"profile",
       {{"z_mm", volume.z_mm},
        {"body_mm2", column(m.profiles, [](const auto& p) { return p.body_mm2; })},
        {"lung_mm2", column(m.profiles, [](const auto& p) { return p.lung_mm2; })},
        {"bone_mm2", column(m.profiles, [](const auto& p) { return p.bone_mm2; })},
        {"liver_mm2", column(m.profiles, [](const auto& p) { return p.liver_mm2; })},
        {"liver_mean_hu", column(m.profiles, [](const auto& p) { return p.liver_mean_hu; })}}},
      {"histogram",
       {{"low_hu", HuHistogram::kLow},
        {"high_hu", HuHistogram::kHigh},
        {"bin_hu", HuHistogram::kWidth},
        {"body", m.histogram.body},
        {"liver", m.histogram.liver},
        {"air", m.histogram.air}}},
  };
}

}  // namespace wsp
