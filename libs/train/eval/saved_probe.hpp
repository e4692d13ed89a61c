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
  std::vector<BinaryModel> refits;      ///< on subject-bootstrap samples of the cohort
  std::map<std::string, std::string> facts;  ///< of the features: encoder_sha256, image_size, ...
  std::string label, positive;          ///< what it predicts
  std::int64_t subjects = 0, positives = 0;
  double c = 1;
};
/// Fit the probe and `refits` more on subjects drawn with replacement within each class.
SavedProbe fit_saved_probe(const Cohort& cohort, const FeatureTable& first, const Diagnosis& diagnosis,
                           double c, int refits, std::uint64_t seed);
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
/// Throws Error(usage) for features of another encoder, image size or precision.
std::vector<SubjectPrediction> predict(const SavedProbe& probe, const FeatureTable& features);

}  // namespace wsp::train
