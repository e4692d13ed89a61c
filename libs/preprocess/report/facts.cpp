#include "preprocess/report/facts.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/core/error.hpp"
#include "io/core/hu_scale.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/report/numbers.hpp"

namespace wsp::qa {
namespace {

using nlohmann::json;

// The histograms of cases/CASE.json: counts per bin; the outer bins take what lies beyond.
using Histogram = ValueHistogram;

Histogram histogram(const json& h, const char* name) {
  return {h.at("low_hu").get<int>(), h.at("bin_hu").get<int>(),
          h.at(name).get<std::vector<std::int64_t>>()};
}

// Air as scanners store it: -1024 is padding or the end of a 12-bit scale, so its bin says nothing
// where others are filled.
void measure_air(const Histogram& air, const Histogram& body, CaseFacts& facts) {
  std::vector<std::int64_t> counts = air.counts;
  const std::int64_t all = air.total();
  counts[air.bin(-1024)] = 0;
  counts[0] = 0;
  std::int64_t left = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (left * 50 < all) {  // nearly everything is padding
    counts = air.counts;
    left = all;
  }
  facts.air_share =
      all == 0 ? 0 : static_cast<double>(all) / static_cast<double>(all + body.total());
  std::int64_t below = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0 && 2 * (below + counts[i]) >= left) {
      // Within the bin as if its voxels were spread evenly.
      const double part = (static_cast<double>(left) / 2 - static_cast<double>(below)) /
                          static_cast<double>(counts[i]);
      facts.air_hu = air.low + (static_cast<double>(i) + part) * air.width;
      return;
    }
    below += counts[i];
  }
}

// Clipping leaves a pile in the last filled bin; real scales thin out towards their end. Voxels of
// the three histograms together: the liver's stand in the body's already.
void measure_piles(const Histogram& body, const Histogram& air, CaseFacts& facts) {
  std::vector<double> counts(body.counts.size());
  for (std::size_t i = 0; i < counts.size(); ++i)
    counts[i] = static_cast<double>(body.counts[i] + (i < air.counts.size() ? air.counts[i] : 0));
  const auto pile = [&](std::ptrdiff_t from, std::ptrdiff_t step) {
    const auto n = static_cast<std::ptrdiff_t>(counts.size());
    while (from >= 0 && from < n && counts[static_cast<std::size_t>(from)] == 0) from += step;
    double before = 0;
    int bins = 0;
    for (std::ptrdiff_t i = from + step; i >= 0 && i < n && bins < 5; i += step, ++bins)
      before += counts[static_cast<std::size_t>(i)];
    if (from < 0 || from >= n || bins == 0) return 0.0;
    return counts[static_cast<std::size_t>(from)] / std::max(1.0, before / bins);
  };
  facts.top_pile = pile(static_cast<std::ptrdiff_t>(counts.size()) - 1, -1);
  facts.low_pile = pile(0, 1);
}

// What the ingest refuses, unless it was told to trust the values.
std::string contradiction(Histogram all, const Histogram& air, const CaseFacts& f) {
  for (std::size_t i = 0; i < all.counts.size(); ++i) all.counts[i] += air.counts[i];
  Surroundings around;
  around.field_mm = std::min(static_cast<double>(f.matrix[0]) * f.pixel_mm[0],
                             static_cast<double>(f.matrix[1]) * f.pixel_mm[1]);
  if (f.air_share > kAirSeen) around.outside = f.air_hu;
  return hu_contradiction(all, around);
}

std::vector<double> coarse(const Histogram& h) {
  std::vector<double> shares(kHistogramBins);
  const double all = std::max(1.0, static_cast<double>(h.total()));
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    const auto at =
        std::clamp<long>(std::lround(std::floor((h.centre(i) - kHistogramLow) / kHistogramBin)), 0,
                         kHistogramBins - 1);
    shares[static_cast<std::size_t>(at)] += static_cast<double>(h.counts[i]) / all;
  }
  for (double& share : shares) share = rounded(share, 5);
  return shares;
}

