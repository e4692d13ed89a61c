#include "io/medical/series_group.hpp"

#include <tbb/task_arena.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "io/core/hash.hpp"
#include "io/core/parallel.hpp"
#include "io/medical/codec.hpp"
#include "io/medical/interleave.hpp"
#include "io/medical/series_interleaved.hpp"
#include "io/medical/series_split.hpp"

namespace wsp::dicom {
namespace {

/// The bucket of a plane: one series of one study of one patient, images of one code. Without a
/// series UID the directory stands for it.
using Bucket = std::tuple<std::string, std::string, std::string, std::string, Code>;

Bucket bucket_of(const Header& header, const FileEntry& entry) {
  const std::string place =
      header.series_uid.empty()
          ? std::filesystem::path(entry.relative_path).parent_path().generic_string()
          : "";
  return {header.series_uid, header.study_uid, header.patient_id, place, header.code};
}

bool same_geometry(const PlaneRef& a, const PlaneRef& b) {
  const auto near = [](double p, double q) { return std::abs(p - q) <= 1e-4 * std::max(p, q); };
  return a.header->rows == b.header->rows && a.header->columns == b.header->columns &&
         near(a.frame->pixel_x_mm, b.frame->pixel_x_mm) &&
         near(a.frame->pixel_y_mm, b.frame->pixel_y_mm) &&
         norm(a.frame->row_axis - b.frame->row_axis) < 1e-3 &&
         norm(a.frame->column_axis - b.frame->column_axis) < 1e-3;
}

/// Split by matrix, pixel spacing and orientation.
std::vector<Planes> split_by_geometry(const Planes& planes) {
  std::vector<Planes> clusters;
  for (const PlaneRef& plane : planes) {
    auto match = std::find_if(clusters.begin(), clusters.end(), [&](const Planes& cluster) {
      return same_geometry(cluster.front(), plane);
    });
    if (match == clusters.end()) match = clusters.insert(clusters.end(), Planes{});
    match->push_back(plane);
  }
  return clusters;
}

/// Hash of what an image shows: the same slice in another transfer syntax has the same hash.
std::uint64_t hash_pixels(const std::filesystem::path& root, const FileEntry& entry,
                          const PlaneRef& plane) {
  const auto decoder = make_frame_decoder();
  const std::array<std::int32_t, 1> frames{plane.frame->frame};
  const auto decoded = decoder->decode(root / entry.relative_path, frames,
                                       {entry.native.get(), nullptr, entry.kept.get(), true});
  if (!decoded) return 0;
  const DecodedFrame& image = decoded.value().front();
  const std::array<float, 2> rescale{image.slope, image.intercept};
  const std::uint64_t seed = xxh3_64(bytes_of(std::span<const float>(rescale)));
  return xxh3_64(bytes_of(std::span<const std::int32_t>(image.values())), seed);
}

/// Drop planes that show the same pixels at the same place as an earlier one.
Planes drop_duplicates(const std::filesystem::path& root, const std::vector<FileEntry>& files,
                       const Planes& planes, std::set<std::size_t>& duplicates) {
  std::vector<Planes> runs = positions_of(planes);
  std::vector<PlaneRef*> colliding;
  for (Planes& run : runs) {
    if (run.size() < 2) continue;
    for (PlaneRef& plane : run) colliding.push_back(&plane);
  }
  tbb::this_task_arena::isolate([&] {
    wsp::parallel_loop(std::size_t{0}, colliding.size(), [&](std::size_t i) {
      colliding[i]->pixels = hash_pixels(root, files[colliding[i]->file], *colliding[i]);
    });
  });
  Planes kept;
  for (const Planes& run : runs) {
    Planes distinct;
    for (const PlaneRef& plane : run) {
      const bool seen = plane.pixels != 0 &&
                        std::any_of(distinct.begin(), distinct.end(), [&](const PlaneRef& d) {
                          return d.pixels == plane.pixels &&
                                 norm(d.frame->position - plane.frame->position) < kSamePositionMm;
                        });
      if (seen) {
        duplicates.insert(plane.file);
      } else {
        distinct.push_back(plane);
      }
    }
    kept.insert(kept.end(), distinct.begin(), distinct.end());
  }
  return kept;
}

/// Build the series' description from its planes; geometry is measured when positions are there.
Series describe(const Planes& planes, const std::vector<FileEntry>& files) {
  const PlaneRef& first =
      *std::min_element(planes.begin(), planes.end(), [](const PlaneRef& a, const PlaneRef& b) {
        return std::tie(a.file, a.frame->frame) < std::tie(b.file, b.frame->frame);
      });
  const Header& header = *first.header;
  Series series;
  series.patient_id = header.patient_id;
  series.issuer = header.issuer;
  series.patient_sex = header.patient_sex;
  series.patient_birth_date = header.patient_birth_date;
  series.accession = header.accession;
  series.study_uid = header.study_uid;
  series.series_uid = header.series_uid;
  series.frame_of_reference_uid = header.frame_of_reference_uid;
  series.relative_path = files[first.file].relative_path;
  series.columns = header.columns;
  series.rows = header.rows;
  series.row_axis = first.frame->row_axis;
  series.column_axis = first.frame->column_axis;
  series.pixel_x_mm = first.frame->pixel_x_mm;
  series.pixel_y_mm = first.frame->pixel_y_mm;
  series.thickness_mm = first.frame->thickness_mm;
  series.feet_first = header.patient_position.starts_with("FF");
  series.code = header.code;
  series.detail = header.detail;
  std::set<std::string> syntaxes;
  bool positions = true;
  for (const PlaneRef& plane : planes) {
    syntaxes.insert(plane.header->transfer_syntax);
    series.lossy = series.lossy || plane.header->lossy;
    positions = positions && plane.frame->has_position;
    Plane out;
    out.file = plane.file;
    out.frame = plane.frame->frame;
    out.position_mm = plane.frame->position;
    out.sop_instance_uid = plane.header->sop_instance_uid;
    series.planes.push_back(std::move(out));
  }
  for (const Code flag : {Code::SYNTAX_REPAIRED, Code::MONOENERGETIC}) {
    const auto has = [&](const PlaneRef& plane) {
      return std::count(plane.header->flags.begin(), plane.header->flags.end(), flag) > 0;
    };
    if (std::any_of(planes.begin(), planes.end(), has)) series.flags.push_back(flag);
  }
  for (const std::string& syntax : syntaxes) {
    series.transfer_syntax.append(series.transfer_syntax.empty() ? "" : "+").append(syntax);
  }
  if (positions) measure_geometry(series);
  return series;
}

void add_flags(Series& series) {
  const auto add = [&](bool condition, Code flag) {
    if (condition) series.flags.push_back(flag);
  };
  add(!series.missing_after.empty(), Code::GAP);
  add(series.irregular, Code::SPACING_IRREGULAR);
  add(series.planes.size() > 1 && series.thickness_mm > 1.01 * series.spacing_mm + 1e-3,
      Code::OVERLAPPING_SLICES);
  const bool aligned =
      std::max(std::abs(series.row_axis[0]), std::abs(series.row_axis[1])) > 0.9998 &&
      std::abs(series.normal[2]) > 0.9998;
  add(!aligned, Code::OBLIQUE);
  add(series.feet_first, Code::FEET_FIRST);
  add(series.lossy, Code::LOSSY_SOURCE);
}

/// Decide whether a measured series of original CT planes is a volume.
void judge(Series& series, bool collision, const ScanOptions& options) {
  const auto refuse = [&](Code code, std::string detail) {
    series.code = code;
    series.detail = std::move(detail);
  };
  const auto count = series.planes.size();
  if (collision) {
    refuse(Code::DUPLICATE_POSITION,
           "different images at one position among " + std::to_string(count));
  } else if (std::abs(series.normal[2]) < kAxialNormal) {
    refuse(Code::NOT_AXIAL, "normal z " + std::to_string(series.normal[2]));
  } else if (track_deviation_mm(series) > std::max(1.0, series.pixel_x_mm)) {
    refuse(Code::MIXED_GEOMETRY,
           "slice origins leave the line by " + std::to_string(track_deviation_mm(series)) + " mm");
  } else if (count < static_cast<std::size_t>(std::max(0, options.min_slices))) {
    refuse(Code::TOO_FEW_SLICES,
           std::to_string(count) + " slices, expected " + std::to_string(options.min_slices));
  } else if (options.reject_tilt && is_tilted(series)) {
    refuse(Code::TILTED, std::to_string(series.tilt_deg) + " degrees");
  } else if (options.reject_gaps && !series.missing_after.empty()) {
    refuse(Code::GAPS, std::to_string(series.missing_after.size()) + " gaps");
  }
}

ScoreInput score_input(const PlaneRef& plane) {
  const Header& header = *plane.header;
  return {header.description,
          header.kernel,
          header.manufacturer,
          header.contrast_agent,
          plane.frame->image_type,
          plane.frame->phase,
          header.acquisition_seconds,
          header.bolus_seconds,
          header.protocol,
          header.comments};
}

/// Refuse the planes whose header's fault no option overrules, and return the others: all of them
/// are refused with it unless each faulty plane lies where a sound one does, so that no series is
/// shortened in silence.
Planes refuse_faults(const Planes& planes, const std::vector<FileEntry>& files,
                     const ScanOptions& options, std::vector<Series>& out) {
  Planes faulty, sound;
  for (const PlaneRef& plane : planes) {
    const Code fault = plane.header->fault;
    const bool overruled =
        options.trust_hu && (fault == Code::RESCALE_MISSING || fault == Code::NOT_HU);
    (fault == Code::USED || overruled ? sound : faulty).push_back(plane);
  }
  if (faulty.empty()) return sound;
  const bool apart = std::all_of(faulty.begin(), faulty.end(), [&](const PlaneRef& plane) {
    return plane.frame->has_position &&
           std::any_of(sound.begin(), sound.end(), [&](const PlaneRef& other) {
             return same_geometry(plane, other) &&
                    norm(plane.frame->position - other.frame->position) < kSamePositionMm;
           });
  });
  const Header& first = *faulty.front().header;
  for (const Planes& cluster : split_by_geometry(apart ? faulty : planes)) {
    Series series = describe(cluster, files);
    series.code = first.fault;
    series.detail = first.fault_detail + " (" + std::to_string(faulty.size()) + " of " +
                    std::to_string(planes.size()) + " slices)";
    out.push_back(std::move(series));
  }
  return apart ? sound : Planes{};
}

/// Whether neighbours of a stack differ as slices of two acquisitions do, or may.
bool may_alternate(const std::filesystem::path& root, const std::vector<FileEntry>& files,
                   const Planes& planes) {
  const Series stack = describe(planes, files);
  return stack.planes.size() < kAlternationSlices ||
         !sample_alternation(root, files, stack).empty();
}

std::string describe_split(const std::vector<SplitReason>& reasons) {
  std::string text;
  for (const SplitReason& reason : reasons) {
    text += text.empty() ? "split by " : ", then by ";
    for (std::size_t i = 0; i < reason.attributes.size(); ++i)
      text += (i == 0 ? "" : ", ") + reason.attributes[i];
    text += ": ";
    for (std::size_t i = 0; i < reason.slices.size(); ++i)
      text += (i == 0 ? "" : " + ") + std::to_string(reason.slices[i]) + " at " +
              short_number(reason.spacing_mm[i]) + " mm";
  }
  return text;
}

/// Make one acquisition a series, usable or not.
Series make_series(const Acquisition& acquisition, const std::vector<FileEntry>& files,
                   const ScanOptions& options) {
  Series series = describe(acquisition.planes, files);
  judge(series, collides(acquisition.planes), options);
  add_flags(series);
  score_series(series, score_input(acquisition.planes.front()), options);
  series.split_by = acquisition.reasons;
  if (!series.split_by.empty()) {
    series.flags.push_back(Code::SERIES_SPLIT);
    if (!series.detail.empty()) series.detail += "; ";
    series.detail += describe_split(series.split_by);
  }
  return series;
}

/// Split one person's bucket of original CT planes into volumes.
void group_volumes(const std::filesystem::path& root, const Acquisition& person,
                   std::vector<FileEntry>& files, const ScanOptions& options,
                   std::vector<Series>& out) {
  for (const Planes& cluster : split_by_geometry(person.planes)) {
    std::set<std::size_t> duplicates;
    const Planes distinct =
        collides(cluster) ? drop_duplicates(root, files, cluster, duplicates) : cluster;
    auto acquisitions = split_acquisitions(
        distinct, [&](const Planes& woven) { return may_alternate(root, files, woven); });
    for (Acquisition& acquisition : acquisitions) {
      acquisition.reasons.insert(acquisition.reasons.begin(), person.reasons.begin(),
                                 person.reasons.end());
      Series series = make_series(acquisition, files, options);
      if (std::any_of(acquisition.planes.begin(), acquisition.planes.end(),
                      [](const PlaneRef& p) { return p.header->fault != Code::USED; }))
        series.flags.push_back(Code::HU_OVERRULED);
      series.several_persons = !person.reasons.empty();
      // Of a split cluster the first part names them: each is named once.
      if (&acquisition == &acquisitions.front())
        series.duplicate_files.assign(duplicates.begin(), duplicates.end());
      out.push_back(std::move(series));
    }
    for (const std::size_t file : duplicates) files[file].code = Code::DUPLICATE_FILE;
  }
}

/// Unique stable keys: the series UID alone where it gives one usable volume, else with "#k".
void name_series(std::vector<Series>& series) {
  std::map<std::string, std::vector<Series*>> families;
  for (Series& s : series) {
    const std::string base = s.series_uid.empty() ? "file:" + s.relative_path : s.series_uid;
    families[base].push_back(&s);
  }
  for (auto& [base, members] : families) {
    std::stable_sort(members.begin(), members.end(), [](const Series* a, const Series* b) {
      const auto rank = [](const Series& s) {
        return std::make_tuple(s.code != Code::USED, -static_cast<std::int64_t>(s.planes.size()),
                               s.relative_path, s.planes.empty() ? 0 : s.planes.front().frame);
      };
      return rank(*a) < rank(*b);
    });
    const auto usable = std::count_if(members.begin(), members.end(),
                                      [](const Series* s) { return s->code == Code::USED; });
    const bool first_is_plain = usable == 1 || members.size() == 1;
    for (std::size_t k = 0; k < members.size(); ++k) {
      members[k]->key = base;
      if (k > 0 || !first_is_plain) members[k]->key.append("#").append(std::to_string(k + 1));
    }
  }
}

}  // namespace

std::vector<Series> group_series(const std::filesystem::path& root,
                                 const std::vector<Header>& headers, std::vector<FileEntry>& files,
                                 const ScanOptions& options) {
  std::map<Bucket, Planes> buckets;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (headers[i].kind != FileKind::image || headers[i].code == Code::BAD_HEADER) continue;
    Planes& bucket = buckets[bucket_of(headers[i], files[i])];
    for (const FrameHeader& frame : headers[i].planes)
      bucket.push_back({i, &headers[i], &frame, 0});
  }
  std::vector<Series> series;
  for (const auto& [bucket, planes] : buckets) {
    for (Acquisition& person : split_persons(planes)) {
      if (std::get<Code>(bucket) == Code::USED) {
        person.planes = refuse_faults(person.planes, files, options, series);
        group_volumes(root, person, files, options, series);
      } else {
        for (const Planes& cluster : split_by_geometry(person.planes))
          series.push_back(describe(cluster, files));
      }
    }
  }
  tbb::this_task_arena::isolate([&] {
    wsp::parallel_loop(std::size_t{0}, series.size(),
                       [&](std::size_t i) { refuse_interleaved(root, files, series[i]); });
  });
  name_series(series);
  std::sort(series.begin(), series.end(),
            [](const Series& a, const Series& b) { return a.key < b.key; });
  // A file whose frames went into several series is used when any of them is.
  std::set<std::size_t> used;
  for (const Series& s : series) {
    for (const Plane& plane : s.planes) {
      if (s.code == Code::USED) used.insert(plane.file);
    }
  }
  for (const Series& s : series) {
    for (const Plane& plane : s.planes) {
      files[plane.file].code = used.contains(plane.file) ? Code::USED : s.code;
    }
  }
  return series;
}

}  // namespace wsp::dicom
