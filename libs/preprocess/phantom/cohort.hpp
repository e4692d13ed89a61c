#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wsp::phantom {

/// Subjects with which a cohort holds every trait and a hospital-like export every oddity.
constexpr int kSubjectsForAll = 6;

struct CohortOptions {
  std::filesystem::path out;
  int subjects = 8;
  std::uint64_t seed = 0;
  int min_slices = 40, max_slices = 80;
  int size = 512;            ///< in-plane matrix
  bool vary_matrix = false;  ///< two subjects of six have 3/2 and 25/32 of `size` (768 and 400)
  bool nifti = false, hospital = false, balance = false, force = false;
  bool rich = false;    ///< anatomy and scans sampled wider than nature (rich_anatomy.hpp)
  bool organs = false;  ///< write truth/NAME_organs.nii.gz, the label map of all organs; rich only
};

/// What one subject is.
struct SubjectTruth {
  int stage = 0;           ///< METAVIR F0–F4
  int radiological = 0;    ///< 0 none … 3 severe: what the radiologist wrote, with noise
  bool histology = false;  ///< METAVIR is known for this subject
  int ishak = -1;  ///< Ishak score 0–6 where it is known, else −1; 5 and 6 are cirrhosis (F4)
  int reader = 0;  ///< a reader's binary call
  double stiffness_kpa =
      0;  ///< of the liver, by elastography, to a tenth; 0 where it was not measured
};
/// Draw the classes: the paper's proportions (1880/385/415/119 of 2,799), or equal shares.
SubjectTruth draw_subject(const CohortOptions& options, int subject);

/// Write export/, truth/ and labels.csv under options.out; for a hospital-like export also
/// phi.txt: every name, number, date, UID and free-text marker that identifies somebody, a line
/// each; parallel over subjects; the bytes depend on the options alone. Throws Error(output) when
/// `out` exists and is not empty, Error(interrupted) when a signal asks to stop.
void make_cohort(const CohortOptions& options);

}  // namespace wsp::phantom
