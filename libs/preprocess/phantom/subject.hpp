#pragma once
#include <array>
#include <string>
#include <vector>

#include "preprocess/phantom/cohort.hpp"
#include "preprocess/phantom/dicom_write.hpp"
#include "preprocess/phantom/rng.hpp"

namespace wsp::phantom {

/// What differs from patient to patient, one value of six each: every block of six successive
/// subjects holds each value of each trait once, in an order that depends on the seed alone. So six
/// subjects show everything, and no trait goes along with a class.
enum class Trait : std::uint64_t { oddity = 5, matrix, kernel, extras, masks };
int trait(const CohortOptions& options, int subject, Trait which);

/// Words of Trait::oddity.
enum class Oddity { copies, tilted, gap, feet_first, enhanced, none };

/// A radiologist's words for SubjectTruth::radiological.
inline constexpr std::array<const char*, 4> kRadiologicalWords{"none", "mild", "moderate",
                                                               "severe"};

/// Root of all UIDs of a cohort.
std::string uid_root(const CohortOptions& options);

/// One patient of the cohort, written out. Internal to the phantom.
class Subject {
 public:
  Subject(const CohortOptions& options, int number);
  void write();

  [[nodiscard]] const SubjectTruth& truth() const { return truth_; }
  [[nodiscard]] std::string label_key() const { return id_; }
  /// Every string that identifies this patient; none in a clean cohort.
  [[nodiscard]] std::vector<std::string> identifiers() const;
  /// What write() wrote, for the DICOMDIR.
  [[nodiscard]] const std::vector<SeriesRecord>& records() const { return records_; }

 private:
  // The given name in the patient's own script: as the character set encodes it, and in UTF-8.
  struct Script {
    const char *term, *encoded, *utf8;
  };
  [[nodiscard]] const Script& script() const;
  [[nodiscard]] int trait(Trait which) const { return phantom::trait(options_, number_, which); }

  Stack portal_stack();
  static void place(Stack& stack, double low, std::size_t n);
  [[nodiscard]] SeriesHeader header_of(const std::string& description, int series,
                                       double delay) const;
  [[nodiscard]] std::string file_name(std::size_t k) const;
  [[nodiscard]] std::filesystem::path place_of(const std::string& path) const {
    return options_.out / "export" / path;
  }
  void note(const SeriesHeader& header, const std::string& modality,
            std::vector<InstanceRecord> instances);
  // Slices in parallel; `skip` leaves a gap.
  void write_series(const std::string& folder, const SeriesHeader& h, const Stack& s,
                    bool with_truth, std::size_t skip = 0);
  void write_truth(const std::string& name, const Stack& s);
  void write_nifti_case(const Stack& s);

  // hospital.cpp
  void write_hospital(Stack portal, SeriesHeader header);
  void write_copies(const std::string& study, const std::string& original) const;
  void write_masks(const std::string& study, const Stack& portal, const SeriesHeader& header,
                   std::size_t skip, bool enhanced);
  void write_other_series(const std::string& study, const Stack& portal);
  void write_others(const std::string& study, const Stack& portal);

  const CohortOptions& options_;
  int number_;
  SubjectTruth truth_;
  Random random_;
  Anatomy anatomy_;
  std::string kernel_;
  std::string secret_, id_, name_, accession_, birth_date_, study_date_;
  std::vector<SeriesRecord> records_;
};

}  // namespace wsp::phantom
