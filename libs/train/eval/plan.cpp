#include "train/eval/plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

bool needs_no_pretraining(const std::string& method) {
  return method == "supervised" || method == "random" || method == "imagenet";
}

const std::vector<std::string>& known_methods() {
  static const std::vector<std::string> names = {
      "supervised", "random",   "imagenet",     "simclr",      "byol",           "supcon",              "depth-aware",
      "wsp",        "simsiam", "barlow-twins", "kernel-byol", "kernel-simsiam", "kernel-barlow-twins"};
  return names;
}

}  // namespace

std::string Cell::name() const {
  return fmt::format("{}-{}-s{}{}", method, backbone, seed, variant.empty() ? "" : "-" + variant);
}

Plan load_plan(const std::filesystem::path& path) {
  Plan plan;
  plan.text = load_json(path);
  if (const auto violations = schema_violations("plan.schema.json", plan.text); !violations.empty()) {
    std::string text = path.string() + " is no plan:";
    for (const std::string& v : violations) text += "\n  " + v;
    throw Error(ErrorCode::usage, text);
  }
  const json& j = plan.text;
  plan.name = j.at("name");
  if (j.contains("pretraining")) plan.pretraining = j["pretraining"]["dataset"];
  for (const json& e : j.at("evaluations"))
    plan.evaluations.push_back({e.at("name"), e.at("dataset"), {e.at("label"), parse_positive(e.at("positive")), e.value("reader", "")}});
  plan.aggregate = j.value("aggregate", "");
  plan.published = j.value("published", false);
  plan.methods = j.at("methods").get<std::vector<std::string>>();
  for (const std::string& method : plan.methods)
    if (std::find(known_methods().begin(), known_methods().end(), method) == known_methods().end())
      throw Error(ErrorCode::usage, fmt::format("{}: the method '{}' is unknown; expected one of {}", path.string(), method,
                                                json(known_methods()).dump()));
  plan.backbones = j.at("backbones").get<std::vector<std::string>>();
  plan.seeds = j.at("seeds").get<std::vector<std::uint64_t>>();
  plan.weights = j.value("weights", plan.weights);
  plan.sigmas = j.value("sigmas", plan.sigmas);
  const json probe = j.value("probe", json::object());
  CrossValidationOptions& cv = plan.protocol.cv;
  cv.folds = probe.value("folds", cv.folds);
  cv.repeats = probe.value("repeats", cv.repeats);
  cv.c = probe.value("c", cv.c);
  cv.seed = probe.value("seed", cv.seed);
  if (probe.value("nested_c", false)) cv.c_grid = default_c_grid();
  plan.protocol.bootstrap = probe.value("bootstrap", plan.protocol.bootstrap);
  plan.protocol.permutations = probe.value("permutations", plan.protocol.permutations);
  return plan;
}

std::vector<Cell> Plan::cells() const {
  std::vector<Cell> cells;
  const auto base = [&](const std::string& method, const std::string& backbone, std::uint64_t seed) {
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
        if (method == "imagenet" && (!weights.contains(backbone) || seed != seeds.front())) continue;
        cells.push_back({method, backbone, seed, "", base(method, backbone, seed)});
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
    const auto values = [&](const char* what, const char* usual) { return a.value(what, std::vector<std::string>{usual}); };
    for (const std::string& kernel : values("kernel", "rbf"))
      for (const std::string& depth : values("depth_scale", "kept"))
        for (const std::string& normalisation : values("normalisation", "paper"))
          vary(kernel + "," + depth + "," + normalisation,
               {{"kernel", kernel}, {"depth_scale", depth}, {"normalisation", normalisation}});
  }
  return cells;
}

}  // namespace wsp::train
