#include "train/stats/subject_scores.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

TEST(RocAuc, IsTheShareOfPairsInOrder) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    const std::size_t n = 1 + random() % 30;
    std::vector<double> score(n);
    std::vector<std::uint8_t> positive(n);
    for (std::size_t i = 0; i < n; ++i) {
      score[i] = static_cast<double>(random() % 8) / 8;  // with many ties
      positive[i] = static_cast<std::uint8_t>(random() % 2);
    }
    double won = 0, pairs = 0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        if (positive[i] == 0 || positive[j] != 0) continue;
        won += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
        pairs += 1;
      }
    const double found = roc_auc(score, positive);
    if (pairs == 0)
      EXPECT_TRUE(std::isnan(found));
    else
      EXPECT_NEAR(found, won / pairs, 1e-12);
  }
}

TEST(RocAuc, OfNoNumbersIsNoNumber) {
  const std::vector<double> score = {0.1, std::numeric_limits<double>::quiet_NaN(), 0.3};
  const std::vector<std::uint8_t> positive = {0, 1, 1};
  EXPECT_TRUE(std::isnan(roc_auc(score, positive)));
  EXPECT_THROW(roc_auc(score, std::vector<std::uint8_t>{1}), Error);
}

TEST(BalancedAccuracy, WeighsEveryClassAlike) {
  const std::vector<std::int64_t> truth = {0, 0, 0, 0, 1, 2, 2};
  EXPECT_NEAR(balanced_accuracy(truth, std::vector<std::int64_t>{0, 0, 0, 2, 1, 2, 5}),
              (0.75 + 1 + 0.5) / 3, 1e-15);
  EXPECT_TRUE(std::isnan(balanced_accuracy({}, {})));
}

TEST(AverageBySubject, AveragesSlicesAndTakesTheMostFrequentLabel) {
  const std::vector<double> p = {0.2, 0.8, 0.6, 0.4, 1, 0, 0, 1, 0.5, 0.5};
  const SubjectPredictions found =
      average_by_subject(p, {3, 4}, std::vector<std::int64_t>{3, 4, 4, 3, -1},
                         std::vector<std::int32_t>{9, 2, 9, 9, 5});
  EXPECT_EQ(found.subject, (std::vector<std::int32_t>{2, 9}));
  EXPECT_EQ(found.label, (std::vector<std::int64_t>{4, 3}));
  EXPECT_NEAR(found.probability[1][0], 0.4, 1e-15);
  EXPECT_NEAR(found.probability[1][1], 0.6, 1e-15);
  // Of equally frequent labels the larger.
  EXPECT_EQ(average_by_subject(p, {3, 4}, std::vector<std::int64_t>{3, 4, 4, 3, 1},
                               std::vector<std::int32_t>{0, 0, 0, 0, 0})
                .label,
            std::vector<std::int64_t>{4});
  EXPECT_THROW(
      average_by_subject(p, {3}, std::vector<std::int64_t>{3}, std::vector<std::int32_t>{0}),
      Error);
}

TEST(ScoreSubjects, MacroAveragesOverTheSubjectsClasses) {
  SubjectPredictions p;
  p.classes = {0, 1, 2};
  p.subject = {0, 1, 2, 3};
  p.label = {0, 1, 1, 0};
  p.probability = {{0.7, 0.2, 0.1}, {0.2, 0.3, 0.5}, {0.1, 0.8, 0.1}, {0.5, 0.4, 0.1}};
  const SubjectScores scores = score_subjects(p);
  // Class 0 against the rest is in order; class 1 has 3 of 4 pairs; class 2 has no subject.
  EXPECT_NEAR(scores.auc, (1 + 0.75) / 2, 1e-15);
  EXPECT_NEAR(scores.accuracy, 0.75, 1e-15);
  EXPECT_NEAR(scores.balanced_accuracy, 0.75, 1e-15);
  EXPECT_EQ(scores.subjects, 4);
}

}  // namespace
}  // namespace wsp::train