// Lung as a share of the body in the lower and the upper third of the volume; gas in the bowel
// counts as lung here.
void measure_lung(CaseFacts& f) {
  const std::size_t n = f.z_mm.size(), third = n / 3;
  const auto share = [&](std::size_t first, std::size_t last) {
    double lung = 0, body = 0;
    for (std::size_t k = first; k < last; ++k) {
      lung += f.lung_mm2[k];
      body += f.body_mm2[k];
    }
    return body > 0 ? lung / body : kUnset;
  };
  f.lung_low = share(0, third);
  f.lung_high = share(n - third, n);
}

void read_series(const json& series, CaseFacts& f) {
  f.kind = series.at("kind").get<std::string>();
  f.phase = series.value("phase", "unknown");
  f.kernel = series.value("kernel", "unknown");
  f.transfer_syntax = series.value("transfer_syntax", "");
  if (const double mm = series.value("thickness_mm", 0.0); mm > 0) f.thickness_mm = mm;
  f.tilt_deg = series.value("tilt_deg", 0.0);
  if (series.contains("gaps"))
    for (const json& gap : series.at("gaps"))
      f.gap_mm = std::max(f.gap_mm, gap.at("distance_mm").get<double>());
}

void read_profile(const json& profile, CaseFacts& f) {
  f.z_mm = profile.at("z_mm").get<std::vector<double>>();
  f.body_mm2 = profile.at("body_mm2").get<std::vector<double>>();
  f.lung_mm2 = profile.at("lung_mm2").get<std::vector<double>>();
  f.bone_mm2 = profile.at("bone_mm2").get<std::vector<double>>();
  f.liver_mm2 = profile.at("liver_mm2").get<std::vector<double>>();
  for (const auto* column : {&f.body_mm2, &f.lung_mm2, &f.bone_mm2, &f.liver_mm2})
    if (column->size() != f.z_mm.size() || f.z_mm.empty())
      throw Error(ErrorCode::corrupt, "the profile's columns differ in length, or are empty");
  f.scan_range_mm = f.z_mm.back() - f.z_mm.front();
  f.spacing_min_mm = f.spacing_max_mm = f.spacing_mm;
  for (std::size_t k = 1; k < f.z_mm.size(); ++k) {
    const double step = f.z_mm[k] - f.z_mm[k - 1];
    f.spacing_min_mm = k == 1 ? step : std::min(f.spacing_min_mm, step);
    f.spacing_max_mm = k == 1 ? step : std::max(f.spacing_max_mm, step);
  }
  const double largest = *std::max_element(f.liver_mm2.begin(), f.liver_mm2.end());
  f.end_area_share = largest > 0 ? std::max(f.liver_mm2.front(), f.liver_mm2.back()) / largest : 0;
  measure_lung(f);
}

}  // namespace

