#include "train/pretrain/probe.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/python.hpp"
#include "support/test_data.hpp"
#include "train/pretrain/logistic.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// Subjects from `first` on, `slices` each; class c lies around a point of its own.
ProbeSlices made_slices(std::int32_t first, std::int32_t subjects, int slices, std::int64_t classes,
                        std::int64_t dim, double spread) {
  ProbeSlices made;
  std::vector<torch::Tensor> rows;
  for (std::int32_t s = first; s < first + subjects; ++s) {
    const std::int64_t label = s % classes;
    torch::Tensor centre = spread * torch::randn({dim}, torch::kFloat64);
    centre[label % dim] += 2;
    for (int i = 0; i < slices; ++i) {
      rows.push_back(centre + torch::randn({dim}, torch::kFloat64) + 0.5);
      made.label.push_back(label);
      made.subject.push_back(s);
    }
  }
  made.features = torch::stack(rows);
  return made;
}

json to_json(const ProbeSlices& slices) {
  json rows = json::array();
  for (std::int64_t i = 0; i < slices.features.size(0); ++i) {
    const torch::Tensor row = slices.features[i].contiguous();
    rows.push_back(
        std::vector<double>(row.data_ptr<double>(), row.data_ptr<double>() + row.numel()));
  }
  return {{"features", rows}, {"label", slices.label}, {"subject", slices.subject}};
}

void expect_scores(const SubjectScores& found, const json& expected) {
  EXPECT_NEAR(found.auc, expected[0].get<double>(), 1e-12);
  EXPECT_NEAR(found.balanced_accuracy, expected[1].get<double>(), 1e-12);
  EXPECT_NEAR(found.accuracy, expected[2].get<double>(), 1e-12);
}

TEST(Probe, AgreesWithScikitLearn) {
  WSP_REQUIRE_PYTHON("numpy, sklearn");
  const test::TemporaryDirectory work;
  for (const std::int64_t classes : {2, 4}) {
    SCOPED_TRACE(classes);
    torch::manual_seed(static_cast<std::uint64_t>(classes));
    const ProbeSlices train = made_slices(0, 24, 5, classes, 12, 1.5);
    const ProbeSlices held_back = made_slices(100, 16, 4, classes, 12, 1.5);
    const ProbeOptions options{.neighbours = 7, .c = 0.5};
    write_file_atomic(work.path() / "case.json", json{{"train", to_json(train)},
                                                      {"held_back", to_json(held_back)},
                                                      {"k", options.neighbours},
                                                      {"c", options.c}}
                                                     .dump());
    int status = 0;
    const std::string output = test::run_command(
        test::python() + " " WSP_SOURCE_DIR "/tests/train/pretrain/probe_reference.py " +
            (work.path() / "case.json").string(),
        status);
    ASSERT_EQ(status, 0) << output;
    const json expected = json::parse(output);
    const ProbeResult found = run_probe(train, held_back, options);
    EXPECT_EQ(found.knn.subjects, 16);
    EXPECT_EQ(found.train_slices, 120);
    EXPECT_EQ(found.held_back_slices, 64);
    expect_scores(found.knn, expected["knn"]);
    expect_scores(found.logistic, expected["logistic"]);
    EXPECT_LT(found.logistic.accuracy, 1) << "too easy a case says little";

    const torch::Tensor p =
        knn_probabilities(train.features, train.label, classes, held_back.features, options);
    const Standardiser standardiser = Standardiser::fit(train.features);
    const LogisticModel model =
        fit_logistic(standardiser.apply(train.features), train.label, {.c = options.c});
    for (std::int64_t i = 0; i < p.size(0); ++i)
      for (std::int64_t c = 0; c < classes; ++c)
        ASSERT_NEAR(p[i][c].item<double>(), expected["knn_probability"][i][c].get<double>(), 1e-9);
    for (std::int64_t c = 0; c < model.coefficients.size(0); ++c) {
      EXPECT_NEAR(model.intercepts[c].item<double>(), expected["intercepts"][c].get<double>(),
                  1e-5);
      for (std::int64_t d = 0; d < 12; ++d)
        EXPECT_NEAR(model.coefficients[c][d].item<double>(),
                    expected["coefficients"][c][d].get<double>(), 1e-5);
    }
  }
}

TEST(Probe, UsesAllNeighboursWhereThereAreFewerThanAskedFor) {
  const torch::Tensor known = torch::tensor({{1.0, 0.0}, {0.0, 1.0}}, torch::kFloat64);
  const torch::Tensor asked = torch::tensor({{5.0, 0.0}}, torch::kFloat64);
  const torch::Tensor p = knn_probabilities(known, {0, 1}, 2, asked, {.neighbours = 20});
  const double nearest = 1 / (1 + std::exp(-1 / 0.07));
  EXPECT_NEAR(p[0][0].item<double>(), nearest, 1e-15);
  EXPECT_NEAR(p[0][1].item<double>(), 1 - nearest, 1e-15);
  // However small the temperature, the nearest has the vote.
  const torch::Tensor sharp =
      knn_probabilities(known, {0, 1}, 2, asked, {.neighbour_temperature = 1e-9});
  EXPECT_EQ(sharp[0][0].item<double>(), 1);
}

