#include "io/medical/seg_write.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmfg/fgderimg.h>
#include <dcmtk/dcmfg/fgfracon.h>
#include <dcmtk/dcmfg/fgpixmsr.h>
#include <dcmtk/dcmfg/fgplanor.h>
#include <dcmtk/dcmfg/fgplanpo.h>
#include <dcmtk/dcmiod/iodreferences.h>
#include <dcmtk/dcmseg/segdoc.h>
#include <dcmtk/dcmseg/segment.h>
#include <fmt/format.h>

#include <array>
#include <memory>

#include "io/core/hash.hpp"
#include "io/medical/dicom_header.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_mask.hpp"
#include "io/medical/refuse.hpp"

namespace wsp {
namespace {

/// A step of DCMTK's that may fail; seg_object() turns it into a Rejection.
struct Failed {
  std::string what;
};
void must(const OFCondition& condition, const char* step) {
  if (condition.bad()) throw Failed{std::string(step) + ": " + condition.text()};
}

/// A decimal string of DICOM: at most 16 characters.
OFString decimal(double value) {
  for (int digits = 15; digits > 1; --digits)
    if (const std::string text = fmt::format("{:.{}g}", value, digits); text.size() <= 16)
      return text.c_str();
  return "0";
}

/// A UID of 128 bits of a hash, as a UUID of free form (version 8): 2.25.N.
OFString uid_of(const Digest& hash, std::uint8_t purpose) {
  std::array<std::uint8_t, 16> bytes{};
  std::copy_n(hash.begin(), bytes.size(), bytes.begin());
  bytes[0] ^= purpose;
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0FU) | 0x80U);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3FU) | 0x80U);
  std::string digits;  // base 10, the lowest first
  for (bool left = true; left;) {
    unsigned rest = 0;
    left = false;
    for (std::uint8_t& byte : bytes) {
      const unsigned value = rest * 256 + byte;
      byte = static_cast<std::uint8_t>(value / 10);
      rest = value % 10;
      left = left || byte != 0;
    }
    digits.push_back(static_cast<char>('0' + rest));
  }
  return ("2.25." + std::string(digits.rbegin(), digits.rend())).c_str();
}

/// The slices are single images, each with a UID of its own.
bool single_images(const LoadedVolume& loaded) {
  const auto& uids = loaded.sop_instance_uids;
  return uids.size() > 1 && uids[0] != uids[1];
}

class Writer {
 public:
  Writer(DcmDataset& source, const LoadedVolume& loaded, const LiverMask& mask, const Organ& organ,
         const SegStyle& style)
      : source_(source), loaded_(loaded), mask_(mask), organ_(organ), style_(style) {}

  std::vector<std::uint8_t> write() {
    begin();
    identify();
    shared_groups();
    frames();
    return bytes();
  }