CaseFacts read_case_facts(const DatasetReader& reader, std::size_t case_index) {
  const IndexCase& entry = reader.cases().at(case_index);
  CaseFacts f;
  f.name = entry.name;
  f.subject = entry.subject;
  f.split = entry.split;
  f.source_hash = entry.source_hash;
  f.labels = entry.labels;
  for (std::size_t i = 0; i < entry.continuous.size(); ++i)
    f.numbers[reader.layout().continuous_names.at(i)] = entry.continuous[i];
  f.flags = entry.flags;
  f.kept = entry.slice_count;
  try {
    const json j = json::parse(reader.read_listed("cases/" + entry.name + ".json"));
    if (const auto broken = schema_violations("case.schema.json", j); !broken.empty())
      throw Error(ErrorCode::corrupt, broken.front());
    const json& geometry = j.at("geometry");
    for (std::size_t axis = 0; axis < 2; ++axis) {
      f.matrix[axis] = geometry.at("size").at(axis).get<std::int64_t>();
      f.pixel_mm[axis] = geometry.at("spacing_mm").at(axis).get<double>();
    }
    f.spacing_mm = geometry.at("spacing_mm").at(2).get<double>();
    read_series(j.at("series"), f);
    if (j.contains("stored")) {
      f.stored_min_hu = j.at("stored").at("minimum_hu").get<double>();
      f.stored_max_hu = j.at("stored").at("maximum_hu").get<double>();
    }
    if (j.contains("phase_by_hu")) {
      f.hu_phase = j.at("phase_by_hu").at("verdict").get<std::string>();
      f.liver_median_hu = j.at("phase_by_hu").at("liver_median_hu").get<double>();
      f.vessel_hu = j.at("phase_by_hu").at("vessel_hu").get<double>();
      f.noise_hu = j.at("phase_by_hu").at("noise_hu").get<double>();
    }
    f.mask_source = j.at("mask").at("source").get<std::string>();
    f.liver_ml = j.at("mask").at("liver_ml").get<double>();
    const json& slices = j.at("slices");
    f.acquired = slices.at("acquired").get<std::int64_t>();
    f.liver_first = slices.at("liver_first").get<std::int64_t>();
    f.liver_last = slices.at("liver_last").get<std::int64_t>();
    f.kept_first = slices.at("kept_first").get<std::int64_t>();
    read_profile(j.at("profile"), f);
    const auto n = static_cast<std::int64_t>(f.z_mm.size());
    if (f.liver_first > f.liver_last || f.liver_last >= n)
      throw Error(ErrorCode::corrupt, "the liver's slices lie outside the profile");
    f.liver_height_mm = f.z_mm[static_cast<std::size_t>(f.liver_last)] -
                        f.z_mm[static_cast<std::size_t>(f.liver_first)];
    const Histogram body = histogram(j.at("histogram"), "body"),
                    liver = histogram(j.at("histogram"), "liver"),
                    air = histogram(j.at("histogram"), "air");
    if (body.counts.empty() || air.counts.size() != body.counts.size() || body.width <= 0)
      throw Error(ErrorCode::corrupt, "the histograms differ in length, or are empty");
    measure_air(air, body, f);
    if (const auto fat = fat_peak(body)) {
      f.fat_hu = fat->hu;
      f.fat_share = fat->share;
    }
    f.contradiction = contradiction(body, air, f);
    measure_piles(body, air, f);
    f.body_histogram = coarse(body);
    f.liver_histogram = coarse(liver);
    f.air_histogram = coarse(air);
  } catch (Error& e) {
    if (e.code() == ErrorCode::failure) throw;  // it was updated, not damaged
    throw Error(ErrorCode::corrupt, std::string(e.what()) + "; run wsp-ingest verify")
        .within("while reading cases/" + entry.name + ".json");
  } catch (const json::exception& e) {
    throw Error(ErrorCode::corrupt, std::string(e.what()) + "; run wsp-ingest verify")
        .within("while reading cases/" + entry.name + ".json");
  }
  return f;
}

double number_or_unset(const json& value) { return value.is_null() ? kUnset : value.get<double>(); }

json to_json(const PixelFacts& p) {
  std::vector<std::string> signature;
  for (const std::uint64_t word : p.signature) signature.push_back(hex_word(word));
  return {{"slices", p.slices},
          {"damage", p.damage},
          {"liver_mean_hu", rounded(p.liver_mean_hu, 3)},
          {"liver_sd_hu", rounded(p.liver_sd_hu, 3)},
          {"low_share", rounded(p.low_share, 6)},
          {"high_share", rounded(p.high_share, 6)},
          {"odd_share", rounded(p.odd_share, 6)},
          {"odd_share_shifted", rounded(p.odd_share_shifted, 6)},
          {"shift_mm",
           {rounded(p.shift_mm[0], 3), rounded(p.shift_mm[1], 3), rounded(p.shift_mm[2], 3)}},
          {"liver_left", rounded(p.liver_left, 4)},
          {"spine_back", rounded(p.spine_back, 4)},
          {"interpolated", p.interpolated},
          {"content", hex_word(p.content)},
          {"signature", signature}};
}

