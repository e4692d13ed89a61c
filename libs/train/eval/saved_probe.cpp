#include "train/eval/saved_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"
#include "train/stats/metrics.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

json model_json(const BinaryModel& m) {
  return {{"mean", m.mean},
          {"scale", m.scale},
          {"coefficients", m.coefficients},
          {"intercept", m.intercept}};
}

BinaryModel model_of(const json& j, std::size_t dimensions, const std::filesystem::path& path) {
  BinaryModel m;
  m.mean = j.at("mean").get<std::vector<double>>();
  m.scale = j.at("scale").get<std::vector<double>>();
  m.coefficients = j.at("coefficients").get<std::vector<double>>();
  m.intercept = j.at("intercept").get<double>();
  if (m.mean.size() != dimensions || m.scale.size() != dimensions ||
      m.coefficients.size() != dimensions ||
      std::any_of(m.scale.begin(), m.scale.end(), [](double s) { return !(s > 0); }))
    throw Error(ErrorCode::usage, path.string() + ": a model does not have " +
                                      std::to_string(dimensions) +
                                      " features, as \"dimensions\" says");
  return m;
}

std::string fact_of(const FeatureTable& t, const char* name) {
  const auto found = t.facts.find(name);
  return found == t.facts.end() ? "unknown" : found->second;
}

std::string hash_of(const std::string& subject) { return hex(sha256(subject)).substr(0, 16); }

}  // namespace

double median_choice(std::vector<double> chosen) {
  std::sort(chosen.begin(), chosen.end());
  return chosen.at((chosen.size() - 1) / 2);
}

SavedProbe fit_saved_probe(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                           const std::vector<Diagnosis>& diagnoses, double c, int refits,
                           std::uint64_t seed) {
  SavedProbe probe;
  probe.facts = tables.at(0)->facts;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const Diagnosis& d = diagnoses.size() == 1 ? diagnoses[0] : diagnoses.at(i);
    const std::string dataset = fact_of(*tables[i], "dataset");
    probe.sources.push_back({dataset, fact_of(*tables[i], "dataset_sha256"), d.label,
                             positive_classes(*tables[i], d).text,
                             std::count(cohort.dataset.begin(), cohort.dataset.end(), dataset)});
  }
  probe.label = probe.sources.front().label;
  probe.positive = probe.sources.front().positive;
  for (const std::string& name : cohort.set.names) probe.subject_hashes.push_back(hash_of(name));
  std::sort(probe.subject_hashes.begin(), probe.subject_hashes.end());
  probe.c = c;
  probe.subjects = cohort.set.subjects();
  std::vector<std::vector<std::size_t>> classes(2);
  for (std::size_t s = 0; s < cohort.set.positive.size(); ++s)
    classes[cohort.set.positive[s] != 0 ? 1 : 0].push_back(s);
  probe.positives = static_cast<std::int64_t>(classes[1].size());
  LogisticFits fits(cohort.set);
  fits.prepare(c);
  const std::vector<double> all(cohort.set.positive.size(), 1.0);
  probe.model = fits.fit(c, all, cohort.set.positive);
  std::vector<std::vector<double>> weight(static_cast<std::size_t>(refits),
                                          std::vector<double>(all.size()));
  std::vector<LogisticRequest> requests;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    CounterRng rng(seed, {0x7265666974, i});
    for (const auto& members : classes)
      for (std::size_t k = 0; k < members.size(); ++k)
        weight[i][members[rng.below(members.size())]] += 1;
    requests.push_back({c, weight[i], cohort.set.positive, &probe.model});
  }
  probe.refits = fits.fit_all(requests);
  return probe;
}

void write_probe(const std::filesystem::path& path, const SavedProbe& p) {
  json refits = json::array();
  for (const BinaryModel& m : p.refits) refits.push_back(model_json(m));
  json sources = json::array();
  for (const SavedProbe::Source& f : p.sources)
    sources.push_back({{"dataset", f.dataset},
                       {"dataset_sha256", f.dataset_sha256},
                       {"label", f.label},
                       {"positive", f.positive},
                       {"subjects", f.subjects}});
  json j{{"format", "wsp-probe"},
         {"version", 1},
         {"intended_use", "research only; not a medical device"},
         {"label", p.label},
         {"positive", p.positive},
         {"features", p.facts},
         {"cohort",
          {{"subjects", p.subjects},
           {"positive", p.positives},
           {"datasets", sources},
           {"subject_hashes", p.subject_hashes}}},
         {"c", p.c},
         {"dimensions", p.model.coefficients.size()},
         {"model", model_json(p.model)},
         {"refits", refits}};
  j["sha256"] = hex(sha256(json_text(j)));
  write_file_atomic(path, json_text(j) + "\n");
}

