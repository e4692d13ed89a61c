#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/eval/plan.hpp"

/// The cells of a plan, asked by method, backbone, variant and evaluation. For the tables alone.
namespace wsp::train {

/// All seeds of one method (or variant) on one evaluation.
struct Group {
  std::vector<double> auc, accuracy;         ///< [seed * fold]
  std::vector<double> seed_auc;              ///< [seed]
  std::vector<double> p;                     ///< permutation
  std::vector<double> within;                ///< [seed]: AUC within datasets, of an aggregate
  HalfSamples halves;                        ///< mean over seeds
  std::int64_t subjects = 0, positives = 0;  ///< 0 where a cell does not say
  [[nodiscard]] bool empty() const { return seed_auc.empty(); }
};

/// The same subjects under two groups; not numbers where either is empty or has no halves.
PairedDifference difference_of(const Group& a, const Group& b);

class Results {
 public:
  explicit Results(const std::vector<nlohmann::json>& cells) : cells_(cells) {}

  [[nodiscard]] Group group(const std::string& method, const std::string& backbone,
                            const std::string& variant, const std::string& evaluation) const;
  /// Means over seeds, in the order of the first one.
  [[nodiscard]] std::vector<SubgroupScore> subgroups(const std::string& method,
                                                     const std::string& backbone,
                                                     const std::string& evaluation) const;
  /// The first cell of a method that has something ("results", "pca") of an evaluation, or null.
  [[nodiscard]] const nlohmann::json* first_with(const char* what, const std::string& method,
                                                 const std::string& backbone,
                                                 const std::string& evaluation) const;
  /// One number of the figure-2 summaries, over seeds.
  [[nodiscard]] std::vector<double> of_pca(const std::string& method, const std::string& backbone,
                                           const std::string& evaluation, const char* what,
                                           int axis) const;
  /// Names of the cells whose results a variant shows in place of its own.
  [[nodiscard]] std::vector<std::string> taken_from(const std::string& variant) const;
  [[nodiscard]] std::optional<double> reader(const std::string& evaluation) const;

 private:
  const std::vector<nlohmann::json>& cells_;
};

/// Names of the evaluations, the aggregate last.
std::vector<std::string> evaluations_of(const Plan& plan);

}  // namespace wsp::train
