#pragma once
#include <string>
#include <vector>

#include "io/medical/mask_entry.hpp"
#include "io/medical/study.hpp"

/// Whose a mask file may be, by names alone. Internal to io/medical.
namespace wsp {

/// A series' claim to a mask file.
struct MaskClaim {
  std::size_t entry = 0;
  int rank = 0;         ///< how sure the name is; equal ranks claim equally well
  std::string problem;  ///< why the file is not the series' alone; no identifiers
};

/// The claims of every series of the scan, each file's by the best of its names only, by the rules
/// that MaskDirectory documents. Opens headers of files where several series of one study fit.
/// Sets the entries' state (unused or image), `known` and `elsewhere`.
std::vector<std::vector<MaskClaim>> claim_masks(const Scan& scan,
                                                const std::vector<MaskEntry>& entries,
                                                const std::string& organ);

}  // namespace wsp