PixelFacts pixel_facts(const json& j) {
  try {
    PixelFacts p;
    p.slices = j.at("slices").get<std::int64_t>();
    p.damage = j.at("damage").get<std::string>();
    p.liver_mean_hu = number_or_unset(j.at("liver_mean_hu"));
    p.liver_sd_hu = number_or_unset(j.at("liver_sd_hu"));
    p.low_share = number_or_unset(j.at("low_share"));
    p.high_share = number_or_unset(j.at("high_share"));
    p.odd_share = number_or_unset(j.at("odd_share"));
    p.odd_share_shifted = number_or_unset(j.at("odd_share_shifted"));
    for (std::size_t axis = 0; axis < 3; ++axis)
      p.shift_mm[axis] = number_or_unset(j.at("shift_mm").at(axis));
    p.liver_left = number_or_unset(j.at("liver_left"));
    p.spine_back = number_or_unset(j.at("spine_back"));
    p.interpolated = j.at("interpolated").get<std::int64_t>();
    p.content = std::stoull(j.at("content").get<std::string>(), nullptr, 16);
    for (const json& word : j.at("signature"))
      p.signature.push_back(std::stoull(word.get<std::string>(), nullptr, 16));
    return p;
  } catch (const std::exception& e) {
    throw Error(ErrorCode::corrupt, std::string("no facts of pixels: ") + e.what());
  }
}

json to_json(const CaseFacts& f, const std::vector<std::string>& label_names) {
  json labels = json::object();
  for (std::size_t l = 0; l < label_names.size(); ++l) labels[label_names[l]] = f.labels.at(l);
  json flags = json::array();
  for (const Code flag : f.flags) flags.push_back(to_string(flag));
  return {{"name", f.name},
          {"subject", f.subject},
          {"split", f.split},
          {"source_hash", f.source_hash},
          {"labels", labels},
          {"numbers", f.numbers},
          {"flags", std::move(flags)},
          {"matrix", {f.matrix[0], f.matrix[1]}},
          {"pixel_mm", {rounded(f.pixel_mm[0], 4), rounded(f.pixel_mm[1], 4)}},
          {"spacing_mm", rounded(f.spacing_mm, 4)},
          {"spacing_min_mm", rounded(f.spacing_min_mm, 4)},
          {"spacing_max_mm", rounded(f.spacing_max_mm, 4)},
          {"scan_range_mm", rounded(f.scan_range_mm, 2)},
          {"liver_height_mm", rounded(f.liver_height_mm, 2)},
          {"liver_ml", rounded(f.liver_ml, 2)},
          {"acquired", f.acquired},
          {"kept", f.kept},
          {"kind", f.kind},
          {"phase", f.phase},
          {"hu_phase", f.hu_phase},
          {"kernel", f.kernel},
          {"mask_source", f.mask_source},
          {"thickness_mm", rounded(f.thickness_mm, 3)},
          {"tilt_deg", rounded(f.tilt_deg, 3)},
          {"gap_mm", rounded(f.gap_mm, 3)},
          {"stored_min_hu", f.stored_min_hu},
          {"stored_max_hu", f.stored_max_hu},
          {"liver_median_hu", rounded(f.liver_median_hu, 2)},
          {"vessel_hu", rounded(f.vessel_hu, 2)},
          {"noise_hu", rounded(f.noise_hu, 2)},
          {"air_hu", rounded(f.air_hu, 1)},
          {"air_share", rounded(f.air_share, 4)},
          {"fat_hu", rounded(f.fat_hu, 1)},
          {"fat_share", rounded(f.fat_share, 4)},
          {"top_pile", rounded(f.top_pile, 3)},
          {"low_pile", rounded(f.low_pile, 3)},
          {"lung_low", rounded(f.lung_low, 4)},
          {"lung_high", rounded(f.lung_high, 4)},
          {"end_area_share", rounded(f.end_area_share, 4)},
          {"pixels", to_json(f.pixels)}};
}

}  // namespace wsp::qa
