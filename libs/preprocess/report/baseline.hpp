#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "preprocess/report/facts.hpp"
#include "preprocess/report/judge.hpp"

namespace wsp::qa {

/// Another dataset's QA, as its qa/cases hold it.
struct Baseline {
  std::vector<CaseFacts> cases;  ///< numbers, labels and signatures; no profiles or histograms
  std::vector<std::string> label_names;
};
/// Read DATASET/qa or a qa directory itself. Throws Error(usage) where no QA of ours stands.
Baseline load_baseline(const std::filesystem::path& dataset_or_qa);
std::vector<KnownVolume> volumes_of(const Baseline& baseline);

/// Compare distributions (Kolmogorov-Smirnov) and class balance (chi-squared); add BASELINE_DRIFT
/// where p lies below the rules' baseline_p. Returns what was compared, for the page.
nlohmann::json compare(const std::vector<CaseFacts>& cases,
                       const std::vector<std::string>& label_names, const Baseline& baseline,
                       Judge& judge);

}  // namespace wsp::qa
