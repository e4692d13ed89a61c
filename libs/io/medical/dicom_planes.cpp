#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <cmath>

#include "io/medical/dicom_header.hpp"
#include "io/medical/dicom_text.hpp"

namespace wsp::dicom {
namespace {

/// The attributes of one frame, found wherever the object keeps them: in the frame's functional
/// groups, in the shared ones, else at the top level (PS3.3 C.7.6.16).
class FrameView {
 public:
  FrameView(DcmDataset& dataset, std::int64_t frame, bool enhanced)
      : dataset_(dataset), frame_(frame), enhanced_(enhanced) {}

  [[nodiscard]] DcmItem& in(const DcmTagKey& macro) const {
    if (!enhanced_) return dataset_;
    DcmItem* item = functional_group(dataset_, frame_, macro.getGroup(), macro.getElement());
    return item != nullptr ? *item : dataset_;
  }

 private:
  DcmDataset& dataset_;
  std::int64_t frame_;
  bool enhanced_;
};

Vec3 vec(const std::vector<double>& values, std::size_t first) {
  return {values[first], values[first + 1], values[first + 2]};
}

/// Remember what keeps the series from being a volume; the first fault counts.
void note_fault(Header& header, Code code, std::string detail) {
  if (code == Code::USED || detail.empty() || header.fault != Code::USED) return;
  header.fault = code;
  header.fault_detail = std::move(detail);
}

/// Read position and axes; false when one is missing or the axes are no axes.
bool read_position(const FrameView& view, FrameHeader& plane) {
  const auto position = numbers(view.in(DCM_PlanePositionSequence), DCM_ImagePositionPatient, 3);
  const auto axes = numbers(view.in(DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient, 6);
  if (!position || !axes) return false;
  plane.position = vec(*position, 0);
  plane.row_axis = vec(*axes, 0);
  plane.column_axis = vec(*axes, 3);
  const double row = norm(plane.row_axis);
  const double column = norm(plane.column_axis);
  if (std::abs(row - 1) > 0.01 || std::abs(column - 1) > 0.01) return false;
  plane.row_axis = (1 / row) * plane.row_axis;
  plane.column_axis = (1 / column) * plane.column_axis;
  for (const double value : plane.position) {
    if (std::abs(value) > 1e5) return false;
  }
  return std::abs(dot(plane.row_axis, plane.column_axis)) < 0.01;
}

}  // namespace

DcmItem* functional_group(DcmDataset& dataset, std::int64_t frame, std::uint16_t group,
                          std::uint16_t element) {
  const DcmTagKey macro(group, element);
  DcmItem* holder = nullptr;
  DcmItem* item = nullptr;
  if (dataset
          .findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, holder,
                                  static_cast<signed long>(frame))
          .good() &&
      holder != nullptr && holder->findAndGetSequenceItem(macro, item, 0).good()) {
    return item;
  }
  if (dataset.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, holder, 0).good() &&
      holder != nullptr && holder->findAndGetSequenceItem(macro, item, 0).good()) {
    return item;
  }
  return nullptr;
}

std::string read_planes(DcmDataset& dataset, Header& header) {
  const bool enhanced = dataset.tagExists(DCM_SharedFunctionalGroupsSequence) ||
                        dataset.tagExists(DCM_PerFrameFunctionalGroupsSequence);
  std::string wrong;
  if (enhanced) {
    DcmSequenceOfItems* groups = nullptr;
    if (dataset.findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, groups).bad() ||
        groups == nullptr || static_cast<std::int64_t>(groups->card()) < header.frames) {
      wrong = "fewer per-frame groups than frames";
    }
  }
  for (std::int64_t frame = 0; frame < header.frames; ++frame) {
    const FrameView view(dataset, frame, enhanced);
    FrameHeader plane;
    plane.frame = static_cast<std::int32_t>(frame);
    // Frames of a classic multi-frame image would all claim the one position.
    plane.has_position = (enhanced || header.frames == 1) && read_position(view, plane);
    DcmItem& measures = view.in(DCM_PixelMeasuresSequence);
    const auto check = [&](DcmItem& item, const DcmTagKey& tag, std::size_t count) {
      std::string fault = number_fault(item, tag, count);
      const bool sound = fault.empty();
      note_fault(header, Code::BAD_HEADER, std::move(fault));
      return sound;
    };
    check(view.in(DCM_PlanePositionSequence), DCM_ImagePositionPatient, 3);
    check(view.in(DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient, 6);
    const Rescale rescale = read_rescale(dataset, frame);
    note_fault(header, rescale.fault, rescale.detail);
    const auto spacing = numbers(measures, DCM_PixelSpacing, 2);
    if (!spacing || (*spacing)[0] <= 0 || (*spacing)[1] <= 0 || (*spacing)[0] > 1000 ||
        (*spacing)[1] > 1000) {
      if (check(measures, DCM_PixelSpacing, 2)) wrong = "PixelSpacing missing or absurd";
    } else {
      plane.pixel_y_mm = (*spacing)[0];
      plane.pixel_x_mm = (*spacing)[1];
    }
    plane.thickness_mm = std::max(0.0, number(measures, DCM_SliceThickness).value_or(0));
    DcmItem& content = view.in(DCM_FrameContentSequence);
    plane.image_type = header.image_type;
    if (enhanced) {
      const std::string type = upper(ascii(view.in(DCM_CTImageFrameTypeSequence), DCM_FrameType));
      if (!type.empty()) plane.image_type = type;
      plane.acquisition = ascii(content, DCM_FrameAcquisitionNumber);
      plane.temporal = ascii(content, DCM_TemporalPositionIndex);
      plane.time = ascii(content, DCM_FrameAcquisitionDateTime);
      plane.phase = ascii(view.in(DCM_ContrastBolusUsageSequence), DCM_ContrastBolusAgentPhase);
      plane.stack = ascii(content, DCM_StackID);
    } else {
      plane.acquisition = ascii(dataset, DCM_AcquisitionNumber);
      plane.temporal = ascii(dataset, DCM_TemporalPositionIdentifier);
      plane.time = ascii(dataset, DCM_AcquisitionTime);
      plane.phase = ascii(dataset, DCM_ContrastBolusAgentPhase);
    }
    plane.kernel = upper(text(view.in(DCM_CTReconstructionSequence), DCM_ConvolutionKernel));
    plane.kvp = ascii(view.in(DCM_CTXRayDetailsSequence), DCM_KVP);
    plane.contrast =
        ascii(view.in(DCM_ContrastBolusUsageSequence), DCM_ContrastBolusAgentAdministered);
    plane.event_uid =
        ascii(view.in(DCM_IrradiationEventIdentificationSequence), DCM_IrradiationEventUID);
    header.planes.push_back(std::move(plane));
  }
  return wrong;
}

}  // namespace wsp::dicom
