#include "preprocess/report/baseline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/report/numbers.hpp"

namespace wsp::qa {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Measure {
  const char* name;
  const char* unit;
  int digits;
  std::function<double(const CaseFacts&)> value;
};
const std::vector<Measure>& measures() {
  static const std::vector<Measure> all{
      {"slice distance", "mm", 2, [](const CaseFacts& f) { return f.spacing_mm; }},
      {"pixel size", "mm", 3, [](const CaseFacts& f) { return f.pixel_mm[0]; }},
      {"scan range", "mm", 1, [](const CaseFacts& f) { return f.scan_range_mm; }},
      {"kept slices", "", 1, [](const CaseFacts& f) { return static_cast<double>(f.kept); }},
      {"liver volume", "ml", 0, [](const CaseFacts& f) { return f.liver_ml; }},
      {"liver HU", "HU", 1, [](const CaseFacts& f) { return f.liver_median_hu; }},
      {"vessel HU", "HU", 1, [](const CaseFacts& f) { return f.vessel_hu; }},
      {"noise", "HU", 1, [](const CaseFacts& f) { return f.noise_hu; }},
      {"air HU", "HU", 1, [](const CaseFacts& f) { return f.air_hu; }},
      {"fat HU", "HU", 1, [](const CaseFacts& f) { return f.fat_hu; }}};
  return all;
}

std::vector<double> values_of(const std::vector<CaseFacts>& cases, const Measure& measure) {
  std::vector<double> values;
  for (const CaseFacts& f : cases) values.push_back(measure.value(f));
  return values;
}

CaseFacts read_case(const fs::path& path, std::vector<std::string>& label_names) {
  const json j = load_json(path);
  CaseFacts f;
  f.name = j.at("name").get<std::string>();
  f.subject = j.at("subject").get<std::string>();
  f.kept = j.at("kept").get<std::int64_t>();
  f.pixel_mm[0] = number_or_unset(j.at("pixel_mm").at(0));
  for (const auto& [name, field] : {std::pair{"spacing_mm", &f.spacing_mm},
                                    {"scan_range_mm", &f.scan_range_mm},
                                    {"liver_ml", &f.liver_ml},
                                    {"liver_median_hu", &f.liver_median_hu},
                                    {"vessel_hu", &f.vessel_hu},
                                    {"noise_hu", &f.noise_hu},
                                    {"air_hu", &f.air_hu},
                                    {"fat_hu", &f.fat_hu}})
    *field = number_or_unset(j.at(name));
  // Reports before this one wrote 0 for what was not measured.
  if (j.value("air_share", 1.0) == 0) f.air_hu = kUnset;
  if (j.value("fat_share", 1.0) == 0) f.fat_hu = kUnset;
  label_names.clear();
  for (const auto& [name, value] : j.at("labels").items()) {
    label_names.push_back(name);
    f.labels.push_back(value.get<std::int64_t>());
  }
  f.pixels = pixel_facts(j.at("pixels"));
  return f;
}

std::map<std::int64_t, double> classes_of(const std::vector<CaseFacts>& cases, std::size_t label) {
  std::map<std::int64_t, double> counts;
  for (const CaseFacts& f : cases) ++counts[f.labels.at(label)];
  return counts;
}

}  // namespace

Baseline load_baseline(const fs::path& dataset_or_qa) {
  const fs::path qa =
      fs::exists(dataset_or_qa / "qa" / "cases") ? dataset_or_qa / "qa" : dataset_or_qa;
  Baseline baseline;
  std::error_code ec;
  std::vector<fs::path> files;
  if (fs::is_directory(qa / "cases", ec) && fs::exists(qa / "dataset_fingerprint.json", ec))
    for (const auto& entry : fs::directory_iterator(qa / "cases"))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
  if (files.empty())
    throw Error(ErrorCode::usage, "no QA of a dataset stands at " + dataset_or_qa.string() +
                                      ": run wsp-qa on the baseline first");
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    try {
      baseline.cases.push_back(read_case(file, baseline.label_names));
    } catch (const json::exception& e) {
      throw Error(ErrorCode::usage, "the baseline's " + file.filename().string() +
                                        " is no case of wsp-qa (" + e.what() +
                                        "): run wsp-qa on it again");
    }
  }
  return baseline;
}

std::vector<KnownVolume> volumes_of(const Baseline& baseline) {
  std::vector<KnownVolume> volumes;
  for (const CaseFacts& f : baseline.cases)
    volumes.push_back({f.name, f.subject, f.pixels.content, f.pixels.signature});
  return volumes;
}

json compare(const std::vector<CaseFacts>& cases, const std::vector<std::string>& label_names,
             const Baseline& baseline, Judge& judge) {
  json rows = json::array();
  const double limit = judge.limits().number("baseline_p");
  const auto note = [&](const std::string& what, const Test& test, const char* kind,
                        const std::string& said_here, const std::string& said_there) {
    rows.push_back({{"what", what},
                    {"test", kind},
                    {"statistic", rounded(test.statistic, 4)},
                    {"p", test.p < 1e-6 ? 0.0 : rounded(test.p, 6)},
                    {"here", said_here},
                    {"baseline", said_there},
                    {"drift", test.p < limit}});
    if (test.p < limit)
      judge.add(
          Code::BASELINE_DRIFT, "", "",
          fmt::format("{}: {} here, {} there; {} {:.3f}, p {}", what, said_here, said_there, kind,
                      test.statistic, test.p < 1e-6 ? "< 1e-6" : fmt::format("{:.2g}", test.p)),
          test.p, limit);
  };
  for (const Measure& measure : measures()) {
    auto a = values_of(cases, measure), b = values_of(baseline.cases, measure);
    const Summary sa = summarise(a), sb = summarise(b);
    if (sa.n == 0 || sb.n == 0) continue;  // measured in one of them at most
    const auto said = [&](const Summary& s) {
      return fmt::format("{:.{}f} ± {:.{}f}{}{}", s.mean, measure.digits, s.sd, measure.digits,
                         *measure.unit == 0 ? "" : " ", measure.unit);
    };
    note(measure.name, kolmogorov_smirnov(std::move(a), std::move(b)), "Kolmogorov-Smirnov D",
         said(sa), said(sb));
  }
  for (std::size_t l = 0; l < label_names.size(); ++l) {
    const auto other =
        std::find(baseline.label_names.begin(), baseline.label_names.end(), label_names[l]);
    if (other == baseline.label_names.end()) continue;
    const auto here = classes_of(cases, l);
    const auto there =
        classes_of(baseline.cases, static_cast<std::size_t>(other - baseline.label_names.begin()));
    std::map<std::int64_t, std::pair<double, double>> both;
    for (const auto& [value, n] : here) both[value].first = n;
    for (const auto& [value, n] : there) both[value].second = n;
    std::vector<double> a, b;
    std::string sa, sb;
    for (const auto& [value, n] : both) {
      a.push_back(n.first);
      b.push_back(n.second);
      sa += fmt::format("{}{}: {:.0f}", sa.empty() ? "" : ", ", value, n.first);
      sb += fmt::format("{}{}: {:.0f}", sb.empty() ? "" : ", ", value, n.second);
    }
    note("classes of " + label_names[l], chi_squared(a, b), "chi-squared", sa, sb);
  }
  return rows;
}

}  // namespace wsp::qa
