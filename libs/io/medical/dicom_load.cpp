#include "io/medical/dicom_load.hpp"

#include <dcmtk/dcmdata/dcxfer.h>

#include <array>
#include <cctype>
#include <cstring>
#include <fstream>
#include <optional>

#include "io/medical/dicom_text.hpp"

namespace wsp::dicom {
namespace {

constexpr Uint32 kMaxValueInMemory = 64 * 1024;

Rejection say(Code code, std::string detail = {}) { return {"", "scan", code, std::move(detail)}; }

/// Guess the transfer syntax of a data set that starts at byte 0: its first element must be of
/// group 2 or 8 with a low element number and a believable type or length.
std::optional<E_TransferSyntax> plausible_dataset(const std::array<unsigned char, 132>& head,
                                                  std::size_t size) {
  if (size < 16) return std::nullopt;
  const bool little = (head[0] == 8 || head[0] == 2) && head[1] == 0 && head[3] == 0;
  const bool big = head[0] == 0 && head[1] == 8 && head[2] == 0;
  if (!little && !big) return std::nullopt;
  const bool typed = std::isupper(head[4]) != 0 && std::isupper(head[5]) != 0;
  if (typed) {
    const std::array<char, 3> vr{static_cast<char>(head[4]), static_cast<char>(head[5]), '\0'};
    if (!DcmVR(vr.data()).isStandard()) return std::nullopt;
    return big ? EXS_BigEndianExplicit : EXS_LittleEndianExplicit;
  }
  if (big) return std::nullopt;
  const std::uint32_t length =
      static_cast<std::uint32_t>(head[4]) | (static_cast<std::uint32_t>(head[5]) << 8U) |
      (static_cast<std::uint32_t>(head[6]) << 16U) | (static_cast<std::uint32_t>(head[7]) << 24U);
  if (length > 128) return std::nullopt;
  return EXS_LittleEndianImplicit;
}

bool named_dicom(const std::filesystem::path& path) {
  const std::string extension = upper(path.extension().string());
  return extension == ".DCM" || extension == ".DICOM";
}

}  // namespace

Rejection load(const std::filesystem::path& path, DcmFileFormat& file) {
  std::array<unsigned char, 132> head{};
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return say(Code::PERMISSION_DENIED);
  stream.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  const auto size = static_cast<std::size_t>(stream.gcount());
  stream.close();
  if (size == 0) return say(Code::EMPTY_FILE);

  const bool has_preamble = size == head.size() && std::memcmp(head.data() + 128, "DICM", 4) == 0;
  E_TransferSyntax syntax = EXS_Unknown;
  E_FileReadMode mode = ERM_autoDetect;
  if (!has_preamble) {
    const auto guess = plausible_dataset(head, size);
    if (!guess) {
      return named_dicom(path)
                 ? say(Code::UNREADABLE, "neither DICM prefix nor a first DICOM element")
                 : say(Code::NOT_DICOM);
    }
    if (head[0] != 2) {
      syntax = *guess;
      mode = ERM_dataset;
    }
  }
  try {
    const OFCondition status =
        file.loadFile(OFFilename(path.c_str()), syntax, EGL_noChange, kMaxValueInMemory, mode);
    if (status.good()) return say(Code::USED);
    const bool at_pixels =
        file.getDataset() != nullptr &&
        (file.getDataset()->tagExists(DCM_PixelData) || file.getDataset()->tagExists(DCM_Rows));
    if (at_pixels) return say(Code::TRUNCATED_FILE, "the file ends inside an element");
  } catch (...) {
    // DCMTK itself does not throw; allocation inside it can.
    return say(Code::UNREADABLE, "exception while parsing");
  }
  if (!has_preamble && !named_dicom(path)) return say(Code::NOT_DICOM);
  return say(Code::UNREADABLE, "the file ends inside an element or is no data set");
}

std::string transfer_syntax(DcmFileFormat& file) {
  std::string uid;
  if (file.getMetaInfo() != nullptr) uid = ascii(*file.getMetaInfo(), DCM_TransferSyntaxUID);
  if (!uid.empty()) return uid;
  const E_TransferSyntax found = file.getDataset()->getOriginalXfer();
  return found == EXS_Unknown ? std::string{} : std::string(DcmXfer(found).getXferID());
}

}  // namespace wsp::dicom
