#include "preprocess/phantom/mask_write.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "preprocess/phantom/dicom_element.hpp"

namespace wsp::phantom {
namespace {

using Corner = std::pair<std::int64_t, std::int64_t>;
using Masks = std::vector<std::vector<std::uint8_t>>;

bool any(const std::vector<std::uint8_t>& mask) {
  return std::find(mask.begin(), mask.end(), 1) != mask.end();
}

// The second structure: a small square in the middle of the matrix.
std::vector<std::uint8_t> square(const Stack& s) {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(s.columns * s.rows));
  for (std::int64_t y = s.rows / 2; y < s.rows / 2 + 4; ++y)
    for (std::int64_t x = s.columns / 2; x < s.columns / 2 + 4; ++x)
      mask[static_cast<std::size_t>(y * s.columns + x)] = 1;
  return mask;
}

void refer(DcmItem& image, const MaskSource& source, std::size_t k) {
  put(image, DCM_ReferencedSOPClassUID, source.sop_class);
  put(image, DCM_ReferencedSOPInstanceUID, source.instances[k]);
  if (source.frames) put(image, DCM_ReferencedFrameNumber, std::to_string(k + 1));
}

std::string position(const Stack& s, std::size_t k) {
  const Vec3& o = s.origins[k];
  return decimals({o[0], o[1], o[2]});
}

struct Segment {
  int number;
  const char *code, *meaning;
  std::string label;
};

void put_segment(DcmDataset& d, long index, const Segment& segment, const std::string& secret) {
  DcmItem& item = item_of(d, DCM_SegmentSequence, index);
  item.putAndInsertUint16(DCM_SegmentNumber, static_cast<Uint16>(segment.number));
  put(item, DCM_SegmentLabel, segment.label);
  put(item, DCM_SegmentDescription, "drawn by " + secret);
  put(item, DCM_SegmentAlgorithmType, "MANUAL");
  put_code(item, DCM_SegmentedPropertyCategoryCodeSequence, "123037004", "SCT",
           "Anatomical Structure");
  put_code(item, DCM_SegmentedPropertyTypeCodeSequence, segment.code, "SCT", segment.meaning);
}

void put_reference(DcmItem& parent, const MaskSource& source, const DcmTagKey& images) {
  long index = 0;
  for (std::size_t k = 0; k < source.instances.size(); ++k) {
    if (source.instances[k].empty() || (source.frames && k > 0)) continue;
    DcmItem& image = item_of(parent, images, index++);
    put(image, DCM_ReferencedSOPClassUID, source.sop_class);
    put(image, DCM_ReferencedSOPInstanceUID, source.instances[k]);
  }
}

}  // namespace

std::vector<std::vector<std::pair<double, double>>> trace_outlines(
    const std::vector<std::uint8_t>& mask, std::int64_t columns, std::int64_t rows) {
  const auto set = [&](std::int64_t x, std::int64_t y) {
    return x >= 0 && y >= 0 && x < columns && y < rows &&
           mask[static_cast<std::size_t>(y * columns + x)] != 0;
  };
  // Borders as edges from corner to corner, the inside on their right; corner (x, y) is the upper
  // left one of pixel (x, y).
  std::map<Corner, std::vector<Corner>> edges;
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < columns; ++x) {
      if (!set(x, y)) continue;
      if (!set(x, y - 1)) edges[{x, y}].push_back({x + 1, y});
      if (!set(x + 1, y)) edges[{x + 1, y}].push_back({x + 1, y + 1});
      if (!set(x, y + 1)) edges[{x + 1, y + 1}].push_back({x, y + 1});
      if (!set(x - 1, y)) edges[{x, y + 1}].push_back({x, y});
    }
  std::vector<std::vector<std::pair<double, double>>> outlines;
  while (!edges.empty()) {
    const Corner start = edges.begin()->first;
    std::vector<Corner> loop;
    for (Corner at = start;;) {
      const auto found = edges.find(at);
      const Corner next = found->second.back();
      found->second.pop_back();
      if (found->second.empty()) edges.erase(found);
      // Only corners where the direction changes.
      if (loop.size() > 1) {
        const Corner &a = loop[loop.size() - 2], &b = loop.back();
        if ((a.first == b.first && b.first == next.first) ||
            (a.second == b.second && b.second == next.second))
          loop.pop_back();
      }
      if (loop.empty()) loop.push_back(at);
      if (next == start) break;
      loop.push_back(next);
      at = next;
    }
    auto& outline = outlines.emplace_back();
    for (const auto& [x, y] : loop)
      outline.emplace_back(static_cast<double>(x) - 0.5, static_cast<double>(y) - 0.5);
  }
  return outlines;
}

