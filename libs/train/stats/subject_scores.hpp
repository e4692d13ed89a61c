#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp::train {

/// Area under the receiver operating characteristic: the probability that a positive scores above a
/// negative, ties counting half. Not a number without a positive or without a negative.
double roc_auc(std::span<const double> score, std::span<const std::uint8_t> positive);

/// Mean over the classes that occur in `truth` of the part of each that was predicted right.
double balanced_accuracy(std::span<const std::int64_t> truth,
                         std::span<const std::int64_t> predicted);

/// Probabilities of whole subjects.
struct SubjectPredictions {
  std::vector<std::int64_t> classes;             ///< columns of probability
  std::vector<std::int32_t> subject;             ///< ascending
  std::vector<std::int64_t> label;               ///< of each subject
  std::vector<std::vector<double>> probability;  ///< [subject][class]
};

/// Average the probabilities of slices over each subject. probability: [n][classes] row-major, in
/// the order of `classes`. A subject whose slices differ in label gets the most frequent one, the
/// larger of equals. Slices with label -1 are left out.
SubjectPredictions average_by_subject(std::span<const double> probability,
                                      const std::vector<std::int64_t>& classes,
                                      std::span<const std::int64_t> label,
                                      std::span<const std::int32_t> subject);

/// How well subjects were told apart. Not a number where the subjects do not allow the measure.
struct SubjectScores {
  std::int64_t subjects = 0;
  /// Two classes among subjects and predictions together: of the larger label. More: macro mean
  /// over the subjects' classes of each against the rest. A class that cannot be predicted scores
  /// 0.
  double auc = 0;
  double balanced_accuracy = 0, accuracy = 0;  ///< of the most probable class, the first of equals
};
SubjectScores score_subjects(const SubjectPredictions& predictions);

}  // namespace wsp::train
