#include "train/eval/plan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/manifest/manifest.hpp"
#include "train/model/catalogue.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string words(const std::vector<std::string>& list) {
  return fmt::format("{} {}", fmt::join(list, ", "), list.size() == 1 ? "is" : "are");
}

// Names that become directories and rows must differ.
template <class T>
void refuse_repeated(const std::filesystem::path& path, const char* what, std::vector<T> list) {
  std::sort(list.begin(), list.end());
  if (const auto twice = std::adjacent_find(list.begin(), list.end()); twice != list.end())
    throw Error(ErrorCode::usage,
                fmt::format("{}: {} {} stands twice; name each once", path.string(), what, *twice));
}

bool needs_no_pretraining(const std::string& method) {
  return method == "supervised" || method == "random" || method == "imagenet";
}

const std::vector<std::string>& known_methods() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = method_names();
    all.emplace_back("imagenet");
    return all;
  }();
  return names;
}

}  // namespace

std::string Cell::name() const {
  return fmt::format("{}-{}-s{}{}", method, backbone, seed, variant.empty() ? "" : "-" + variant);
}

Plan load_plan(const std::filesystem::path& path) {
  Plan plan;
  plan.text = load_json(path);
  if (const auto violations = schema_violations("plan.schema.json", plan.text);
      !violations.empty()) {
    std::string text = path.string() + " is no plan:";
    for (const std::string& v : violations) text += "\n  " + v;
    throw Error(ErrorCode::usage, text);
  }
  const json& j = plan.text;
  plan.name = j.at("name");
  if (j.contains("pretraining")) {
    plan.pretraining = j["pretraining"]["dataset"];
    plan.pretraining_exclude = j["pretraining"].value("exclude", "");
  }
  for (const json& e : j.at("evaluations"))
    plan.evaluations.push_back({e.at("name"),
                                e.at("dataset"),
                                {e.at("label"), e.at("positive"), e.value("reader", "")},
                                e.value("exclude", "")});
  plan.aggregate = j.value("aggregate", "");
  plan.published = j.value("published", false);
  plan.methods = j.at("methods").get<std::vector<std::string>>();
  for (const std::string& method : plan.methods)
    if (!contains(known_methods(), method))
      throw Error(ErrorCode::usage,
                  fmt::format("{}: the method '{}' is unknown; expected one of {}", path.string(),
                              method, json_text(json(known_methods()))));
  plan.backbones = j.at("backbones").get<std::vector<std::string>>();
  for (const std::string& encoder : plan.backbones)
    if (!contains(encoder_names(), encoder))
      throw Error(ErrorCode::usage,
                  fmt::format("{}: the backbone '{}' is unknown; expected one of {}", path.string(),
                              encoder, json_text(json(encoder_names()))));
  plan.seeds = j.at("seeds").get<std::vector<std::uint64_t>>();
  plan.weights = j.value("weights", plan.weights);
  plan.imported = j.value("imported", plan.imported);
  plan.sigmas = j.value("sigmas", plan.sigmas);
  std::vector<std::string> names;
  for (const Evaluation& e : plan.evaluations) names.push_back(e.name);
  if (!plan.aggregate.empty()) names.push_back(plan.aggregate);
  for (const auto& [encoder, files] : plan.imported) {
    if (contains(known_methods(), encoder))
      throw Error(
          ErrorCode::usage,
          fmt::format(
              "{}: the imported features are called {}, which is a method: give them another name",
              path.string(), encoder));
    for (const Evaluation& e : plan.evaluations)
      if (!files.contains(e.name))
        throw Error(ErrorCode::usage,
                    fmt::format("{}: the imported features of {} lack those of the evaluation {}",
                                path.string(), encoder, e.name));
    if (files.size() > plan.evaluations.size())
      throw Error(
          ErrorCode::usage,
          fmt::format(
              "{}: the imported features of {} name an evaluation that the plan does not have",
              path.string(), encoder));
  }
  refuse_repeated(path, "the evaluation or aggregate", names);
  refuse_repeated(path, "the method", plan.methods);
  refuse_repeated(path, "the backbone", plan.backbones);
  refuse_repeated(path, "the seed", plan.seeds);
  refuse_repeated(path, "the sigma", plan.sigmas);
  const json probe = j.value("probe", json::object());
  CrossValidationOptions& cv = plan.protocol.cv;
  cv.folds = probe.value("folds", cv.folds);
  cv.repeats = probe.value("repeats", cv.repeats);
  cv.c = probe.value("c", cv.c);
  cv.seed = probe.value("seed", cv.seed);
  if (probe.value("nested_c", false)) cv.c_grid = default_c_grid();
  plan.protocol.divisions = probe.value("divisions", plan.protocol.divisions);
  plan.protocol.permutations = probe.value("permutations", plan.protocol.permutations);
  plan.by = probe.value("by", plan.by);
  plan.protocol.sensitivity = probe.value("sensitivity", plan.protocol.sensitivity);
  return plan;
}

