// The paper's tables.
#include "train/eval/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/core/counter_rng.hpp"
#include "train/eval/plan.hpp"
#include "train/eval/published.hpp"
#include "train/eval/saved_probe.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

TEST(Table, ShowsMeansOverSeedsAndFoldsBesideThePaper) {
  Plan plan = load_plan(WSP_SOURCE_DIR "/schemas/examples/plan.json");
  plan.published = true;
  plan.aggregate.clear();
  plan.evaluations.resize(1);
  const auto cell = [](const std::string& method, std::uint64_t seed, double auc) {
    json r{{"auc", {{"folds", {auc, auc + 0.1}}}},
           {"balanced_accuracy", {{"folds", {0.5, 0.7}}}},
           {"predictions", json::array()}};
    for (int s = 0; s < 20; ++s)
      r["predictions"].push_back({{"subject", std::to_string(s)},
                                  {"truth", s % 2},
                                  {"fold", s / 10},
                                  {"probability", {method == "wsp" ? s % 2 : 0.5}}});
    r.update({{"subjects", 20}, {"positive", 10}, {"folds", 2}});
    r["intervals"] = {{"refitted", method == "wsp"},
                      {"half_folds", 2},
                      {"auc_of_halves", {{auc, auc - 0.1}, {auc + 0.1, auc}}}};
    return json{{"cell", method + std::to_string(seed)},
                {"method", method},
                {"backbone", "tinynet"},
                {"seed", seed},
                {"variant", ""},
                {"results", {{"D1", r}}}};
  };
  const auto tables = make_tables(plan, {cell("random", 1, 0.4), cell("random", 2, 0.6),
                                         cell("wsp", 1, 0.8), cell("wsp", 2, 0.8)});
  const auto& auc = tables.front();
  ASSERT_EQ(auc.rows.size(), 3U);
  EXPECT_EQ(auc.rows[0][2].substr(0, 11), "0.55 (0.13)");
  EXPECT_EQ(auc.rows[0][3], "0.64 (0.10)");
  EXPECT_EQ(auc.rows[0][4], "-0.30 [-0.39, -0.20]*") << "the halves of both differ alike";
  EXPECT_EQ(auc.rows[1][2], "-") << "simclr has no cell";
  EXPECT_EQ(auc.rows[2][2], "0.85 (0.06) [0.66, 0.93]");
  EXPECT_NE(auc.notes.back().find("5 of 9 cells are missing"), std::string::npos)
      << auc.notes.back();
  EXPECT_EQ(tables[1].rows[2][1], "0.60 (0.12)");
  const std::string tsv = to_tsv(auc);
  EXPECT_EQ(std::count(tsv.begin(), tsv.end(), '\n'), 4);
  EXPECT_NE(to_html(tables, "a<b").find("<title>a&lt;b</title>"), std::string::npos);
  EXPECT_NE(to_markdown(tables, "t").find("| random | tinynet | 0.55 (0.13)"), std::string::npos);
  EXPECT_EQ(published_auc("resnet18", "wsp", "D1+2")->text(), "0.84 (0.07)");
  EXPECT_EQ(published_balanced_accuracy("readers", "D1")->text(), "0.82");
  EXPECT_FALSE(published_balanced_accuracy("readers", "D2"));
  EXPECT_EQ(published_sigma("tinynet", 0.3, "D2")->text(), "0.82 (0.31)");
  EXPECT_FALSE(published_sigma("resnet18", 0.3, "D2"));
  EXPECT_FALSE(published_auc("tinynet", "imagenet", "D1"));
}

