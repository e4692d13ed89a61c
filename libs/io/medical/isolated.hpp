#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <tuple>
#include <utility>

#include "io/core/volume.hpp"
#include "io/core/wire.hpp"
#include "io/core/worker_pool.hpp"
#include "io/medical/codec.hpp"
#include "io/medical/dicom_header.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "io/medical/seg_write.hpp"

/// Reading in worker processes. Internal to io/medical.

namespace wsp {
template <>
inline constexpr std::optional<dicom::FileKind> wire::kLast<dicom::FileKind> =
    dicom::FileKind::rtstruct;

WSP_FIELDS(Geometry, size, spacing_mm, origin_mm, axis)
WSP_FIELDS(LiverMask, geometry, voxels, flags)
WSP_FIELDS(MaskObject, file, is_rtstruct, series_uids, sop_instance_uids, patient_id, study_uid,
           frame_of_reference_uid, frame_corners_mm, contour_points_mm, bytes)
WSP_FIELDS(Organ, name, names, codes, least_ml, most_ml, shape)
WSP_FIELDS(MaskOptions, organ, liver_roi, liver_labels)
WSP_FIELDS(SegStyle, algorithm, tool_version, label_map)
WSP_FIELDS(ImageHeader, geometry, component, flags)
WSP_FIELDS(LabelImage::Segment, name, value)
// Whether readers answer so, whatever became of them: what the code behind them relies on.
bool is_possible(const Geometry& geometry);
bool is_possible(const LiverMask& mask);
bool is_possible(const MaskObject& object);

namespace dicom {
WSP_FIELDS(PixelFormat, columns, rows, frames, allocated, stored, high, is_signed, overlay)
WSP_FIELDS(PaddingRange, low, high)
WSP_FIELDS(NativePixels, file_bytes, offset, header_xxh3, format, padding, slope, intercept)
WSP_FIELDS(FrameHeader, frame, has_position, position, row_axis, column_axis, pixel_x_mm,
           pixel_y_mm, thickness_mm, image_type, acquisition, temporal, phase, time, stack, kernel,
           kvp, contrast, event_uid)
WSP_FIELDS(Header, code, detail, kind, patient_id, issuer, patient_sex, patient_birth_date,
           accession, study_uid, series_uid, sop_instance_uid, sop_class_uid,
           frame_of_reference_uid, transfer_syntax, modality, patient_position, kernel,
           manufacturer, image_type, description, contrast_agent, acquisition_seconds,
           bolus_seconds, columns, rows, frames, lossy, planes, fault, fault_detail, flags,
           protocol, comments, series_number, acquisition_uid, scan_options, patient_name, native)
WSP_FIELDS(WordEvidence, extended, bare, wider, negative, low, low_kept, low_from, low_to,
           example_hu)
WSP_FIELDS(DecodedFrame, columns, rows, plain, padding_range, stored, padding, slope, intercept,
           sign_repaired, words)
bool is_possible(const NativePixels& native);
bool is_possible(const FrameHeader& frame);
bool is_possible(const Header& header);
bool is_possible(const DecodedFrame& frame);
}  // namespace dicom

/// What a file's reader did to itself, as a refusal of the file.
inline Rejection refusal_of(const WorkerLost& lost, std::string stage) {
  return {"", std::move(stage), lost.timed_out() ? Code::DECODER_TIMEOUT : Code::DECODER_CRASHED,
          lost.what()};
}

/// The same where a reader answered what no reader answers.
inline Rejection impossible(std::string stage) {
  return {"", std::move(stage), Code::DECODER_CRASHED, "its reader answered what cannot be"};
}

/// Seconds that reading a file may take beside those of every file: one for each MiB.
double seconds_for(const std::filesystem::path& path);

/// Throw again what an earlier reader of this file was lost by, in this run: a file costs its time
/// once. Thread-safe.
void throw_known_loss(const std::filesystem::path& path);
void remember_loss(const std::filesystem::path& path, const WorkerLost& lost);

/// Function(path, arguments...) in a worker process, or here where there is no pool. Throws what
/// Function threw (WorkerPool::call()), and WorkerLost.
template <auto Function, class... Arguments>
auto isolated_or_lost(const std::function<double()>& more_seconds,
                      const std::filesystem::path& path, const Arguments&... arguments) {
  using Result = decltype(Function(path, arguments...));
  WorkerPool* pool = worker_pool();
  if (pool == nullptr) return Result(Function(path, arguments...));
  throw_known_loss(path);
  wire::Writer request;
  request.put(path);
  (request.put(arguments), ...);
  const WorkerTask task = [](wire::Reader& given, wire::Writer& reply) {
    const auto file = given.get<std::filesystem::path>();
    const std::tuple<Arguments...> values{given.get<Arguments>()...};
    reply.put(std::apply([&](const auto&... value) { return Function(file, value...); }, values));
  };
  try {
    return pool->call(task, request.bytes(), more_seconds).template get<Result>();
  } catch (const WorkerLost& lost) {
    remember_loss(path, lost);
    throw;
  }
}

/// The same for a function that may refuse: DECODER_CRASHED and DECODER_TIMEOUT are refusals too.
template <auto Function, class... Arguments>
auto isolated(const char* stage, const std::filesystem::path& path, const Arguments&... arguments)
    -> decltype(Function(path, arguments...)) {
  try {
    return isolated_or_lost<Function>([&] { return seconds_for(path); }, path, arguments...);
  } catch (const WorkerLost& lost) {
    return refusal_of(lost, stage);
  }
}

}  // namespace wsp