InstanceRecord write_seg(const std::filesystem::path& path, const SeriesHeader& h,
                         const MaskSource& source, const Masks& liver) {
  const Stack& s = *source.stack;
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  const InstanceRecord record{"", UID_SegmentationStorage, slice_uid(h, 0), h.transfer_syntax, 1};
  put_common(file, h, record.sop_class, record.sop_uid, "SEG");
  put(d, DCM_InstanceNumber, "1");
  put(d, DCM_ImageType, "DERIVED\\PRIMARY");
  put(d, DCM_FrameOfReferenceUID, source.header->frame_uid);
  put(d, DCM_SegmentationType, "BINARY");
  put(d, DCM_ContentLabel, "LIVER");
  put(d, DCM_ContentDescription, "liver of " + h.secret);
  put(d, DCM_ContentCreatorName, "DRAW^" + h.secret);
  put(d, DCM_LossyImageCompression, "00");
  d.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  put(d, DCM_PhotometricInterpretation, "MONOCHROME2");
  d.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(s.rows));
  d.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(s.columns));
  d.putAndInsertUint16(DCM_BitsAllocated, 1);
  d.putAndInsertUint16(DCM_BitsStored, 1);
  d.putAndInsertUint16(DCM_HighBit, 0);
  d.putAndInsertUint16(DCM_PixelRepresentation, 0);
  put_segment(d, 0, {1, "10200004", "Liver", "Liver"}, h.secret);
  put_segment(d, 1, {2, "78961009", "Spleen", "Other " + h.secret}, h.secret);
  DcmItem& series = item_of(d, DCM_ReferencedSeriesSequence);
  put(series, DCM_SeriesInstanceUID, source.header->series_uid);
  put_reference(series, source, DCM_ReferencedInstanceSequence);

  DcmItem& shared = item_of(d, DCM_SharedFunctionalGroupsSequence);
  put(item_of(shared, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient,
      decimals({s.row_axis[0], s.row_axis[1], s.row_axis[2], s.column_axis[0], s.column_axis[1],
                s.column_axis[2]}));
  DcmItem& measures = item_of(shared, DCM_PixelMeasuresSequence);
  put(measures, DCM_PixelSpacing, decimals({s.pixel_mm, s.pixel_mm}));
  put(measures, DCM_SliceThickness, decimals({s.thickness_mm}));

  // Bits run on over the borders of frames.
  std::vector<std::uint8_t> bytes;
  std::size_t bit = 0;
  long frames = 0;
  const auto add_frame = [&](std::size_t k, int segment, const std::vector<std::uint8_t>& mask) {
    DcmItem& frame = item_of(d, DCM_PerFrameFunctionalGroupsSequence, frames++);
    refer(item_of(item_of(frame, DCM_DerivationImageSequence), DCM_SourceImageSequence), source, k);
    put(item_of(frame, DCM_FrameContentSequence), DCM_FrameComments, "mask of " + h.secret);
    put(item_of(frame, DCM_PlanePositionSequence), DCM_ImagePositionPatient, position(s, k));
    item_of(frame, DCM_SegmentIdentificationSequence)
        .putAndInsertUint16(DCM_ReferencedSegmentNumber, static_cast<Uint16>(segment));
    for (const std::uint8_t value : mask) {
      if (bit % 8 == 0) bytes.push_back(0);
      if (value != 0) bytes.back() = static_cast<std::uint8_t>(bytes.back() | 1U << (bit % 8));
      ++bit;
    }
  };
  for (std::size_t k = 0; k < liver.size(); ++k)
    if (!source.instances[k].empty() && any(liver[k])) add_frame(k, 1, liver[k]);
  add_frame(0, 2, square(s));
  put(d, DCM_NumberOfFrames, std::to_string(frames));
  if (bytes.size() % 2 != 0) bytes.push_back(0);
  must(d.putAndInsertUint8Array(DCM_PixelData, bytes.data(),
                                static_cast<unsigned long>(bytes.size())),
       path);
  save(file, path, record.transfer_syntax);
  return record;
}