// A cell's results by hand: on each evaluation two folds of AUC and balanced accuracy around the
// numbers given.
json hand_made_cell(const std::string& method, const std::string& backbone,
                    const std::string& variant, double auc, double accuracy, bool reader = false) {
  json results;
  for (const char* e : {"D1", "D2", "D1+2"}) {
    json r{{"auc", {{"folds", {auc - 0.1, auc + 0.1}}}},
           {"balanced_accuracy", {{"folds", {accuracy - 0.1, accuracy + 0.1}}}},
           {"predictions", json::array()}};
    for (int s = 0; s < 8; ++s)
      r["predictions"].push_back({{"subject", std::to_string(s)},
                                  {"truth", s % 2},
                                  {"fold", s / 4},
                                  {"probability", {0.5}}});
    if (reader && std::string(e) == "D1") r["reader"] = {{"balanced_accuracy", 0.66}};
    results[e] = r;
  }
  return {{"cell", Cell{method, backbone, 1, variant, {}}.name()},
          {"method", method},
          {"backbone", backbone},
          {"seed", 1},
          {"variant", variant},
          {"results", results}};
}

Plan plan_of_two_backbones(const std::vector<std::string>& backbones) {
  Plan plan = load_plan(WSP_SOURCE_DIR "/schemas/examples/plan.json");
  plan.published = true;
  plan.methods = {"supervised", "imagenet", "wsp"};
  plan.backbones = backbones;
  plan.seeds = {1};
  plan.weights = {{"resnet18", "resnet18.safetensors"}};
  plan.sigmas = {0.01, 0.1};
  plan.text["ablation"] = {{"kernel", {"rbf", "laplacian"}}, {"depth_scale", {"kept", "liver"}}};
  return plan;
}

const ResultTable& named(const std::vector<ResultTable>& tables, const char* name) {
  return *std::find_if(tables.begin(), tables.end(),
                       [&](const ResultTable& t) { return t.name == name; });
}

using Row = std::vector<std::string>;

TEST(Table, ShowsTwoBackbonesReadersAndTheBetterOfBothBesideThePaper) {
  const Plan plan = plan_of_two_backbones({"tinynet", "resnet18"});
  json supervised = hand_made_cell("supervised", "tinynet", "", 0.6, 0.7);
  supervised["results"].erase("D1+2");
  const auto tables =
      make_tables(plan, {supervised, hand_made_cell("wsp", "tinynet", "", 0.7, 0.5, true),
                         hand_made_cell("imagenet", "resnet18", "", 0.5, 0.55),
                         hand_made_cell("wsp", "resnet18", "", 0.8, 0.65)});
  const ResultTable& auc = named(tables, "auc");
  EXPECT_EQ(auc.header,
            (Row{"method", "backbone", "D1", "D1 in the paper", "D1 minus WSP", "D2",
                 "D2 in the paper", "D2 minus WSP", "D1+2", "D1+2 within datasets",
                 "D1+2 in the paper", "D1+2 minus WSP", "seeds", "permutation p on D1 (median)"}));
  const auto paper = [&](std::size_t row) {
    return Row{auc.rows[row][0], auc.rows[row][1], auc.rows[row][3], auc.rows[row][6],
               auc.rows[row][10]};
  };
  ASSERT_EQ(auc.rows.size(), 5U);  // no ImageNet weights of TinyNet
  EXPECT_EQ(paper(0), (Row{"supervised", "tinynet", "0.79 (0.05)", "0.65 (0.25)", "0.71 (0.04)"}));
  EXPECT_EQ(paper(1), (Row{"wsp", "tinynet", "0.84 (0.12)", "0.91 (0.11)", "0.79 (0.11)"}));
  EXPECT_EQ(paper(2), (Row{"supervised", "resnet18", "0.77 (0.10)", "0.56 (0.29)", "0.72 (0.08)"}));
  EXPECT_EQ(paper(3), (Row{"imagenet", "resnet18", "0.72 (0.17)", "0.76 (0.04)", "0.66 (0.10)"}));
  EXPECT_EQ(paper(4), (Row{"wsp", "resnet18", "0.84 (0.07)", "0.85 (0.10)", "0.84 (0.07)"}));
  EXPECT_EQ(auc.rows[0][8], "-") << "a supervised network is of one dataset";
  EXPECT_EQ(auc.rows[1][2].substr(0, 11), "0.70 (0.14)");
  EXPECT_EQ(auc.rows[2][2], "-") << "resnet18 has no supervised cell";
  EXPECT_EQ(auc.rows[3][11].substr(0, 5), "-0.30") << "against the WSP of its own backbone";
  EXPECT_EQ(auc.rows[4][8].substr(0, 11), "0.80 (0.14)");

  const ResultTable& accuracy = named(tables, "balanced-accuracy");
  EXPECT_EQ(accuracy.header, (Row{"method", "tinynet", "resnet18", "better backbone", "no network",
                                  "in the paper"}));
  ASSERT_EQ(accuracy.rows.size(), 4U);
  EXPECT_EQ(accuracy.rows[0],
            (Row{"supervised", "0.70 (0.14)", "-", "0.70 (0.14)", "", "0.78 (0.04)"}));
  EXPECT_EQ(accuracy.rows[1],
            (Row{"imagenet", "-", "0.55 (0.14)", "0.55 (0.14)", "", "0.74 (0.13)"}));
  EXPECT_EQ(accuracy.rows[2],
            (Row{"wsp", "0.50 (0.14)", "0.65 (0.14)", "0.65 (0.14)", "", "0.85 (0.09)"}));
  EXPECT_EQ(accuracy.rows[3], (Row{"readers", "", "", "", "0.66", "0.82"}));
}

