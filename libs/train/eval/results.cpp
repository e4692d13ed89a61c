#include "train/eval/results.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

std::vector<double> numbers(const json& list) {
  std::vector<double> values;
  for (const json& v : list) values.push_back(v.is_number() ? v.get<double>() : std::nan(""));
  return values;
}

// Whether a cell is of the tables by method, and has something of an evaluation.
bool has(const json& cell, const char* what, const std::string& method, const std::string& backbone,
         const std::string& evaluation) {
  return cell.at("method") == method && cell.at("backbone") == backbone &&
         cell.at("variant") == "" && cell.contains(what) && cell[what].contains(evaluation);
}

}  // namespace

PairedDifference difference_of(const Group& a, const Group& b) {
  if (a.empty() || b.empty()) return {std::nan(""), {std::nan(""), std::nan("")}, std::nan("")};
  return paired_difference(mean(a.seed_auc), a.halves, mean(b.seed_auc), b.halves);
}

Group Results::group(const std::string& method, const std::string& backbone,
                     const std::string& variant, const std::string& evaluation) const {
  Group g;
  std::vector<HalfSamples> halves;
  for (const json& cell : cells_) {
    if (cell.at("method") != method || cell.at("backbone") != backbone ||
        cell.at("variant") != variant || !cell.at("results").contains(evaluation))
      continue;
    const json& r = cell["results"][evaluation];
    const auto add = [](std::vector<double>& to, const std::vector<double>& v) {
      to.insert(to.end(), v.begin(), v.end());
    };
    add(g.auc, numbers(r.at("auc").at("folds")));
    add(g.accuracy, numbers(r.at("balanced_accuracy").at("folds")));
    g.seed_auc.push_back(mean(numbers(r.at("auc").at("folds"))));
    if (r.contains("permutation")) g.p.push_back(r["permutation"].at("p"));
    if (r.contains("auc_within_datasets") && r["auc_within_datasets"].is_number())
      g.within.push_back(r["auc_within_datasets"]);
    g.subjects = r.value("subjects", g.subjects);
    g.positives = r.value("positive", g.positives);
    halves.push_back(halves_of(r));
  }
  if (!halves.empty()) g.halves = mean_of(halves);
  return g;
}

std::vector<SubgroupScore> Results::subgroups(const std::string& method,
                                              const std::string& backbone,
                                              const std::string& evaluation) const {
  std::vector<std::vector<SubgroupScore>> of_seed;
  for (const json& cell : cells_)
    if (has(cell, "results", method, backbone, evaluation))
      of_seed.push_back(subgroups_of(cell["results"][evaluation]));
  if (of_seed.empty()) return {};
  const HalfSamples halves = group(method, backbone, "", evaluation).halves;
  const auto seeds = static_cast<double>(of_seed.size());
  std::vector<SubgroupScore> means = of_seed.front();
  for (std::size_t g = 0; g < means.size(); ++g) {
    SubgroupScore& s = means[g];
    s.auc = 0;
    for (auto& pair : s.halves) pair = {0, 0};
    for (const auto& scores : of_seed) {
      s.auc += scores.at(g).auc / seeds;
      for (std::size_t i = 0; i < s.halves.size(); ++i)
        for (std::size_t half = 0; half < 2; ++half)
          s.halves[i][half] += scores[g].halves.at(i)[half] / seeds;
    }
    s.interval = subgroup_interval(s, halves);
  }
  return means;
}

const json* Results::first_with(const char* what, const std::string& method,
                                const std::string& backbone, const std::string& evaluation) const {
  for (const json& cell : cells_)
    if (has(cell, what, method, backbone, evaluation)) return &cell;
  return nullptr;
}

std::vector<double> Results::of_pca(const std::string& method, const std::string& backbone,
                                    const std::string& evaluation, const char* what,
                                    int axis) const {
  std::vector<double> values;
  for (const json& cell : cells_) {
    if (!has(cell, "pca", method, backbone, evaluation)) continue;
    const json& v = cell["pca"][evaluation].at(what);
    const json& one = axis < 0 ? v : v.at(static_cast<std::size_t>(axis));
    if (one.is_number()) values.push_back(one.get<double>());
  }
  return values;
}

std::vector<std::string> Results::taken_from(const std::string& variant) const {
  std::vector<std::string> names;
  for (const json& cell : cells_)
    if (cell.at("variant") == variant && cell.contains("same_as")) names.push_back(cell["same_as"]);
  return names;
}

std::optional<double> Results::reader(const std::string& evaluation) const {
  for (const json& cell : cells_)
    if (cell.at("results").contains(evaluation) && cell["results"][evaluation].contains("reader"))
      return cell["results"][evaluation]["reader"].at("balanced_accuracy").get<double>();
  return std::nullopt;
}

std::vector<std::string> evaluations_of(const Plan& plan) {
  std::vector<std::string> names;
  for (const Evaluation& e : plan.evaluations) names.push_back(e.name);
  if (!plan.aggregate.empty()) names.push_back(plan.aggregate);
  return names;
}

}  // namespace wsp::train
