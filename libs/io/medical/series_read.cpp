#include <tbb/enumerable_thread_specific.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/large_buffer.hpp"
#include "io/core/parallel.hpp"
#include "io/medical/codec.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/interleave.hpp"
#include "io/medical/refuse.hpp"
#include "io/medical/rescale.hpp"
#include "io/medical/scan.hpp"
#include "io/medical/series_group.hpp"

namespace wsp {
namespace {

using DecodedFrame = dicom::DecodedFrame;

/// Frames of one file that one task decodes: the header is parsed once for all of them. A file of
/// very many frames is parsed no more often than kTasksPerFile times.
constexpr std::size_t kFramesPerTask = 32, kTasksPerFile = 32;

/// Planes of one file that are decoded together.
struct Task {
  std::size_t file = 0;
  std::vector<std::int32_t> frames;
  std::vector<std::size_t> planes;  ///< index into Series::planes of each frame
};

std::vector<Task> plan(const Series& series) {
  std::vector<Task> tasks;
  std::map<std::size_t, std::size_t> frames;
  for (const Plane& plane : series.planes) ++frames[plane.file];
  std::map<std::size_t, std::size_t> open;  // file -> its unfinished task
  for (std::size_t k = 0; k < series.planes.size(); ++k) {
    const Plane& plane = series.planes[k];
    const auto found = open.find(plane.file);
    const std::size_t most = std::max(kFramesPerTask, frames[plane.file] / kTasksPerFile);
    if (found == open.end() || tasks[found->second].frames.size() >= most) {
      open[plane.file] = tasks.size();
      tasks.push_back({plane.file, {}, {}});
    }
    Task& task = tasks[open[plane.file]];
    task.frames.push_back(plane.frame);
    task.planes.push_back(k);
  }
  return tasks;
}

bool rescale_is_sane(const DecodedFrame& frame) {
  return std::isfinite(frame.slope) && std::isfinite(frame.intercept) && frame.slope != 0 &&
         std::abs(frame.slope) < 1e6F && std::abs(frame.intercept) < 1e9F;
}

/// Codes that a caller may overrule (it pinned the series); the others leave nothing to read.
bool is_readable(Code code) {
  return code == Code::USED || code == Code::TOO_FEW_SLICES || code == Code::NOT_SELECTED ||
         code == Code::TILTED || code == Code::GAPS;
}

/// Decode all planes of a series in parallel and hand each to `take(plane index, frame)`, which is
/// called from several threads and returns the frame's statistics. Returns the first refusal in the
/// order of tasks, else what the words of all planes of a CT volume contradict. `hashes`, or null,
/// gets the SHA-256 of every file that planes are read from; `keep` as in ReadOptions.
template <class Take>
std::optional<Rejection> decode_planes(const Scan& scan, const Series& series,
                                       std::vector<StoredStatistics>& statistics,
                                       std::map<std::size_t, Digest>* hashes, bool keep,
                                       const Take& take) {
  const std::vector<Task> tasks = plan(series);
  std::vector<Digest*> hash_of(tasks.size(), nullptr);  // a file is hashed with its first task
  for (std::size_t t = 0; hashes != nullptr && t < tasks.size(); ++t)
    if (const auto [at, fresh] = hashes->try_emplace(tasks[t].file); fresh)
      hash_of[t] = &at->second;
  const auto decoder = dicom::make_frame_decoder();
  std::vector<std::optional<Rejection>> refusals(tasks.size());
  std::vector<dicom::WordEvidence> words(tasks.size());
  statistics.assign(series.planes.size(), {});
  // Isolated: a thread that waits here must not start another case and its memory.
  tbb::this_task_arena::isolate([&] {
    wsp::parallel_loop(std::size_t{0}, tasks.size(), [&](std::size_t t) {
      const Task& task = tasks[t];
      const FileEntry& file = scan.files[task.file];
      auto decoded = decoder->decode(scan.root / file.relative_path, task.frames,
                                     {file.native.get(), hash_of[t], file.kept.get(), keep});
      if (!decoded) {
        refusals[t] = decoded.rejection();
        return;
      }
      for (std::size_t i = 0; i < task.planes.size(); ++i) {
        const DecodedFrame& frame = decoded.value()[i];
        if (frame.columns != series.columns || frame.rows != series.rows ||
            !rescale_is_sane(frame)) {
          refusals[t] = refuse_read(Code::BAD_HEADER, "matrix or rescale values changed or absurd");
          return;
        }
        words[t].add(frame.words);
        statistics[task.planes[i]] = take(task.planes[i], frame);
      }
    });
  });
  for (auto& refusal : refusals) {
    if (refusal) return refusal;
  }
  dicom::WordEvidence all;
  for (const auto& one : words) all.add(one);
  if (std::string found = all.contradiction(); is_readable(series.code) && !found.empty())
    return refuse_read(Code::PIXELS_CONTRADICT, std::move(found));
  return std::nullopt;
}

StoredStatistics total(const std::vector<StoredStatistics>& planes) {
  StoredStatistics all = planes.front();
  for (std::size_t k = 1; k < planes.size(); ++k) {
    all.minimum = std::min(all.minimum, planes[k].minimum);
    all.maximum = std::max(all.maximum, planes[k].maximum);
    all.sum += planes[k].sum;
    all.padding_voxels += planes[k].padding_voxels;
  }
  return all;
}

/// How rows and columns of the file become x to the left and y to the posterior.
struct InPlane {
  bool transpose = false;  ///< canonical x runs along DICOM's column axis
  bool flip_x = false, flip_y = false;
  Geometry geometry;  ///< size, spacing and axes; one slice
};

InPlane canonical_plane(const Series& series) {
  InPlane p;
  p.transpose = std::abs(series.row_axis[0]) < std::abs(series.column_axis[0]);
  Vec3 x = p.transpose ? series.column_axis : series.row_axis;
  Vec3 y = p.transpose ? series.row_axis : series.column_axis;
  p.flip_x = x[0] < 0;
  p.flip_y = y[1] < 0;
  if (p.flip_x) x = -1.0 * x;
  if (p.flip_y) y = -1.0 * y;
  Geometry& g = p.geometry;
  g.size = {p.transpose ? series.rows : series.columns, p.transpose ? series.columns : series.rows,
            1};
  g.spacing_mm = {p.transpose ? series.pixel_y_mm : series.pixel_x_mm,
                  p.transpose ? series.pixel_x_mm : series.pixel_y_mm, 1};
  g.axis = {x, y, series.normal};
  return p;
}

Vec3 canonical_origin(const InPlane& p, const Vec3& position) {
  Vec3 origin = position;
  const Geometry& g = p.geometry;
  if (p.flip_x)
    origin = origin - (static_cast<double>(g.size[0] - 1) * g.spacing_mm[0]) * g.axis[0];
  if (p.flip_y)
    origin = origin - (static_cast<double>(g.size[1] - 1) * g.spacing_mm[1]) * g.axis[1];
  return origin;
}

/// Put an image in the file's order where it belongs.
void place(const std::int16_t* hu, std::int64_t columns, const InPlane& p, std::int16_t* out) {
  const std::int64_t nx = p.geometry.size[0];
  const std::int64_t ny = p.geometry.size[1];
  for (std::int64_t y = 0; y < ny; ++y) {
    const std::int64_t b = p.flip_y ? ny - 1 - y : y;
    for (std::int64_t x = 0; x < nx; ++x) {
      const std::int64_t a = p.flip_x ? nx - 1 - x : x;
      out[y * nx + x] = hu[p.transpose ? a * columns + b : b * columns + a];
    }
  }
}

Outcome<LoadedVolume> read_image(const Scan& scan, const Series& series,
                                 const ReadOptions& options) {
  auto image = read_image_volume(scan.root / series.relative_path);
  if (!image) return image.rejection();
  LoadedVolume loaded;
  loaded.volume = std::move(image.value().volume);
  loaded.stored = {image.value().minimum, image.value().maximum, image.value().sum, 0,
                   image.value().whole};
  loaded.counts = count_places(loaded.volume);
  loaded.files = source_files(series);
  for (std::size_t i = 0; options.hash_files && i < loaded.files.size(); ++i)
    loaded.file_hashes.push_back(
        sha256_file(scan.root / scan.files[loaded.files[i]].relative_path));
  loaded.sop_instance_uids.assign(static_cast<std::size_t>(loaded.volume.geometry.size[2]), "");
  return loaded;
}

Outcome<LoadedVolume> read_dicom(const Scan& scan, const Series& series,
                                 const ReadOptions& options) {
  const bool tilted = dicom::is_tilted(series);
  if (options.reject_tilt && tilted)
    return refuse_read(Code::TILTED, std::to_string(series.tilt_deg) + " degrees");
  if (options.reject_gaps && !series.missing_after.empty()) {
    return refuse_read(Code::GAPS, std::to_string(series.missing_after.size()) + " gaps");
  }
  const InPlane in_plane = canonical_plane(series);
  const auto slices = static_cast<std::int64_t>(series.planes.size());
  LoadedVolume loaded;
  Volume& volume = loaded.volume;
  volume.geometry = in_plane.geometry;
  volume.geometry.size[2] = slices;
  volume.geometry.spacing_mm[2] = series.spacing_mm > 0 ? series.spacing_mm : 1;
  volume.hu =
      spare_vectors<std::int16_t>().take(static_cast<std::size_t>(volume.geometry.voxels()));
  for (std::int64_t k = 0; k < slices; ++k) {
    const Plane& plane = series.planes[static_cast<std::size_t>(k)];
    volume.slice_origin_mm.push_back(canonical_origin(in_plane, plane.position_mm));
    volume.z_mm.push_back(plane.z_mm);
    volume.source_index.push_back(static_cast<std::int32_t>(k));
    loaded.sop_instance_uids.push_back(tilted ? "" : plane.sop_instance_uid);
  }
  volume.geometry.origin_mm = volume.slice_origin_mm.front();

  std::vector<StoredStatistics> statistics;
  std::vector<std::uint8_t> repaired(series.planes.size());
  std::map<std::size_t, Digest> hashes;
  tbb::enumerable_thread_specific<PlaceCounts> counts;
  const bool as_it_is = !in_plane.transpose && !in_plane.flip_x && !in_plane.flip_y;
  auto refusal = decode_planes(
      scan, series, statistics, options.hash_files ? &hashes : nullptr, options.keep,
      [&](std::size_t k, const DecodedFrame& frame) {
        repaired[k] = frame.sign_repaired ? 1 : 0;
        const auto z = static_cast<std::int64_t>(k);
        std::int16_t* const slice = volume.hu.data() + z * volume.geometry.slice_voxels();
        std::vector<std::int16_t> turned(as_it_is ? 0 : volume.slice(z).size());
        const auto measured = dicom::rescale_frame(frame, as_it_is ? slice : turned.data());
        if (!as_it_is) place(turned.data(), frame.columns, in_plane, slice);
        // While it is in the cache.
        if (!tilted)
          counts.local().add_slice(volume.slice(z), volume.geometry.size[0],
                                   volume.geometry.size[1]);
        return measured;
      });
  if (refusal) return *refusal;
  for (const PlaceCounts& part : counts) loaded.counts.add(part);
  loaded.stored = total(statistics);
  volume.flags = series.flags;
  if (loaded.stored.padding_voxels > 0) volume.flags.push_back(Code::PADDING);
  if (std::find(repaired.begin(), repaired.end(), 1) != repaired.end())
    volume.flags.push_back(Code::SIGN_REPAIRED);
  if (tilted) {
    dicom::resample_tilt(volume);
    volume.flags.push_back(Code::TILT_RESAMPLED);
    loaded.counts = count_places(volume);
  }
  loaded.files = source_files(series);
  loaded.duplicate_files = series.duplicate_files;
  for (std::size_t i = 0; options.hash_files && i < loaded.files.size(); ++i)
    loaded.file_hashes.push_back(hashes.at(loaded.files[i]));
  return loaded;
}

}  // namespace

std::vector<std::size_t> source_files(const Series& series) {
  std::vector<std::size_t> files;
  std::set<std::size_t> seen;
  for (const Plane& plane : series.planes) {
    if (seen.insert(plane.file).second) files.push_back(plane.file);
  }
  files.insert(files.end(), series.data_files.begin(), series.data_files.end());
  return files;
}

Outcome<LoadedVolume> read_series(const Scan& scan, const Series& series,
                                  const ReadOptions& options) {
  initialise_medical_io();
  if (!is_readable(series.code)) return refuse_read(series.code, series.detail);
  if (series.planes.empty()) return refuse_read(Code::TOO_FEW_SLICES, "no slice");
  try {
    auto loaded =
        series.is_dicom ? read_dicom(scan, series, options) : read_image(scan, series, options);
    if (loaded) {
      // The scan saw a sample of the slices.
      if (std::string found = dicom::find_alternation(loaded.value().volume); !found.empty())
        return refuse_read(Code::INTERLEAVED, std::move(found));
    }
    return loaded;
  } catch (const Error&) {
    return refuse_read(Code::UNREADABLE, "a file changed or vanished since the scan");
  } catch (const std::bad_alloc&) {
    return refuse_read(Code::TOO_LARGE, "the volume does not fit in memory");
  } catch (const std::length_error&) {
    return refuse_read(Code::TOO_LARGE, "the volume does not fit in memory");
  }
}

Outcome<StoredStatistics> measure_series(const Scan& scan, const Series& series) {
  initialise_medical_io();
  if (series.planes.empty()) return refuse_read(Code::TOO_FEW_SLICES, "no slice");
  if (!series.is_dicom) {
    const auto image = read_image_volume(scan.root / series.relative_path);
    if (!image) return image.rejection();
    return StoredStatistics{image.value().minimum, image.value().maximum, image.value().sum, 0,
                            image.value().whole};
  }
  std::vector<StoredStatistics> statistics;
  auto refusal = decode_planes(
      scan, series, statistics, nullptr, false, [](std::size_t, const DecodedFrame& frame) {
        std::vector<std::int16_t> hu(static_cast<std::size_t>(frame.columns * frame.rows));
        return dicom::rescale_frame(frame, hu.data());
      });
  if (refusal) return *refusal;
  return total(statistics);
}

}  // namespace wsp