TEST(Table, ShowsThePapersSigmaBesideTinyNetAloneAndNamesTheRunsShownTwice) {
  json again = hand_made_cell("wsp", "tinynet", "sigma=0.1", 0.7, 0.5);
  again["same_as"] = "wsp-tinynet-s1";
  const auto tables =
      make_tables(plan_of_two_backbones({"tinynet", "resnet18"}),
                  {hand_made_cell("wsp", "tinynet", "sigma=0.01", 0.6, 0.5), again,
                   hand_made_cell("wsp", "tinynet", "laplacian,liver,paper", 0.4, 0.5)});
  const ResultTable& sigma = named(tables, "sigma");
  EXPECT_EQ(sigma.header, (Row{"sigma", "D1", "D1 in the paper", "D2", "D2 in the paper", "D1+2",
                               "D1+2 in the paper"}));
  ASSERT_EQ(sigma.rows.size(), 2U);
  EXPECT_EQ((Row{sigma.rows[0][0], sigma.rows[0][2], sigma.rows[0][4], sigma.rows[0][6]}),
            (Row{"0.01", "0.81 (0.07)", "0.85 (0.13)", "0.81 (0.08)"}));
  EXPECT_EQ(sigma.rows[0][1].substr(0, 11), "0.60 (0.14)");
  EXPECT_EQ(sigma.rows[1][1].substr(0, 11), "0.70 (0.14)");
  ASSERT_EQ(sigma.notes.size(), 1U);
  EXPECT_EQ(sigma.notes[0],
            "sigma=0.1 shows the runs of wsp-tinynet-s1, whose training is the same: no repetition "
            "of them.");
  const ResultTable& ablation = named(tables, "ablation");
  EXPECT_EQ(ablation.header, (Row{"kernel", "depth over", "normalisation", "D1", "D2", "D1+2"}));
  ASSERT_EQ(ablation.rows.size(), 4U);
  EXPECT_EQ(ablation.rows[0], (Row{"rbf", "kept", "paper", "-", "-", "-"}));
  EXPECT_EQ((Row{ablation.rows[3].begin(), ablation.rows[3].begin() + 3}),
            (Row{"laplacian", "liver", "paper"}));
  EXPECT_EQ(ablation.rows[3][4].substr(0, 11), "0.40 (0.14)");
  EXPECT_TRUE(ablation.notes.empty());

  const auto other = make_tables(plan_of_two_backbones({"resnet18", "tinynet"}),
                                 {hand_made_cell("wsp", "resnet18", "sigma=0.01", 0.6, 0.5)});
  EXPECT_EQ(named(other, "sigma").header, (Row{"sigma", "D1", "D2", "D1+2"}));
  EXPECT_NE(named(other, "sigma").title.find("resnet18"), std::string::npos);
  EXPECT_EQ(named(other, "sigma").rows[0][1].substr(0, 11), "0.60 (0.14)");
}

}  // namespace
}  // namespace wsp::train
