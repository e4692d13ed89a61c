#pragma once
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <filesystem>
#include <string>

#include "io/core/outcome.hpp"

/// Open one DICOM file with DCMTK. Internal to io/medical.
namespace wsp::dicom {

/// Load a file's attributes into `file`; values above 64 KiB (pixels) stay on disk until asked for.
/// Files without preamble and meta header are tried when their first element is plausible; where
/// the meta header names another transfer syntax than the data set is written in, the data set's
/// own stands in the meta header afterwards and `syntax_repaired` is set. Elements of unusual types
/// are given the data dictionary's (retype). Returns USED when loaded, else EMPTY_FILE, NOT_DICOM,
/// PERMISSION_DENIED, TRUNCATED_FILE or UNREADABLE.
Rejection load(const std::filesystem::path& path, DcmFileFormat& file,
               bool* syntax_repaired = nullptr);

/// The transfer syntax UID of a loaded file, or nothing where it is unknown.
std::string transfer_syntax(DcmFileFormat& file);

/// True where the syntax puts pixels into fragments. DCMTK 3.6.9 renames what 3.6.7 offers.
inline bool is_encapsulated(E_TransferSyntax syntax) {
  return [](const auto& transfer) -> bool {
    if constexpr (requires { transfer.usesEncapsulatedFormat(); })
      return transfer.usesEncapsulatedFormat();
    else
      return transfer.isEncapsulated();
  }(DcmXfer(syntax));
}

}  // namespace wsp::dicom