 private:
  void begin() {
    const auto& size = loaded_.volume.geometry.size;
    const IODGeneralEquipmentModule::EquipmentInfo equipment("WSP toolkit", "wsp-ingest", "0",
                                                             style_.tool_version.c_str());
    const ContentIdentificationMacro content("1", "SEGMENTATION", "", "");
    DcmSegmentation* made = nullptr;
    must(DcmSegmentation::createBinarySegmentation(
             made, static_cast<Uint16>(size[1]), static_cast<Uint16>(size[0]), equipment, content),
         "SEG");
    seg_.reset(made);
    const auto& [scheme, value] = organ_.codes.empty()
                                      ? std::pair<std::string, std::string>{"99WSP", organ_.name}
                                      : organ_.codes.front();
    std::string label = organ_.name;
    label[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(label[0])));
    DcmSegment* segment = nullptr;
    must(DcmSegment::create(segment, label.c_str(),
                            CodeSequenceMacro("123037004", "SCT", "Anatomical Structure"),
                            CodeSequenceMacro(value.c_str(), scheme.c_str(), label.c_str()),
                            DcmSegTypes::SAT_AUTOMATIC, style_.algorithm.c_str()),
         "segment");
    must(segment->setRecommendedDisplayCIELabValue(40000, 45000, 42000), "colour");
    if (const OFCondition added = seg_->addSegment(segment, number_); added.bad()) {
      delete segment;
      must(added, "segment");
    }
  }

  // Patient, study, frame of reference and references are the source's, UIDs follow from the mask.
  void identify() {
    must(seg_->importHierarchy(source_, OFTrue, OFTrue, OFTrue, OFFalse), "source");
    OFString frame, class_uid, study, series, patient;
    source_.findAndGetOFString(DCM_FrameOfReferenceUID, frame);
    source_.findAndGetOFString(DCM_SOPClassUID, class_uid);
    source_.findAndGetOFString(DCM_StudyInstanceUID, study);
    source_.findAndGetOFString(DCM_SeriesInstanceUID, series);
    source_.findAndGetOFString(DCM_PatientID, patient);
    if (frame.empty()) throw Failed{"the series has no frame of reference"};
    class_uid_ = class_uid;
    std::string of = series.c_str();
    for (const std::string& uid : loaded_.sop_instance_uids) of += "\n" + uid;
    of += "\n" + hex(sha256(mask_.voxels));
    if (style_.label_map) of += "\nLABELMAP";
    const Digest hash = sha256(of);
    must(seg_->getSeries().setSeriesInstanceUID(uid_of(hash, 1)), "series");
    must(seg_->getSOPCommon().setSOPInstanceUID(uid_of(hash, 2)), "instance");
    must(seg_->getSeries().setSeriesNumber("300"), "series");
    must(seg_->getSeries().setSeriesDescription(
             fmt::format("{} by {}", organ_.name, style_.algorithm).substr(0, 64).c_str()),
         "series");
    IODReferences references;
    std::string last;
    for (const std::string& uid : loaded_.sop_instance_uids) {
      if (uid.empty() || uid == last) continue;
      last = uid;
      references.add(new IODImageReference(patient, study, series, uid.c_str(), class_uid));
    }
    if (seg_->getCommonInstanceReference().addReferences(references) != references.size())
      throw Failed{"references"};
    const OFString dimensions = uid_of(hash, 3);
    auto& module = seg_->getDimensions();
    must(module.addDimensionIndex(DCM_ReferencedSegmentNumber, dimensions,
                                  DCM_SegmentIdentificationSequence, "Segment"),
         "dimensions");
    must(module.addDimensionIndex(DCM_ImagePositionPatient, dimensions, DCM_PlanePositionSequence,
                                  "Position"),
         "dimensions");
  }

  void shared_groups() {
    const Geometry& g = loaded_.volume.geometry;
    const std::unique_ptr<FGPlaneOrientationPatient> orientation(
        FGPlaneOrientationPatient::createMinimal(decimal(g.axis[0][0]), decimal(g.axis[0][1]),
                                                 decimal(g.axis[0][2]), decimal(g.axis[1][0]),
                                                 decimal(g.axis[1][1]), decimal(g.axis[1][2])));
    if (!orientation) throw Failed{"orientation"};
    must(seg_->addForAllFrames(*orientation), "orientation");
    FGPixelMeasures measures;  // PixelSpacing: between rows first
    must(measures.setPixelSpacing(decimal(g.spacing_mm[1]) + "\\" + decimal(g.spacing_mm[0])),
         "spacing");
    must(measures.setSliceThickness(decimal(g.spacing_mm[2])), "thickness");
    must(measures.setSpacingBetweenSlices(decimal(g.spacing_mm[2])), "spacing");
    must(seg_->addForAllFrames(measures), "spacing");
  }

  void frames() {
    const bool references = single_images(loaded_);
    Uint32 at = 0;
    for (std::int64_t z = 0; z < mask_.geometry.size[2]; ++z) {
      const auto slice = mask_.slice(z);
      if (std::ranges::find(slice, 1) == slice.end()) continue;
      ++at;
      const Vec3& origin = loaded_.volume.slice_origin_mm[static_cast<std::size_t>(z)];
      const std::unique_ptr<FGPlanePosPatient> position(FGPlanePosPatient::createMinimal(
          decimal(origin[0]), decimal(origin[1]), decimal(origin[2])));
      if (!position) throw Failed{"position"};
      FGFrameContent content;
      must(content.setStackID("1"), "stack");
      must(content.setInStackPositionNumber(at), "stack");
      must(content.setDimensionIndexValues(number_, 0), "dimension");
      must(content.setDimensionIndexValues(at, 1), "dimension");
      OFVector<FGBase*> groups;
      groups.push_back(position.get());
      groups.push_back(&content);
      std::unique_ptr<FGDerivationImage> derivation;
      if (references) {
        OFVector<ImageSOPInstanceReferenceMacro> images;
        ImageSOPInstanceReferenceMacro* image = nullptr;
        must(ImageSOPInstanceReferenceMacro::create(
                 class_uid_, loaded_.sop_instance_uids[static_cast<std::size_t>(z)].c_str(), image),
             "reference");
        images.push_back(*image);
        delete image;
        derivation.reset(FGDerivationImage::createMinimal(
            images, "", CodeSequenceMacro("113076", "DCM", "Segmentation"),
            CodeSequenceMacro("121322", "DCM", "Source image for image processing operation")));
        if (!derivation) throw Failed{"reference"};
        groups.push_back(derivation.get());
      }
      std::vector<Uint8> pixels(slice.begin(), slice.end());
      must(seg_->addFrame(pixels.data(), number_, groups), "frame");
      if (style_.label_map) labels_.insert(labels_.end(), slice.begin(), slice.end());
    }
  }

  // DCMTK writes LABELMAP from 3.7 on only. It is the BINARY object but that the pixels are the
  // segment's number, so no frame names a segment.
  void make_label_map(DcmDataset& data) const {
    must(data.putAndInsertString(DCM_SOPClassUID, dicom::kLabelMapSegmentation), "SOP class");
    must(data.putAndInsertString(DCM_SegmentationType, "LABELMAP"), "type");
    must(data.putAndInsertString(DCM_SegmentsOverlap, "NO"), "type");
    must(data.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2"), "pixels");
    must(data.putAndInsertString(DCM_PresentationLUTShape, "IDENTITY"), "pixels");
    must(data.putAndInsertUint16(DCM_BitsAllocated, 8), "pixels");
    must(data.putAndInsertUint16(DCM_BitsStored, 8), "pixels");
    must(data.putAndInsertUint16(DCM_HighBit, 7), "pixels");
    must(data.putAndInsertUint16(DCM_PixelPaddingValue, 0), "pixels");  // the background
    must(data.putAndInsertUint8Array(DCM_PixelData, labels_.data(), labels_.size()), "pixels");
    must(data.findAndDeleteSequenceItem(DCM_DimensionIndexSequence, 0), "dimensions");
    for (const DcmTagKey& groups :
         {DCM_SharedFunctionalGroupsSequence, DCM_PerFrameFunctionalGroupsSequence}) {
      DcmSequenceOfItems* sequence = nullptr;
      must(data.findAndGetSequence(groups, sequence), "groups");
      for (unsigned long i = 0; i < sequence->card(); ++i) {
        DcmItem& item = *sequence->getItem(i);
        item.findAndDeleteElement(DCM_SegmentIdentificationSequence);
        DcmItem* content = nullptr;
        Uint32 at = 0;
        if (item.findAndGetSequenceItem(DCM_FrameContentSequence, content).bad()) continue;
        must(content->findAndGetUint32(DCM_DimensionIndexValues, at, 1), "dimensions");
        must(content->putAndInsertUint32(DCM_DimensionIndexValues, at), "dimensions");
      }
    }
  }

  std::vector<std::uint8_t> bytes() {
    DcmFileFormat file;
    must(seg_->writeDataset(*file.getDataset()), "SEG");
    // DCMTK 3.7 calls the second bit of one the high bit.
    must(file.getDataset()->putAndInsertUint16(DCM_HighBit, 0), "HighBit");
    if (style_.label_map) make_label_map(*file.getDataset());
    constexpr std::size_t kHeader = std::size_t{1} << 20;
    std::vector<std::uint8_t> bytes(
        kHeader + file.calcElementLength(EXS_LittleEndianExplicit, EET_ExplicitLength));
    DcmOutputBufferStream stream(bytes.data(), bytes.size());
    file.transferInit();
    must(file.write(stream, EXS_LittleEndianExplicit, EET_ExplicitLength, nullptr), "SEG");
    file.transferEnd();
    void* begin = nullptr;
    offile_off_t length = 0;
    stream.flushBuffer(begin, length);
    bytes.resize(static_cast<std::size_t>(length));
    return bytes;
  }

  DcmDataset& source_;
  const LoadedVolume& loaded_;
  const LiverMask& mask_;
  const Organ& organ_;
  const SegStyle& style_;
  std::unique_ptr<DcmSegmentation> seg_;
  Uint16 number_ = 0;
  std::vector<Uint8> labels_;  // of a LABELMAP: its frames
  OFString class_uid_;
};

}  // namespace

Outcome<std::vector<std::uint8_t>> dicom::build_seg(const std::filesystem::path& source,
                                                    const LoadedVolume& loaded,
                                                    const LiverMask& mask, const Organ& organ,
                                                    const SegStyle& style) {
  const auto& uids = loaded.sop_instance_uids;
  if (uids.empty() || std::ranges::find(uids, std::string()) != uids.end())
    return refuse_mask(Code::TILT_RESAMPLED, "its slices are not the acquired ones");
  DcmFileFormat file;
  if (const OFCondition read =
          file.loadFile(OFFilename(source.c_str()), EXS_Unknown, EGL_noChange, 4096);
      read.bad())
    return refuse_mask(Code::MASK_UNREADABLE, std::string("source: ") + read.text());
  try {
    return Writer(*file.getDataset(), loaded, mask, organ, style).write();
  } catch (const Failed& failed) {
    return refuse_mask(Code::MASK_UNREADABLE, failed.what);
  }
}

}  // namespace wsp
