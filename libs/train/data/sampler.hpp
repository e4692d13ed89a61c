#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "train/data/training_set.hpp"

namespace wsp::train {

struct SamplerOptions {
  std::int64_t batch = 64;                 ///< slices per (global) batch
  std::int64_t samples_per_epoch = 10000;  ///< draws; the last incomplete batch is dropped
  std::uint64_t seed = 0;
  /// false: slices uniformly at random over subjects, for datasets without a label.
  bool balanced = true;
};

/// The paper's batches: balanced over the classes of the weak label, no subject twice in a batch,
/// one random slice each. Class quota = batch div classes, the remainder rotating from step to
/// step; then subject, case and slice, each uniform. A subject with cases of several classes stands
/// in a batch once. Where a class has too few subjects for its quota they repeat, each as rarely as
/// can be and with other slices. Unlabelled slices, where the set holds them, form a class of their
/// own. A pure function of (seed, epoch, step): the same on any rank, thread or resumed run.
class BalancedSampler {
 public:
  /// Throws Error(usage) where no batch can be filled, saying which class has how many slices.
  BalancedSampler(const TrainingSet& set, const SamplerOptions& options);
  [[nodiscard]] std::int64_t steps_per_epoch() const {
    return options_.samples_per_epoch / options_.batch;
  }
  /// Positions in TrainingSet::slices of one global batch, in random order (so that any even
  /// division between ranks is balanced in expectation). epoch, step >= 0. Thread-safe.
  [[nodiscard]] std::vector<std::uint32_t> batch(std::int64_t epoch, std::int64_t step) const;
  /// How many slices of each class, in the order of class_labels(), a batch holds.
  [[nodiscard]] std::vector<std::int64_t> quota(std::int64_t epoch, std::int64_t step) const;
  /// The classes, ascending; -1 are unlabelled slices. One class, 0, where not balanced.
  [[nodiscard]] const std::vector<std::int64_t>& class_labels() const { return class_labels_; }
  /// What the user should know, e.g. "class 3 has 5 subjects for a quota of 16: ..."; said once.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  class Draw;
  struct Case {
    std::int32_t case_id;
    std::vector<std::uint32_t> slices;
  };
  struct Subject {
    std::int32_t subject;
    std::vector<Case> cases;
  };
  [[nodiscard]] std::vector<std::int64_t> rotated_quota(std::int64_t rotation) const;
  void group(const TrainingSet& set);
  void check_classes();
  void check_shared_subjects();

  SamplerOptions options_;
  std::size_t subjects_ = 0;  ///< of the whole set
  std::vector<std::int64_t> class_labels_;
  std::vector<std::vector<Subject>> classes_;  ///< [class][subject]
  std::vector<std::string> warnings_;
};

/// The part of a global batch that a rank works on: rows [rank * n / ranks, (rank + 1) * n /
/// ranks). Throws Error(usage) for a rank that does not exist.
std::vector<std::uint32_t> rank_share(const std::vector<std::uint32_t>& batch, int rank, int ranks);

}  // namespace wsp::train
