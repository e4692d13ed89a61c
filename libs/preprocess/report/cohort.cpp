#include "preprocess/report/cohort.hpp"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "preprocess/report/numbers.hpp"

namespace wsp::qa {
namespace {

using nlohmann::json;

json to_json(const Summary& s) {
  return {{"n", s.n},
          {"mean", rounded(s.mean, 4)},
          {"sd", rounded(s.sd, 4)},
          {"min", rounded(s.minimum, 4)},
          {"p05", rounded(s.p05, 4)},
          {"p25", rounded(s.p25, 4)},
          {"median", rounded(s.median, 4)},
          {"p75", rounded(s.p75, 4)},
          {"p95", rounded(s.p95, 4)},
          {"max", rounded(s.maximum, 4)}};
}

json distribution(const std::vector<CaseFacts>& cases,
                  const std::function<double(const CaseFacts&)>& value) {
  std::vector<double> values;
  for (const CaseFacts& f : cases) values.push_back(value(f));
  return to_json(summarise(std::move(values)));
}

// Quantiles of HU within the liver over all cases, from their histograms (a case counts once).
json liver_quantiles(const std::vector<CaseFacts>& cases) {
  std::vector<double> mean(kHistogramBins);
  for (const CaseFacts& f : cases)
    for (std::size_t b = 0; b < mean.size() && b < f.liver_histogram.size(); ++b)
      mean[b] += f.liver_histogram[b] / static_cast<double>(cases.size());
  json result = json::object();
  for (const auto& [name, p] : {std::pair{"p00_5", 0.005}, {"p50", 0.5}, {"p99_5", 0.995}}) {
    double below = 0;
    for (std::size_t b = 0; b < mean.size(); ++b) {
      if (mean[b] > 0 && below + mean[b] >= p) {
        result[name] = rounded(
            kHistogramLow + (static_cast<double>(b) + (p - below) / mean[b]) * kHistogramBin, 1);
        break;
      }
      below += mean[b];
    }
  }
  return result;
}

json class_balance(const std::vector<CaseFacts>& cases,
                   const std::vector<std::string>& label_names) {
  json labels = json::object();
  for (std::size_t l = 0; l < label_names.size(); ++l) {
    std::map<std::int64_t, std::pair<std::set<std::string>, std::pair<int, std::int64_t>>> classes;
    for (const CaseFacts& f : cases) {
      auto& [subjects, counts] = classes[f.labels.at(l)];
      subjects.insert(f.subject);
      ++counts.first;
      counts.second += f.kept;
    }
    json& entry = labels[label_names[l]] = json::object();
    for (const auto& [value, of_class] : classes)
      entry[std::to_string(value)] = {{"subjects", of_class.first.size()},
                                      {"cases", of_class.second.first},
                                      {"slices", of_class.second.second}};
  }
  return labels;
}

// A cell of the table; empty for what was not measured.
std::string cell(double value, int digits) {
  return std::isnan(value) ? std::string() : fmt::format("{:.{}f}", value, digits);
}

template <class Key>
json counts(const std::vector<CaseFacts>& cases, Key key) {
  std::map<std::string, int> result;
  for (const CaseFacts& f : cases) ++result[key(f)];
  return result;
}

}  // namespace

std::string group_table(const std::vector<CaseFacts>& cases, const std::vector<CaseDepth>& depths,
                        const std::vector<std::string>& label_names,
                        const std::vector<Finding>& findings) {
  std::map<std::string, std::set<std::string>> codes;
  for (const Finding& f : findings) codes[f.case_name].insert(std::string(to_string(f.code)));
  std::string text = "case\tsubject\tsplit";
  for (const std::string& name : label_names)
    text += "\t" + (name == "label" ? name : "label_" + name);
  for (const auto& [name, value] : cases.front().numbers) text += "\tnumber_" + name;
  text +=
      "\tcolumns\trows\tpixel_x_mm\tpixel_y_mm\tspacing_mm\tspacing_min_mm\tspacing_max_"
      "mm\tacquired\tkept"
      "\tscan_range_mm\tliver_height_mm\tliver_ml\tliver_mean_hu\tliver_median_hu\tvessel_"
      "hu\tnoise_hu"
      "\tair_hu\tfat_hu\tphase\thu_phase\tkernel\ttilt_deg\tgap_mm\tmask_source\todd_share\tdepth_"
      "correlation"
      "\tdepth_rmse\tliver_shape\tinterpolated\tflags\tfindings\n";
  for (std::size_t c = 0; c < cases.size(); ++c) {
    const CaseFacts& f = cases[c];
    text += f.name + "\t" + f.subject + "\t" + f.split;
    for (const std::int64_t label : f.labels) text += "\t" + std::to_string(label);
    for (const auto& [name, value] : f.numbers)
      text += "\t" + (std::isnan(value) ? std::string() : fmt::format("{}", value));
    std::string found;
    for (const std::string& code : codes[f.name]) found += (found.empty() ? "" : ",") + code;
    const CaseDepth& depth = depths[c];
    text += fmt::format(
        "\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}"
        "\t{}\t{}\t{}\t{}\t{}\t"
        "{}\t{}\t{}\t{}\n",
        f.matrix[0], f.matrix[1], cell(f.pixel_mm[0], 4), cell(f.pixel_mm[1], 4),
        cell(f.spacing_mm, 3), cell(f.spacing_min_mm, 3), cell(f.spacing_max_mm, 3), f.acquired,
        f.kept, cell(f.scan_range_mm, 1), cell(f.liver_height_mm, 1), cell(f.liver_ml, 1),
        cell(f.pixels.liver_mean_hu, 1), cell(f.liver_median_hu, 1), cell(f.vessel_hu, 1),
        cell(f.noise_hu, 1), cell(f.air_hu, 0), cell(f.fat_hu, 0), f.phase, f.hu_phase, f.kernel,
        cell(f.tilt_deg, 1), cell(f.gap_mm, 2), f.mask_source, cell(f.pixels.odd_share, 4),
        cell(depth.judged ? depth.correlation : kUnset, 3),
        cell(depth.judged ? depth.rmse : kUnset, 3), cell(depth.shape, 3), f.pixels.interpolated,
        flag_words(f.flags), found);
  }
  return text;
}

json fingerprint(const std::vector<CaseFacts>& cases, const std::vector<std::string>& label_names,
                 const DepthAudit& audit) {
  std::set<std::string> subjects;
  std::int64_t slices = 0;
  for (const CaseFacts& f : cases) {
    subjects.insert(f.subject);
    slices += f.kept;
  }
  const auto d = [&](const std::function<double(const CaseFacts&)>& value) {
    return distribution(cases, value);
  };
  json numbers = json::object();
  if (!cases.empty())
    for (const auto& [name, value] : cases.front().numbers)
      numbers[name] = d([&](const CaseFacts& f) { return f.numbers.at(name); });
  return {
      {"format", "wsp-fingerprint"},
      {"version", 1},
      {"cases", cases.size()},
      {"subjects", subjects.size()},
      {"slices", slices},
      {"labels", class_balance(cases, label_names)},
      {"numbers", numbers},
      {"matrix",
       counts(cases, [](const auto& f) { return fmt::format("{}x{}", f.matrix[0], f.matrix[1]); })},
      {"phase_by_header", counts(cases, [](const auto& f) { return f.phase; })},
      {"phase_by_hu", counts(cases, [](const auto& f) { return f.hu_phase; })},
      {"kernel", counts(cases, [](const auto& f) { return f.kernel; })},
      {"mask_source", counts(cases, [](const auto& f) { return f.mask_source; })},
      {"spacing_mm", d([](const auto& f) { return f.spacing_mm; })},
      {"pixel_mm", d([](const auto& f) { return f.pixel_mm[0]; })},
      {"scan_range_mm", d([](const auto& f) { return f.scan_range_mm; })},
      {"kept_slices", d([](const auto& f) { return static_cast<double>(f.kept); })},
      {"liver_ml", d([](const auto& f) { return f.liver_ml; })},
      {"liver_height_mm", d([](const auto& f) { return f.liver_height_mm; })},
      {"liver_median_hu", d([](const auto& f) { return f.liver_median_hu; })},
      {"vessel_hu", d([](const auto& f) { return f.vessel_hu; })},
      {"noise_hu", d([](const auto& f) { return f.noise_hu; })},
      {"air_hu", d([](const auto& f) { return f.air_hu; })},
      {"fat_hu", d([](const auto& f) { return f.fat_hu; })},
      {"liver_hu_quantiles", liver_quantiles(cases)},
      {"depth", to_json(audit)}};
}

}  // namespace wsp::qa
