#include <tbb/task_arena.h>

#include <algorithm>
#include <set>

#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "io/core/progress.hpp"
#include "io/medical/value_proof.hpp"
#include "io/medical/volume_size.hpp"

namespace wsp {
namespace {

constexpr std::size_t kPlanes = 12;  // of a DICOM series
constexpr int kImagesAtOnce = 4;     // an image file is decoded whole

/// Some of the planes, from foot to head, as a series of its own.
Series sample_of(const Series& series) {
  Series sample = series;
  const std::size_t n = series.planes.size();
  if (!series.is_dicom || n <= kPlanes) return sample;
  sample.planes.clear();
  for (std::size_t i = 0; i < kPlanes; ++i)
    sample.planes.push_back(series.planes[(2 * i + 1) * n / (2 * kPlanes)]);
  return sample;
}

ValueVerdict judge_sample(const Scan& scan, const Series& series) {
  const Series sample = sample_of(series);
  // No gantry tilts so far; a grid for it may not fit in memory. Who reads the series judges it.
  constexpr std::uint64_t kWidest = 8;
  if (volume_voxels(sample) > kWidest * static_cast<std::uint64_t>(series.columns * series.rows) *
                                  std::max<std::uint64_t>(1, sample.planes.size()))
    return {};
  const auto loaded = read_series(scan, sample, {});
  if (loaded)
    return judge_values(loaded.value().volume, loaded.value().stored, loaded.value().counts);
  // What cannot be decoded here cannot be in the whole series. But planes that lie far apart may
  // differ as those of two acquisitions do; an image file is not sampled.
  const Rejection& why = loaded.rejection();
  if (series.is_dicom && why.code == Code::INTERLEAVED) return {};
  return {why.code, why.detail};
}

}  // namespace

void prove_values(Scan& scan, const ScanOptions& options) {
  std::vector<std::size_t> dicom, images;
  for (std::size_t s = 0; s < scan.series.size(); ++s)
    if (scan.series[s].code == Code::USED) (scan.series[s].is_dicom ? dicom : images).push_back(s);
  std::vector<ValueVerdict> verdicts(scan.series.size());
  Progress progress("looking at values", dicom.size() + images.size(), "series");
  const auto judge = [&](std::size_t s) {
    stop_if_interrupted("nothing was written; run the same command again");
    verdicts[s] = judge_sample(scan, scan.series[s]);
    progress.advance();
  };
  wsp::parallel_loop(std::size_t{0}, dicom.size(), [&](std::size_t i) { judge(dicom[i]); });
  tbb::task_arena few(std::min(kImagesAtOnce, tbb::this_task_arena::max_concurrency()));
  few.execute([&] {
    wsp::parallel_loop(std::size_t{0}, images.size(), [&](std::size_t i) { judge(images[i]); });
  });
  progress.finish();

  std::set<std::size_t> used;
  for (std::size_t s = 0; s < scan.series.size(); ++s) {
    Series& series = scan.series[s];
    const ValueVerdict& verdict = verdicts[s];
    if (verdict.code == Code::NOT_HU && options.trust_hu) {
      series.flags.push_back(Code::HU_OVERRULED);
    } else if (verdict.code != Code::USED) {
      series.code = verdict.code;
      series.detail = verdict.detail;
    }
    if (series.code != Code::USED) continue;
    for (const Plane& plane : series.planes) used.insert(plane.file);
  }
  for (std::size_t s = 0; s < scan.series.size(); ++s) {
    const Series& series = scan.series[s];
    if (verdicts[s].code == Code::USED || series.code == Code::USED) continue;
    for (const Plane& plane : series.planes) {
      if (used.contains(plane.file)) continue;
      scan.files[plane.file].code = series.code;
      scan.files[plane.file].detail = series.detail;
    }
  }
}

}  // namespace wsp
