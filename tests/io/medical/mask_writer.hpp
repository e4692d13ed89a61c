#pragma once
#include <algorithm>

#include "dicom_writer.hpp"
#include "medical_support.hpp"

/// SEG and RTSTRUCT objects to write with DCMTK, and the CT that they belong to.
namespace wsp::test {

/// The CT of the synthetic masks: 10 columns, 7 rows, 5 slices; 2 x 3 x 2.5 mm.
struct SmallCt {
  static constexpr std::int64_t kColumns = 10, kRows = 7, kSlices = 5;
  static constexpr double kX = -20, kY = 30, kZ = 100, kDx = 2, kDy = 3, kDz = 2.5;
  static std::string sop(std::int64_t k) { return "1.2.3.4." + std::to_string(k + 1); }
  static Vec3 origin(std::int64_t k) { return {kX, kY, kZ + kDz * static_cast<double>(k)}; }

  /// Write its slices below `root` and read them back; `edit` may change each slice.
  static LoadedVolume load(const std::filesystem::path& root,
                           const std::function<void(DicomSlice&)>& edit = {}) {
    std::filesystem::create_directories(root);
    for (std::int64_t k = 0; k < kSlices; ++k) {
      DicomSlice s;
      s.columns = kColumns;
      s.rows = kRows;
      s.position = origin(k);
      s.pixel_x_mm = kDx;
      s.pixel_y_mm = kDy;
      s.thickness_mm = kDz;
      s.sop_uid = sop(k);
      s.pixels.assign(static_cast<std::size_t>(kColumns * kRows), 40);
      s.pixels[0] = static_cast<std::uint16_t>(k);
      if (edit) edit(s);
      write_dicom(root / ("ct" + std::to_string(k)), s);
    }
    return load_only_series(root);
  }
};

inline DcmItem& sequence_item(DcmItem& parent, const DcmTagKey& tag, signed long index = 0) {
  DcmItem* item = nullptr;
  if (parent.findOrCreateSequenceItem(DcmTag(tag), item, index).bad() || item == nullptr)
    throw std::runtime_error("no sequence item");
  return *item;
}

inline void put_text(DcmItem& item, const DcmTagKey& tag, const std::string& value) {
  if (item.putAndInsertString(DcmTag(tag), value.c_str()).bad())
    throw std::runtime_error("put failed");
}

inline void put_code(DcmItem& parent, const DcmTagKey& tag, const std::string& scheme,
                     const std::string& value) {
  DcmItem& code = sequence_item(parent, tag);
  put_text(code, DCM_CodingSchemeDesignator, scheme);
  put_text(code, DCM_CodeValue, value);
  put_text(code, DCM_CodeMeaning, "meaning");
}

struct SegSegment {
  int number = 1;
  std::string label = "Liver", scheme = "SCT", code = "10200004";
  std::string description;
};
struct SegFrame {
  Vec3 position{};
  int segment = 1;
  std::vector<int> pixels;           ///< one value a pixel
  std::vector<std::string> sources;  ///< referenced SOP instances
};

/// A segmentation to write; what is described and what is stored can be made to differ.
struct SegFile {
  std::string type = "BINARY";
  std::int64_t columns = SmallCt::kColumns, rows = SmallCt::kRows;
  Vec3 row{1, 0, 0}, column{0, 1, 0};
  double dx = SmallCt::kDx, dy = SmallCt::kDy;
  int bits = 1, maximum = 255;
  bool shared_segment = false;  ///< segment 1 in the shared group, none per frame
  std::vector<SegSegment> segments{SegSegment{}};
  std::vector<SegFrame> frames;
  std::function<void(DcmDataset&)> edit;
};

inline void write_seg(const std::filesystem::path& path, const SegFile& seg,
                      E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  put_text(d, DCM_SOPClassUID, UID_SegmentationStorage);
  put_text(d, DCM_SOPInstanceUID, "1.2.3.9");
  put_text(d, DCM_SeriesInstanceUID, "1.2.9");
  put_text(d, DCM_Modality, "SEG");
  put_text(d, DCM_SegmentationType, seg.type);
  d.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(seg.rows));
  d.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(seg.columns));
  d.putAndInsertUint16(DCM_BitsAllocated, static_cast<Uint16>(seg.bits));
  d.putAndInsertUint16(DCM_BitsStored, static_cast<Uint16>(seg.bits));
  if (seg.type == "FRACTIONAL")
    d.putAndInsertUint16(DCM_MaximumFractionalValue, static_cast<Uint16>(seg.maximum));
  put_text(d, DCM_NumberOfFrames, std::to_string(seg.frames.size()));
  for (std::size_t i = 0; i < seg.segments.size(); ++i) {
    const SegSegment& s = seg.segments[i];
    DcmItem& item = sequence_item(d, DCM_SegmentSequence, static_cast<signed long>(i));
    item.putAndInsertUint16(DCM_SegmentNumber, static_cast<Uint16>(s.number));
    put_text(item, DCM_SegmentLabel, s.label);
    if (!s.description.empty()) put_text(item, DCM_SegmentDescription, s.description);
    put_code(item, DCM_SegmentedPropertyTypeCodeSequence, s.scheme, s.code);
  }
  DcmItem& shared = sequence_item(d, DCM_SharedFunctionalGroupsSequence);
  put_text(sequence_item(shared, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient,
           decimals(seg.row) + "\\" + decimals(seg.column));
  put_text(sequence_item(shared, DCM_PixelMeasuresSequence), DCM_PixelSpacing,
           std::to_string(seg.dy) + "\\" + std::to_string(seg.dx));
  if (seg.shared_segment)
    sequence_item(shared, DCM_SegmentIdentificationSequence)
        .putAndInsertUint16(DCM_ReferencedSegmentNumber, 1);
  std::vector<std::uint8_t> bytes;
  std::size_t bit = 0;
  for (std::size_t f = 0; f < seg.frames.size(); ++f) {
    const SegFrame& frame = seg.frames[f];
    DcmItem& group =
        sequence_item(d, DCM_PerFrameFunctionalGroupsSequence, static_cast<signed long>(f));
    put_text(sequence_item(group, DCM_PlanePositionSequence), DCM_ImagePositionPatient,
             decimals(frame.position));
    if (!seg.shared_segment && seg.type != "LABELMAP")
      sequence_item(group, DCM_SegmentIdentificationSequence)
          .putAndInsertUint16(DCM_ReferencedSegmentNumber, static_cast<Uint16>(frame.segment));
    for (std::size_t i = 0; i < frame.sources.size(); ++i)
      put_text(sequence_item(sequence_item(group, DCM_DerivationImageSequence),
                             DCM_SourceImageSequence, static_cast<signed long>(i)),
               DCM_ReferencedSOPInstanceUID, frame.sources[i]);
    for (const int value : frame.pixels) {
      if (seg.bits == 1) {
        if (bit % 8 == 0) bytes.push_back(0);
        if (value != 0) bytes.back() |= static_cast<std::uint8_t>(1U << (bit % 8));
        ++bit;
        continue;
      }
      bytes.push_back(static_cast<std::uint8_t>(value & 0xFF));
      if (seg.bits == 16) bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    }
  }
  if (bytes.size() % 2 != 0) bytes.push_back(0);
  if (seg.bits == 16) {
    std::vector<Uint16> words(bytes.size() / 2);
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = static_cast<Uint16>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    d.putAndInsertUint16Array(DCM_PixelData, words.data(),
                              static_cast<unsigned long>(words.size()));
  } else {
    d.putAndInsertUint8Array(DCM_PixelData, bytes.data(), static_cast<unsigned long>(bytes.size()));
  }
  if (seg.edit) seg.edit(d);
  const OFCondition saved = file.saveFile(OFFilename(path.c_str()), syntax);
  if (saved.bad()) throw std::runtime_error(saved.text());
}

