#pragma once
#include <string>
#include <vector>

#include "preprocess/report/judge.hpp"

namespace wsp::qa::test {

/// A portal-venous scan of 5 mm slices with a liver of 1,500 ml: nothing is to be said of it.
inline CaseFacts sound_case(const std::string& name, const std::string& subject) {
  CaseFacts f;
  f.name = name;
  f.subject = subject;
  f.split = "train";
  f.labels = {1};
  f.matrix[0] = f.matrix[1] = 512;
  f.pixel_mm[0] = f.pixel_mm[1] = 0.75;
  f.spacing_mm = f.spacing_min_mm = f.spacing_max_mm = 5;
  f.scan_range_mm = 400;
  f.liver_height_mm = 170;
  f.liver_ml = 1500;
  f.acquired = 81;
  f.kept = 24;
  f.phase = f.hu_phase = "portal";
  f.kernel = "soft";
  f.thickness_mm = 5;
  f.stored_min_hu = -1024;
  f.stored_max_hu = 1400;
  f.liver_median_hu = 110;
  f.vessel_hu = 160;
  f.noise_hu = 8;
  f.air_hu = -1000;
  f.air_share = 0.4;
  f.fat_hu = -100;
  f.fat_share = 0.3;
  f.top_pile = f.low_pile = 1;
  f.lung_low = 0.01;
  f.lung_high = 0.4;
  f.pixels.slices = f.kept;
  f.pixels.liver_mean_hu = 110;
  f.pixels.liver_sd_hu = 15;
  f.pixels.odd_share = f.pixels.odd_share_shifted = 0.01;
  f.pixels.liver_left = -0.8;
  f.pixels.spine_back = 0.9;
  return f;
}

inline std::vector<std::string> codes_of(const std::vector<Finding>& findings) {
  std::vector<std::string> codes;
  for (const Finding& finding : findings) codes.emplace_back(to_string(finding.code));
  return codes;
}

}  // namespace wsp::qa::test
