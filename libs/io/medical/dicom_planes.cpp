#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <cmath>

#include "io/medical/dicom_header.hpp"
#include "io/medical/dicom_text.hpp"

namespace wsp::dicom {
namespace {

/// The attributes of one frame.
class FrameView {
 public:
  FrameView(const FrameGroups& groups, std::int64_t frame) : groups_(groups), frame_(frame) {}
  [[nodiscard]] DcmItem& in(const DcmTagKey& macro) const { return groups_.in(frame_, macro); }

 private:
  const FrameGroups& groups_;
  std::int64_t frame_;
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

FrameGroups::FrameGroups(DcmDataset& dataset)
    : dataset_(dataset),
      per_frame_(items(dataset, DCM_PerFrameFunctionalGroupsSequence)),
      enhanced_(dataset.tagExists(DCM_SharedFunctionalGroupsSequence) ||
                dataset.tagExists(DCM_PerFrameFunctionalGroupsSequence)) {
  if (const auto shared = items(dataset, DCM_SharedFunctionalGroupsSequence); !shared.empty())
    shared_ = shared.front();
}

DcmItem& FrameGroups::in(std::int64_t frame, const DcmTagKey& macro) const {
  const auto at = static_cast<std::size_t>(frame);
  for (DcmItem* group : {at < per_frame_.size() ? per_frame_[at] : nullptr, shared_}) {
    DcmItem* item = nullptr;
    if (group != nullptr && group->findAndGetSequenceItem(macro, item, 0).good() && item != nullptr)
      return *item;
  }
  return dataset_;
}

std::string read_planes(DcmDataset& dataset, Header& header) {
  const FrameGroups groups(dataset);
  const bool enhanced = groups.enhanced();
  std::string wrong;
  if (enhanced && static_cast<std::int64_t>(groups.per_frame()) < header.frames)
    wrong = "fewer per-frame groups than frames";
  for (std::int64_t frame = 0; frame < header.frames; ++frame) {
    const FrameView view(groups, frame);
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
    const Rescale rescale = read_rescale(dataset, view.in(DCM_PixelValueTransformationSequence));
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
