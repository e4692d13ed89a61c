#include "io/medical/series_keys.hpp"

#include <cmath>
#include <string_view>

namespace wsp::dicom {
namespace {

constexpr const char* kAgent = "ContrastBolusAgent";

/// A length as a whole number of units, so that rounding tells nothing apart.
std::string whole(double value, double unit) { return std::to_string(std::llround(value / unit)); }

std::string whole(const std::string& text, double unit) {
  try {
    return text.empty() ? text : whole(std::stod(text), unit);
  } catch (const std::exception&) {
    return text;
  }
}

}  // namespace

std::vector<Key> keys_of(const PlaneRef& first) {
  const Vec3 origin = first.frame->position;
  return {
      {"AcquisitionNumber", Says::counts, [](const auto& p) { return p.frame->acquisition; }},
      {"TemporalPosition", Says::what, [](const auto& p) { return p.frame->temporal; }},
      {"contrast phase", Says::what, [](const auto& p) { return p.frame->phase; }},
      {kAgent, Says::what,
       [](const auto& p) { return p.header->contrast_agent + p.frame->contrast; }},
      {"SeriesDescription", Says::what, [](const auto& p) { return p.header->description; }},
      {"ConvolutionKernel", Says::what, [](const auto& p) { return p.frame->kernel; }},
      // Tubes are set in steps of ten and more; some write what they measured.
      {"KVP", Says::what, [](const auto& p) { return whole(p.frame->kvp, 5); }},
      {"SeriesNumber", Says::which, [](const auto& p) { return p.header->series_number; }},
      {"StackID", Says::which, [](const auto& p) { return p.frame->stack; }},
      {"AcquisitionUID", Says::which, [](const auto& p) { return p.header->acquisition_uid; }},
      {"IrradiationEventUID", Says::which, [](const auto& p) { return p.frame->event_uid; }},
      {"ImageType", Says::which, [](const auto& p) { return p.frame->image_type; }},
      {"SliceThickness", Says::which,
       [](const auto& p) { return whole(p.frame->thickness_mm, 0.01); }},
      {"ScanOptions", Says::which, [](const auto& p) { return p.header->scan_options; }},
      {"SOPClassUID", Says::which, [](const auto& p) { return p.header->sop_class_uid; }},
      {"FrameOfReferenceUID", Says::what,
       [](const auto& p) { return p.header->frame_of_reference_uid; }},
      {kOrigin, Says::which,
       [origin](const auto& p) {
         const Vec3 moved = p.frame->position - origin;
         return whole(dot(moved, p.frame->row_axis), 1) + "," +
                whole(dot(moved, p.frame->column_axis), 1);
       }},
      {kTime, Says::counts, [](const auto& p) { return p.frame->time; }},
  };
}

bool is_time(const Key& key) { return std::string_view(key.name) == kTime; }
bool blank_is_value(const Key& key) { return std::string_view(key.name) == kAgent; }

}  // namespace wsp::dicom
