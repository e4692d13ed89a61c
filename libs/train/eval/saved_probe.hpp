#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/eval/cohort.hpp"

namespace wsp::train {

/// A probe fitted on a whole cohort and kept for new patients: P.json (schemas/probe.schema.json).
struct SavedProbe {
  BinaryModel model;
  std::vector<BinaryModel> refits;           ///< on subject-bootstrap samples of the cohort
  std::map<std::string, std::string> facts;  ///< of the features: encoder_sha256, image_size, ...
  std::string label, positive;               ///< what it predicts
  /// Where its subjects come from; several where it was fitted on several datasets.
  struct Source {
    std::string dataset, dataset_sha256, label, positive;
    std::int64_t subjects = 0;
  };
  std::vector<Source> sources;
  std::vector<std::string>
      subject_hashes;  ///< first 16 digits of the SHA-256 of each subject's name, sorted
  std::int64_t subjects = 0, positives = 0;
  double c = 1;
};
/// Fit the probe and `refits` more on subjects drawn with replacement within each class.
/// tables and diagnoses are those of the cohort. Which of the refits' C is `c` is the caller's
/// business.
SavedProbe fit_saved_probe(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                           const std::vector<Diagnosis>& diagnoses, double c, int refits,
                           std::uint64_t seed);
/// The middle one of chosen values of C, the smaller of two: always one that was chosen.
double median_choice(std::vector<double> chosen);
void write_probe(const std::filesystem::path& path, const SavedProbe& probe);
/// Throws Error(usage) for what is no probe, listing each violation of the schema.
SavedProbe read_probe(const std::filesystem::path& path);

/// What a probe says of one subject.
struct SubjectPrediction {
  std::string subject;
  double probability = 0, low = 0, high = 0;  ///< mean over slices; 2.5 and 97.5 % of the refits
  std::int64_t slices = 0;
  struct Slice {
    std::string case_name;
    double depth = 0, probability = 0;
  };
  std::vector<Slice> driving;  ///< the slices furthest towards the verdict, at most five
};
/// Throws Error(usage) where weights of this SHA-256 (hex) are not those of the probe.
void check_encoder(const SavedProbe& probe, const std::string& sha256);
/// How many of these features' subjects the probe was fitted on.
std::int64_t subjects_fitted_on(const SavedProbe& probe, const FeatureTable& features);
/// Throws Error(usage) for features of another encoder, image size or precision.
std::vector<SubjectPrediction> predict(const SavedProbe& probe, const FeatureTable& features);

}  // namespace wsp::train
