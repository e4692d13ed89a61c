#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/stats/dense.hpp"
#include "train/stats/subject_moments.hpp"

/// The probe's logistic regression, without Torch, made for fitting the same slices again and
/// again: folds, values of C, permuted labels, bootstrap samples.
namespace wsp::train {

/// Slices of subjects, grouped by subject. What every fit of a probe reads.
struct ProbeSet {
  std::int64_t dimensions = 0;
  std::vector<double> x;               ///< [n][dimensions]
  std::vector<std::int64_t> first;     ///< [subjects + 1]: rows of a subject are [first, next)
  std::vector<std::uint8_t> positive;  ///< [subjects]
  std::vector<std::string> names;      ///< [subjects]
  std::vector<int> dataset = {};       ///< [subjects]: number of the dataset; empty: all of one
  [[nodiscard]] std::int64_t subjects() const { return static_cast<std::int64_t>(positive.size()); }
  [[nodiscard]] std::int64_t rows() const { return first.empty() ? 0 : first.back(); }
};

/// A fitted probe: logit = intercept + sum_j coefficient[j] * (x[j] - mean[j]) / scale[j].
struct BinaryModel {
  std::vector<double> mean, scale;  ///< of the standardiser, as scikit-learn's StandardScaler
  std::vector<double> coefficients;
  double intercept = 0;
  double gradient = 0;  ///< largest element of the gradient at the solution
  int evaluations = 0;  ///< passes over the data
  /// Probability of being positive; x: [dimensions].
  [[nodiscard]] double probability(std::span<const double> x) const;
};

/// A fit that is wanted; the spans must outlive it.
struct LogisticRequest {
  double c;
  std::span<const double> weight;          ///< [subjects]: how often each counts, 0 leaves it out
  std::span<const std::uint8_t> positive;  ///< [subjects]
  const BinaryModel* start = nullptr;      ///< where to begin, or none
};

/// Fits minimise C * sum_i weight_i * log-loss_i + |coefficients|^2 / 2 over standardised features,
/// the intercept free (scikit-learn's objective), to a gradient of at most tolerance * max(1, C):
/// L-BFGS whose first inverse Hessian is a Cholesky factor of the Hessian at 0, computed once for
/// all fits. The optimum is unique, so where it starts and what preconditions it shows in no
/// result.
class LogisticFits {
 public:
  /// The set must outlive the fits. Throws Error(failure) for a feature that is not finite.
  explicit LogisticFits(const ProbeSet& set, double tolerance = 1e-8);
  ~LogisticFits();
  /// Prepare fits with this C; not thread-safe, while fit() is. Throws Error(usage) for C <= 0.
  void prepare(double c);
  /// Slices of a subject share its weight; the standardiser is weighted too. Several at once share
  /// their passes over the slices, which takes a fraction of the time of one after the other; the
  /// results are the same to the bit. Throws Error(failure) where only one class has weight or an
  /// optimum is not reached.
  [[nodiscard]] std::vector<BinaryModel> fit_all(std::span<const LogisticRequest> requests) const;
  /// One of them.
  [[nodiscard]] BinaryModel fit(double c, std::span<const double> weight,
                                std::span<const std::uint8_t> positive,
                                const BinaryModel* start = nullptr) const;

 private:
  struct Prepared;
  struct Running;
  [[nodiscard]] std::unique_ptr<Running> begin(const LogisticRequest& request) const;
  [[nodiscard]] std::vector<BinaryModel> fit_together(
      std::span<const LogisticRequest> requests) const;
  bool centre(const std::vector<double>& mean, const std::vector<double>& scale);
  const ProbeSet* set_;         ///< as it was given, or centred_
  ProbeSet centred_;            ///< without the centre, where a feature needs that
  std::vector<double> centre_;  ///< [dimensions]: 0 but for features that hardly vary far from 0
  double tolerance_;
  std::vector<float> narrow_;  ///< the features, where float32 holds them exactly
  std::optional<SubjectMoments> moments_;
  std::vector<double> gram_;  ///< of all standardised slices, [d][d]
  std::vector<std::unique_ptr<Prepared>> prepared_;
};

/// Mean over each subject's slices of the model's probability, [subjects].
std::vector<double> subject_probabilities(const ProbeSet& set, const BinaryModel& model);

}  // namespace wsp::train