InstanceRecord write_rtstruct(const std::filesystem::path& path, const SeriesHeader& h,
                              const MaskSource& source, const Masks& liver) {
  const Stack& s = *source.stack;
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  // Contours exceed the 64 KiB that an explicit DS can hold.
  const InstanceRecord record{"", UID_RTStructureSetStorage, slice_uid(h, 0),
                              UID_LittleEndianImplicitTransferSyntax, 1};
  put_common(file, h, record.sop_class, record.sop_uid, "RTSTRUCT");
  put(d, DCM_InstanceNumber, "1");
  put(d, DCM_StructureSetLabel, "LIVER");
  put(d, DCM_StructureSetName, "structures of " + h.secret);
  put(d, DCM_StructureSetDescription, "drawn for " + h.secret);
  put(d, DCM_StructureSetDate, h.study_date);
  put(d, DCM_StructureSetTime, "110000");
  DcmItem& frame = item_of(d, DCM_ReferencedFrameOfReferenceSequence);
  put(frame, DCM_FrameOfReferenceUID, source.header->frame_uid);
  DcmItem& study = item_of(frame, DCM_RTReferencedStudySequence);
  put(study, DCM_ReferencedSOPClassUID, "1.2.840.10008.3.1.2.3.1");
  put(study, DCM_ReferencedSOPInstanceUID, h.study_uid);
  DcmItem& series = item_of(study, DCM_RTReferencedSeriesSequence);
  put(series, DCM_SeriesInstanceUID, source.header->series_uid);
  put_reference(series, source, DCM_ContourImageSequence);

  const std::array<std::string, 2> names{"Liver", "GTV " + h.secret};
  for (long roi = 0; roi < 2; ++roi) {
    const std::string number = std::to_string(roi + 1);
    DcmItem& item = item_of(d, DCM_StructureSetROISequence, roi);
    put(item, DCM_ROINumber, number);
    put(item, DCM_ReferencedFrameOfReferenceUID, source.header->frame_uid);
    put(item, DCM_ROIName, names[static_cast<std::size_t>(roi)]);
    put(item, DCM_ROIDescription, "region of " + h.secret);
    put(item, DCM_ROIGenerationAlgorithm, "MANUAL");
    DcmItem& seen = item_of(d, DCM_RTROIObservationsSequence, roi);
    put(seen, DCM_ObservationNumber, number);
    put(seen, DCM_ReferencedROINumber, number);
    put(seen, DCM_RTROIInterpretedType, "ORGAN");
    put(seen, DCM_ROIInterpreter, "DRAW^" + h.secret);
    DcmItem& drawn = item_of(d, DCM_ROIContourSequence, roi);
    put(drawn, DCM_ReferencedROINumber, number);
    long contours = 0;
    for (std::size_t k = 0; k < liver.size(); ++k) {
      if (source.instances[k].empty() || (roi == 1 && k != 0)) continue;
      for (const auto& outline :
           trace_outlines(roi == 0 ? liver[k] : square(s), s.columns, s.rows)) {
        DcmItem& contour = item_of(drawn, DCM_ContourSequence, contours++);
        refer(item_of(contour, DCM_ContourImageSequence), source, k);
        put(contour, DCM_ContourGeometricType, "CLOSED_PLANAR");
        put(contour, DCM_NumberOfContourPoints, std::to_string(outline.size()));
        std::string data;
        for (const auto& [x, y] : outline) {
          const Vec3 p =
              s.origins[k] + (x * s.pixel_mm) * s.row_axis + (y * s.pixel_mm) * s.column_axis;
          data += (data.empty() ? "" : "\\") + decimals({p[0], p[1], p[2]});
        }
        put(contour, DCM_ContourData, data);
      }
    }
  }
  put(d, DCM_ApprovalStatus, "APPROVED");
  put(d, DCM_ReviewerName, "REVIEW^" + h.secret);
  put(d, DCM_ReviewDate, h.study_date);
  save(file, path, record.transfer_syntax);
  return record;
}

}  // namespace wsp::phantom
