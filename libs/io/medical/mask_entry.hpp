#pragma once
#include <filesystem>
#include <string>

#include "io/core/names.hpp"

namespace wsp {

/// A file of --masks, or a row of a mask table. Internal to MaskDirectory and claim_masks().
struct MaskEntry {
  enum class State { unused, used, ambiguous, image };  ///< image: a volume of the export itself
  std::filesystem::path path;
  PathName name;           ///< CASE/liver.nii.gz goes by CASE; no stem: by no name
  bool by_folder = false;  ///< it is such a file
  bool by_row = false;     ///< of the table
  std::string volume;      ///< what its row says
  std::size_t row = 0;
  mutable State state = State::unused;
  mutable bool known = false;      ///< some series has its name
  mutable bool elsewhere = false;  ///< and lies in other folders
};

}  // namespace wsp
