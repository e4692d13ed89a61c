#include <tbb/task_arena.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "io/core/progress.hpp"
#include "io/medical/value_proof.hpp"

namespace wsp {
namespace {

constexpr std::size_t kPlanes = 12;    // of a DICOM series
constexpr int kImagesAtOnce = 4;       // an image file is decoded whole
constexpr double kBytesPerVoxel = 14;  // stored values, words, marks, HU, of some planes at once

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

std::string mebibytes(double bytes) {
  return std::to_string(static_cast<std::int64_t>(std::min(bytes, 1e18) / (1 << 20))) + " MiB";
}

ValueVerdict judge_sample(const Scan& scan, const Series& sample) {
  ReadOptions how;
  how.keep = true;
  auto loaded = read_series(scan, sample, how);
  if (!loaded && may_be_the_disk(loaded.rejection().code)) loaded = read_series(scan, sample, how);
  if (loaded)
    return judge_values(loaded.value().volume, loaded.value().stored, loaded.value().counts);
  // What cannot be decoded here cannot be in the whole series. But planes that lie far apart may
  // differ as those of two acquisitions do; an image file is not sampled.
  const Rejection& why = loaded.rejection();
  if (sample.is_dicom && why.code == Code::INTERLEAVED) return {};
  return {why.code, why.detail};
}

/// Call `judge` with each of the samples that fit in memory, as many at once as fit.
template <class Judge>
void judge_all(const std::vector<std::pair<std::size_t, double>>& samples, double memory_bytes,
               int most_at_once, const Judge& judge) {
  double largest = 1;
  for (const auto& [series, bytes] : samples) largest = std::max(largest, bytes);
  const int at_once = static_cast<int>(std::clamp<double>(
      memory_bytes / largest, 1, std::min(most_at_once, tbb::this_task_arena::max_concurrency())));
  tbb::task_arena arena(at_once);
  arena.execute([&] {
    wsp::parallel_loop(std::size_t{0}, samples.size(),
                       [&](std::size_t i) { judge(samples[i].first); });
  });
}

}  // namespace

void prove_values(Scan& scan, const ScanOptions& options) {
  std::vector<std::pair<std::size_t, double>> dicom, images;  // series, bytes
  double largest = 0;
  std::vector<ValueVerdict> verdicts(scan.series.size());
  for (std::size_t s = 0; s < scan.series.size(); ++s) {
    if (scan.series[s].code != Code::USED) continue;
    const double bytes = kBytesPerVoxel * volume_voxels(sample_of(scan.series[s]));
    if (bytes > options.memory_bytes)
      verdicts[s] = {Code::TOO_LARGE, "its values alone take " + mebibytes(bytes)};
    else
      (scan.series[s].is_dicom ? dicom : images).emplace_back(s, bytes);
    if (bytes <= options.memory_bytes) largest = std::max(largest, bytes);
  }
  double memory = options.memory_bytes - static_cast<double>(options.kept_bytes);
  if (largest > memory) {
    keep_images_of(scan, {});
    memory = options.memory_bytes;
  }
  Progress progress("looking at values", dicom.size() + images.size(), "series");
  const auto judge = [&](std::size_t s) {
    stop_if_interrupted("nothing was written; run the same command again");
    verdicts[s] = judge_sample(scan, sample_of(scan.series[s]));
    progress.advance();
  };
  judge_all(dicom, memory, std::numeric_limits<int>::max(), judge);
  judge_all(images, memory, kImagesAtOnce, judge);
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
