#include "io/medical/dicom_load.hpp"

#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcxfer.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>

#include "io/medical/dicom_nesting.hpp"
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

using Head = std::array<Uint8, 512>;

/// The first bytes of the first frame's codestream, zeros behind its end.
std::optional<Head> codestream_head(DcmPixelSequence& fragments) {
  for (unsigned long k = 1; k < fragments.card(); ++k) {  // 0 is the offset table
    DcmPixelItem* item = nullptr;
    if (fragments.getItem(item, k).bad() || item == nullptr) return std::nullopt;
    Head head{};
    const auto size = std::min<Uint32>(item->getLength(), static_cast<Uint32>(head.size()));
    if (size == 0) continue;
    if (item->getPartialValue(head.data(), 0, size).bad()) return std::nullopt;
    return head;
  }
  return std::nullopt;
}

/// The transfer syntax by a codestream's own markers.
E_TransferSyntax codestream_syntax(const Head& head) {
  const auto marker = [&](std::size_t i, Uint8 code) {
    return i + 1 < head.size() && head[i] == 0xFF && head[i + 1] == code;
  };
  const auto size_at = [&](std::size_t i) {
    return i + 3 < head.size() ? std::size_t{2} + (head[i + 2] << 8U | head[i + 3]) : head.size();
  };
  if (marker(0, 0x4F)) {  // JPEG 2000: its coding style says whether the wavelet is reversible
    for (std::size_t i = 2; i < head.size() && !marker(i, 0x90); i += size_at(i))
      if (marker(i, 0x52) && i + 13 < head.size())
        return head[i + 13] == 1 ? EXS_JPEG2000LosslessOnly : EXS_JPEG2000;
    return EXS_Unknown;
  }
  if (marker(0, 0xD8)) {  // JPEG: its frame header names the process
    for (std::size_t i = 2; i < head.size(); i += size_at(i)) {
      if (marker(i, 0xC0)) return EXS_JPEGProcess1;
      if (marker(i, 0xC1)) return EXS_JPEGProcess2_4;
      if (marker(i, 0xC3)) return EXS_JPEGProcess14;
      if (marker(i, 0xF7)) return EXS_JPEGLSLossless;
    }
    return EXS_Unknown;
  }
  const bool rle = head[0] >= 1 && head[0] <= 15 && head[1] == 0 && head[4] == 64 && head[5] == 0;
  return rle ? EXS_RLELossless : EXS_Unknown;
}

/// The transfer syntax that a loaded data set is written in: the pixels may lie in fragments though
/// a native syntax is named, or whole though a compressed one is.
E_TransferSyntax actual_syntax(DcmDataset& dataset) {
  const E_TransferSyntax read = dataset.getOriginalXfer();
  DcmElement* element = nullptr;
  if (dataset.findAndGetElement(DCM_PixelData, element).bad()) return read;
  auto* pixels = dynamic_cast<DcmPixelData*>(element);
  if (pixels == nullptr) return read;
  const bool fragments = pixels->getLengthField() == DCM_UndefinedLength;
  if (fragments == is_encapsulated(read)) return read;
  if (!fragments) {
    const auto bits = number(dataset, DCM_BitsAllocated).value_or(0) *
                      number(dataset, DCM_SamplesPerPixel).value_or(1) *
                      number(dataset, DCM_NumberOfFrames).value_or(1) *
                      number(dataset, DCM_Rows).value_or(0) *
                      number(dataset, DCM_Columns).value_or(0);
    const double excess = pixels->getLengthField() - bits / 8;
    return bits > 0 && excess >= 0 && excess < 2 ? EXS_LittleEndianExplicit : read;
  }
  E_TransferSyntax key = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  pixels->getOriginalRepresentationKey(key, parameter);
  DcmPixelSequence* sequence = nullptr;
  if (pixels->getEncapsulatedRepresentation(key, parameter, sequence).bad() || sequence == nullptr)
    return read;
  const auto head = codestream_head(*sequence);
  const E_TransferSyntax found = head ? codestream_syntax(*head) : EXS_Unknown;
  if (found == EXS_Unknown) return read;
  // DCMTK chooses the decoder by the syntax under which the fragments stand.
  auto renamed = std::make_unique<DcmPixelData>(DCM_PixelData);
  renamed->putOriginalRepresentation(found, nullptr, new DcmPixelSequence(*sequence));
  return dataset.insert(renamed.get(), OFTrue).good() ? (renamed.release(), found) : read;
}

/// Name the syntax that the data set is written in where the meta header names another. True when
/// it did.
bool repair_syntax(DcmFileFormat& file) {
  DcmMetaInfo* meta = file.getMetaInfo();
  const std::string named = meta != nullptr ? ascii(*meta, DCM_TransferSyntaxUID) : "";
  // One that DCMTK does not know (HTJ2K) is read as another of its form, and stays what it is.
  if (named.empty() || DcmXfer(named.c_str()).getXfer() == EXS_Unknown) return false;
  const E_TransferSyntax actual = actual_syntax(*file.getDataset());
  const std::string uid = DcmXfer(actual).getXferID();
  if (actual == EXS_Unknown || uid.empty() || uid == named) return false;
  meta->putAndInsertString(DCM_TransferSyntaxUID, uid.c_str());
  return true;
}

}  // namespace

Rejection load(const std::filesystem::path& path, DcmFileFormat& file, bool* syntax_repaired) {
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
  if (Rejection found = inspect_structure(path); found.code != Code::USED) return found;
  try {
    const OFCondition status =
        file.loadFile(OFFilename(path.c_str()), syntax, EGL_noChange, kMaxValueInMemory, mode);
    if (status.good()) {
      retype(*file.getDataset());
      const bool repaired = repair_syntax(file);
      if (syntax_repaired != nullptr) *syntax_repaired = repaired;
      // Only bytes that make sense when read so are what they were taken for.
      if (repaired && !ascii(*file.getDataset(), DCM_SOPClassUID).starts_with("1.2.840.10008."))
        return say(Code::UNREADABLE, "the data set is not in the transfer syntax that is named");
      return say(Code::USED);
    }
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
