#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "io/shard/dataset.hpp"
#include "preprocess/report/numbers.hpp"

/// What the QA report knows of a case: from the index and cases/CASE.json, and from its pixels.
namespace wsp::qa {

/// What one pass over the kept slices finds. Written to qa/cases/CASE.json and read back, so that
/// other rules need no second pass. What could not be measured is kUnset (null in JSON).
struct PixelFacts {
  std::int64_t slices = 0;        ///< read without damage
  std::string damage;             ///< why a chunk could not be read; empty where all could
  double liver_mean_hu = kUnset;  ///< within the window, all mask pixels of the kept slices
  double liver_sd_hu = kUnset;    ///< of the same
  double low_share = kUnset;      ///< share of mask pixels at the window's lower end
  double high_share = kUnset;     ///< and at its upper end
  double odd_share = kUnset;  ///< share of mask blocks far from the liver's median: fat, air, bone
  double odd_share_shifted = kUnset;  ///< the least of it over shifts of the mask
  double shift_mm[3]{0, 0, 0};        ///< the shift (x, y in mm; z along the slices) that gives it
  double liver_left = kUnset;  ///< liver's centre left (+) or right (-) of the body's, in body SDs
  double spine_back = kUnset;  ///< bone's centre behind (+) the body's, in body SDs
  std::int64_t interpolated = 0;  ///< kept slices that are the mean of their neighbours, or a copy
  std::uint64_t content = 0;      ///< XXH3 of the kept slices' pixels: equal for equal volumes
  std::vector<std::uint64_t> signature;  ///< perceptual hash, see signature.hpp
};

/// One row of the group table. What could not be measured is kUnset.
struct CaseFacts {
  std::string name, subject, split, source_hash;
  std::vector<std::int64_t> labels;
  std::map<std::string, double> numbers;  ///< labels that are numbers; kUnset where unknown
  std::vector<Code> flags;
  std::int64_t matrix[2]{0, 0};  ///< acquired columns and rows
  double pixel_mm[2]{0, 0};      ///< acquired x and y
  double spacing_mm = 0;         ///< median slice distance
  double spacing_min_mm = 0, spacing_max_mm = 0;
  double scan_range_mm = 0, liver_height_mm = 0, liver_ml = 0;
  std::int64_t acquired = 0, kept = 0, kept_first = 0, liver_first = 0, liver_last = 0;
  std::string kind, phase, kernel, transfer_syntax, mask_source, hu_phase;
  double thickness_mm = kUnset, tilt_deg = 0, gap_mm = 0;  ///< gap_mm: the largest hole, 0 for none
  double stored_min_hu = kUnset, stored_max_hu = kUnset;
  double liver_median_hu = kUnset, vessel_hu = kUnset, noise_hu = kUnset;
  double air_hu = kUnset;  ///< median of what lies outside the body, padding aside
  double air_share = 0;    ///< its share of all voxels
  double fat_hu = kUnset;  ///< the fat peak of the body's histogram
  double fat_share = 0;    ///< share of the body within 40 HU of it
  double top_pile = 0;     ///< voxels of the last filled bin over the mean of the five before it
  double low_pile = 0;     ///< the same at the lower end
  double lung_low = kUnset,
         lung_high = kUnset;  ///< lung share of the body in the lower and upper third
  double end_area_share = 0;  ///< liver at the volume's first or last slice over its largest area
  // Per acquired slice, feet to head.
  std::vector<double> z_mm, body_mm2, lung_mm2, bone_mm2, liver_mm2;
  /// Share of voxels per 20 HU from -1100 to 2000, of body, liver and air.
  std::vector<double> body_histogram, liver_histogram, air_histogram;
  std::string contradiction;  ///< why the histograms are of no Hounsfield units, or empty
  PixelFacts pixels;
};

inline constexpr int kHistogramLow = -1100, kHistogramBin = 20, kHistogramBins = 155;

/// Read what index and cases/CASE.json say. Throws Error(corrupt) where the JSON is not the one
/// that was written, or lacks or breaks what it must say.
CaseFacts read_case_facts(const DatasetReader& reader, std::size_t case_index);

/// A number, or kUnset for null. Throws nlohmann::json::exception for anything else.
double number_or_unset(const nlohmann::json& value);

nlohmann::json to_json(const PixelFacts& facts);
/// Throws Error(corrupt) for JSON that is not of to_json().
PixelFacts pixel_facts(const nlohmann::json& json);
/// One case as qa/cases/CASE.json holds it, without profiles.
nlohmann::json to_json(const CaseFacts& facts, const std::vector<std::string>& label_names);

}  // namespace wsp::qa