SavedProbe read_probe(const std::filesystem::path& path) {
  json j = load_json(path);
  if (const auto violations = schema_violations("probe.schema.json", j); !violations.empty()) {
    std::string text = path.string() + " is no saved probe of wsp-eval:";
    for (const std::string& v : violations) text += "\n  " + v;
    throw Error(ErrorCode::usage, text);
  }
  if (const auto hash = j.find("sha256"); hash != j.end()) {
    const std::string digits = hash->get<std::string>();
    j.erase(hash);
    if (hex(sha256(json_text(j))) != digits)
      throw Error(ErrorCode::corrupt,
                  path.string() + " does not have the SHA-256 that it was written with: damaged");
  } else {
    log::info(path.string() + " carries no hash of its contents: damage in it cannot be seen");
  }
  SavedProbe p;
  const std::size_t dimensions = j.at("dimensions").get<std::size_t>();
  p.model = model_of(j.at("model"), dimensions, path);
  for (const json& m : j.at("refits")) p.refits.push_back(model_of(m, dimensions, path));
  p.facts = j.at("features").get<std::map<std::string, std::string>>();
  p.label = j.at("label");
  p.positive = j.at("positive");
  p.subjects = j.at("cohort").at("subjects");
  p.positives = j.at("cohort").at("positive");
  p.c = j.at("c");
  for (const json& f : j.at("cohort").value("datasets", json::array()))
    p.sources.push_back({f.at("dataset"), f.at("dataset_sha256"), f.at("label"), f.at("positive"),
                         f.at("subjects")});
  p.subject_hashes = j.at("cohort").value("subject_hashes", std::vector<std::string>{});
  return p;
}

void check_encoder(const SavedProbe& probe, const std::string& sha256) {
  const std::string& expected = probe.facts.at("encoder_sha256");
  if (sha256 != expected)
    throw Error(
        ErrorCode::usage,
        fmt::format(
            "the probe was fitted on features with encoder_sha256 {}, these weights have {}: "
            "give the encoder of the probe's cohort",
            expected, sha256));
}

std::int64_t subjects_fitted_on(const SavedProbe& probe, const FeatureTable& t) {
  std::set<std::string> subjects;
  for (const FeatureCase& c : t.cases) subjects.insert(c.subject);
  return std::count_if(subjects.begin(), subjects.end(), [&](const std::string& s) {
    return std::binary_search(probe.subject_hashes.begin(), probe.subject_hashes.end(), hash_of(s));
  });
}

std::vector<SubjectPrediction> predict(const SavedProbe& probe, const FeatureTable& t) {
  for (const char* what : {"encoder_sha256", "image_size", "precision"}) {
    const auto was = probe.facts.find(what), is = t.facts.find(what);
    const std::string expected = was == probe.facts.end() ? "unknown" : was->second;
    const std::string found = is == t.facts.end() ? "unknown" : is->second;
    if (expected != found)
      throw Error(
          ErrorCode::usage,
          fmt::format("the probe was fitted on features with {} {}, these have {}: embed with "
                      "the encoder and the options of the probe's cohort",
                      what, expected, found));
  }
  if (t.dimensions != static_cast<std::int64_t>(probe.model.coefficients.size()))
    throw Error(ErrorCode::usage, fmt::format("the probe has {} features, these slices have {}",
                                              probe.model.coefficients.size(), t.dimensions));
  std::map<std::string, std::vector<std::size_t>> rows;
  for (std::size_t i = 0; i < t.case_id.size(); ++i)
    rows[t.cases[static_cast<std::size_t>(t.case_id[i])].subject].push_back(i);
  std::vector<SubjectPrediction> result;
  for (const auto& [subject, of_subject] : rows) {
    SubjectPrediction s;
    s.subject = subject;
    s.slices = static_cast<std::int64_t>(of_subject.size());
    ProbeSet set;
    set.dimensions = t.dimensions;
    set.first = {0, s.slices};
    set.positive = {0};
    for (const std::size_t row : of_subject) {
      const auto* x = t.values.data() + static_cast<std::int64_t>(row) * t.dimensions;
      const std::vector<double> one(x, x + t.dimensions);
      set.x.insert(set.x.end(), one.begin(), one.end());
      s.driving.push_back({t.cases[static_cast<std::size_t>(t.case_id[row])].name, t.depth[row],
                           probe.model.probability(one)});
    }
    s.probability = subject_probabilities(set, probe.model).front();
    std::vector<double> spread;
    for (const BinaryModel& m : probe.refits)
      spread.push_back(subject_probabilities(set, m).front());
    s.low = quantile(spread, 0.025);
    s.high = quantile(spread, 0.975);
    const bool verdict = s.probability > 0.5;
    std::stable_sort(s.driving.begin(), s.driving.end(), [&](const auto& a, const auto& b) {
      return verdict ? a.probability > b.probability : a.probability < b.probability;
    });
    if (s.driving.size() > 5) s.driving.resize(5);
    result.push_back(std::move(s));
  }
  return result;
}

}  // namespace wsp::train