TEST(Probe, SeparableSubjectsScoreOneAndShuffledLabelsDoNot) {
  torch::manual_seed(7);
  ProbeSlices train = made_slices(0, 20, 4, 2, 6, 0), held_back = made_slices(50, 20, 4, 2, 6, 0);
  for (ProbeSlices* slices : {&train, &held_back})
    for (std::size_t i = 0; i < slices->label.size(); ++i)
      slices->features[static_cast<std::int64_t>(i)][0] += slices->label[i] == 0 ? 20 : -20;
  ProbeResult result = run_probe(train, held_back);
  for (const SubjectScores& scores : {result.knn, result.logistic}) {
    EXPECT_EQ(scores.auc, 1);
    EXPECT_EQ(scores.balanced_accuracy, 1);
    EXPECT_EQ(scores.accuracy, 1);
  }
  // Single precision, another layout, unlabelled slices among them: the same.
  train.features = torch::cat({train.features, torch::zeros({1, 6}, torch::kFloat64)})
                       .t()
                       .to(torch::kFloat32)
                       .contiguous()
                       .t();
  train.label.push_back(-1);
  train.subject.push_back(3);
  result = run_probe(train, held_back);
  EXPECT_EQ(result.logistic.auc, 1);
  EXPECT_EQ(result.train_slices, 80);
  for (std::int64_t& label : held_back.label) label = 1 - label;
  result = run_probe(train, held_back);
  EXPECT_EQ(result.logistic.auc, 0);
  EXPECT_EQ(result.knn.balanced_accuracy, 0);
}

TEST(Probe, ConstantFeaturesSayNothing) {
  ProbeSlices train = made_slices(0, 8, 2, 2, 3, 0), held_back = made_slices(50, 8, 2, 2, 3, 0);
  train.features = torch::full({16, 3}, 0.1);
  held_back.features = torch::full({16, 3}, 0.1);
  const ProbeResult result = run_probe(train, held_back);
  EXPECT_DOUBLE_EQ(result.logistic.auc, 0.5);
  EXPECT_DOUBLE_EQ(result.knn.auc, 0.5);
  train.features = held_back.features = torch::zeros({16, 3});
  EXPECT_DOUBLE_EQ(run_probe(train, held_back).knn.auc, 0.5);
}

TEST(Probe, MissingClassesGiveNoNumberWhereThereIsNone) {
  torch::manual_seed(8);
  const ProbeSlices train = made_slices(0, 12, 3, 2, 4, 0);
  // Held back: one class only.
  ProbeSlices one = made_slices(50, 6, 3, 1, 4, 0);
  ProbeResult result = run_probe(train, one);
  EXPECT_TRUE(std::isnan(result.logistic.auc));
  EXPECT_FALSE(std::isnan(result.logistic.accuracy));
  // Training: one class only.
  const ProbeSlices both = made_slices(50, 6, 3, 2, 4, 0);
  result = run_probe(made_slices(0, 6, 3, 1, 4, 0), both);
  EXPECT_TRUE(std::isnan(result.logistic.auc) && std::isnan(result.logistic.accuracy));
  EXPECT_EQ(result.logistic.subjects, 6);
  EXPECT_EQ(result.knn.balanced_accuracy, 0.5);
  EXPECT_EQ(result.knn.auc, 0.5);
  // Held back: a class that was never learnt. Its subjects cannot be right.
  ProbeSlices third = both;
  for (std::size_t i = 0; i < 3; ++i) third.label[i] = 2;
  result = run_probe(train, third);
  EXPECT_LE(result.logistic.balanced_accuracy, 2.0 / 3);
  EXPECT_FALSE(std::isnan(result.logistic.auc));
  // Nothing labelled.
  std::fill(one.label.begin(), one.label.end(), -1);
  result = run_probe(train, one);
  EXPECT_EQ(result.logistic.subjects, 0);
  EXPECT_TRUE(std::isnan(result.knn.auc) && std::isnan(result.logistic.balanced_accuracy));
  EXPECT_TRUE(std::isnan(run_probe(one, train).knn.accuracy));
}

TEST(Probe, RefusesWhatWouldLie) {
  const ProbeSlices train = made_slices(0, 6, 2, 2, 4, 0);
  ProbeSlices held_back = made_slices(5, 6, 2, 2, 4, 0);
  EXPECT_THROW(run_probe(train, held_back), Error) << "subject 5 is on both sides";
  held_back = made_slices(50, 6, 2, 2, 4, 0);
  held_back.features[3][2] = std::numeric_limits<double>::infinity();
  EXPECT_THROW(run_probe(train, held_back), Error);
  EXPECT_THROW(run_probe(train, made_slices(50, 6, 2, 2, 5, 0)), Error);
  held_back = made_slices(50, 6, 2, 2, 4, 0);
  held_back.label.pop_back();
  EXPECT_THROW(run_probe(train, held_back), Error);
  EXPECT_THROW(run_probe(train, made_slices(50, 6, 2, 2, 4, 0), {.neighbours = 0}), Error);
}

TEST(Probe, LeavesTheRandomStateAlone) {
  const ProbeSlices train = made_slices(0, 6, 2, 2, 4, 0),
                    held_back = made_slices(50, 6, 2, 2, 4, 0);
  torch::manual_seed(9);
  const double expected = torch::rand({1}).item<double>();
  torch::manual_seed(9);
  (void)run_probe(train, held_back);
  EXPECT_EQ(torch::rand({1}).item<double>(), expected);
}

}  // namespace
}  // namespace wsp::train
