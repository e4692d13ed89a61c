#pragma once
#include <set>
#include <string>
#include <vector>

#include "io/manifest/manifest.hpp"
#include "io/medical/study.hpp"

namespace wsp {

/// Who one series shows.
struct Identity {
  std::string text;      ///< issuer and patient ID, the manifest's word, else the study or the file
  bool verified = true;  ///< somebody said so: the header, or the manifest
};

struct Subjects {
  std::vector<Identity> of;         ///< one per Scan::series
  std::set<std::string> conflicts;  ///< identities that more than one person bears
};

/// Tell the persons of an export apart. The manifest's subject_map speaks first, by study UID,
/// patient ID, or a volume's path from its end on (the longest key that fits); then its
/// subject_pattern on NIfTI and NRRD paths; then the patient ID with its issuer, unless it is a
/// placeholder. Whoever is left is the study or the file, unverified; a study without an ID whose
/// series differ in sex or birth date is as many persons.
Subjects tell_subjects_apart(const Scan& scan, const DataManifest& manifest);

/// M or F for what headers write ("m", "Male ", "W", "weiblich"), else empty: O says nothing.
[[nodiscard]] std::string normal_sex(std::string_view text);
/// YYYYMMDD, or less where the text has less, for "1950-01-01", "1950.01.01", "01.01.1950"; empty
/// where it is no date or a well-known filler (1900-01-01).
[[nodiscard]] std::string normal_birth_date(std::string_view text);

/// The path of a NIfTI or NRRD volume without its extension; empty for DICOM.
[[nodiscard]] std::string path_stem(const Series& series);

}  // namespace wsp