struct RtContour {
  std::string data;  ///< x\y\z\...; see points()
  std::string type = "CLOSED_PLANAR";
  std::vector<std::string> sources;
  int announced = -1;  ///< NumberOfContourPoints; -1: the true one
  int roi = 1;
};
struct RtRoi {
  int number = 1;
  std::string name = "Liver", scheme, code;  ///< observed code, none where empty
};
struct RtFile {
  std::vector<RtRoi> rois{RtRoi{}};
  std::vector<RtContour> contours;
  std::function<void(DcmDataset&)> edit;
};

/// ContourData of points (x, y) at one z.
inline std::string points(const std::vector<std::pair<double, double>>& xy, double z) {
  std::string text;
  for (const auto& [x, y] : xy) text += (text.empty() ? "" : "\\") + decimals({x, y, z});
  return text;
}

inline void write_rtstruct(const std::filesystem::path& path, const RtFile& rt) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  put_text(d, DCM_SOPClassUID, UID_RTStructureSetStorage);
  put_text(d, DCM_SOPInstanceUID, "1.2.3.8");
  put_text(d, DCM_Modality, "RTSTRUCT");
  for (std::size_t i = 0; i < rt.rois.size(); ++i) {
    const RtRoi& roi = rt.rois[i];
    const auto at = static_cast<signed long>(i);
    DcmItem& item = sequence_item(d, DCM_StructureSetROISequence, at);
    put_text(item, DCM_ROINumber, std::to_string(roi.number));
    put_text(item, DCM_ROIName, roi.name);
    DcmItem& seen = sequence_item(d, DCM_RTROIObservationsSequence, at);
    put_text(seen, DCM_ReferencedROINumber, std::to_string(roi.number));
    if (!roi.code.empty())
      put_code(seen, DCM_RTROIIdentificationCodeSequence, roi.scheme, roi.code);
    DcmItem& drawn = sequence_item(d, DCM_ROIContourSequence, at);
    put_text(drawn, DCM_ReferencedROINumber, std::to_string(roi.number));
    signed long n = 0;
    for (const RtContour& contour : rt.contours) {
      if (contour.roi != roi.number) continue;
      DcmItem& one = sequence_item(drawn, DCM_ContourSequence, n++);
      put_text(one, DCM_ContourGeometricType, contour.type);
      const auto values = std::count(contour.data.begin(), contour.data.end(), '\\') + 1;
      put_text(one, DCM_NumberOfContourPoints,
               std::to_string(contour.announced >= 0 ? contour.announced : values / 3));
      put_text(one, DCM_ContourData, contour.data);
      for (std::size_t k = 0; k < contour.sources.size(); ++k)
        put_text(sequence_item(one, DCM_ContourImageSequence, static_cast<signed long>(k)),
                 DCM_ReferencedSOPInstanceUID, contour.sources[k]);
    }
  }
  if (rt.edit) rt.edit(d);
  const OFCondition saved = file.saveFile(OFFilename(path.c_str()), EXS_LittleEndianExplicit);
  if (saved.bad()) throw std::runtime_error(saved.text());
}

}  // namespace wsp::test