std::vector<std::string> Plan::left_out() const {
  std::vector<std::string> notes, dropped, weightless;
  for (const std::string& method : methods)
    if (pretraining.empty() && !needs_no_pretraining(method)) dropped.push_back(method);
  if (pretraining.empty() && !sigmas.empty()) dropped.emplace_back("the sigma table");
  if (pretraining.empty() && text.contains("ablation")) dropped.emplace_back("the ablation");
  if (!dropped.empty())
    notes.push_back(
        fmt::format("The plan has no pretraining dataset: {} not computed.", words(dropped)));
  for (const std::string& backbone : backbones)
    if (contains(methods, "imagenet") && !weights.contains(backbone))
      weightless.push_back(backbone);
  if (!weightless.empty())
    notes.push_back(fmt::format(
        "The plan gives no ImageNet weights for {}: without them imagenet is not computed.",
        fmt::join(weightless, ", ")));
  if (protocol.cv.repeats > 1 && contains(methods, "supervised"))
    notes.push_back(fmt::format(
        "The supervised networks are trained in the first of the {} divisions into folds only.",
        protocol.cv.repeats));
  return notes;
}

std::vector<std::pair<std::string, std::string>> Plan::rows() const {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const std::string& backbone : backbones)
    for (const std::string& method : methods)
      if (method != "imagenet" || weights.contains(backbone)) rows.emplace_back(method, backbone);
  for (const auto& [encoder, files] : imported) rows.emplace_back(encoder, kImported);
  return rows;
}

const std::string& Plan::reference_backbone(const std::string& backbone) const {
  return backbone == kImported ? backbones.front() : backbone;
}

std::vector<Cell> Plan::cells() const {
  std::vector<Cell> cells;
  const auto base = [&](const std::string& method, const std::string& backbone,
                        std::uint64_t seed) {
    json train = text.value("train", json::object());
    if (text.contains("method_train") && text["method_train"].contains(method))
      train.update(text["method_train"][method]);
    train["method"] = method == "imagenet" ? "random" : method;
    train["encoder"] = backbone;
    train["seed"] = seed;
    return train;
  };
  // Seed by seed, so that a table that is stopped early has every method.
  for (const std::uint64_t seed : seeds)
    for (const std::string& method : methods)
      for (const std::string& backbone : backbones) {
        if (pretraining.empty() && !needs_no_pretraining(method)) continue;
        // Nothing of given weights is drawn: one seed does.
        if (method == "imagenet" && (!weights.contains(backbone) || seed != seeds.front()))
          continue;
        cells.push_back({method, backbone, seed, "", base(method, backbone, seed)});
      }
  for (const auto& [encoder, files] : imported) {
    json train = base("random", backbones.front(), seeds.front());
    cells.push_back({encoder, kImported, seeds.front(), "", std::move(train)});
  }
  if (pretraining.empty()) return cells;
  const auto vary = [&](const std::string& variant, const json& overrides) {
    for (const std::uint64_t seed : seeds) {
      Cell cell{"wsp", backbones.front(), seed, variant, base("wsp", backbones.front(), seed)};
      cell.train.update(overrides);
      cells.push_back(cell);
    }
  };
  for (const double sigma : sigmas) vary(fmt::format("sigma={:g}", sigma), {{"sigma", sigma}});
  if (text.contains("ablation")) {
    const json& a = text["ablation"];
    const auto values = [&](const char* what, const char* usual) {
      return a.value(what, std::vector<std::string>{usual});
    };
    for (const std::string& kernel : values("kernel", "rbf"))
      for (const std::string& depth : values("depth_scale", "kept"))
        for (const std::string& normalisation : values("normalisation", "paper"))
          vary(kernel + "," + depth + "," + normalisation,
               {{"kernel", kernel}, {"depth_scale", depth}, {"normalisation", normalisation}});
  }
  return cells;
}

}  // namespace wsp::train
