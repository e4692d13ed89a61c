#include "io/medical/series_interleaved.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <span>

#include "io/core/vector_clones.hpp"
#include "io/medical/codec.hpp"
#include "io/medical/interleave.hpp"

namespace wsp::dicom {
namespace {

WSP_VECTOR_CLONES("avx2", "default")
void to_hu(const std::int32_t* stored, std::size_t n, float slope, float intercept,
           std::int16_t* hu) {
  for (std::size_t i = 0; i < n; ++i) {
    const float value = static_cast<float>(stored[i]) * slope + intercept;
    hu[i] = static_cast<std::int16_t>(std::min(std::max(value, -32768.F), 32767.F));
  }
}

/// HU of planes as their files and headers give them; empty when one cannot be decoded.
std::vector<std::vector<std::int16_t>> decode_hu(const std::filesystem::path& root,
                                                 const std::vector<FileEntry>& files,
                                                 std::span<const Plane> planes) {
  std::map<std::size_t, std::vector<std::size_t>> by_file;  // each is parsed once
  for (std::size_t i = 0; i < planes.size(); ++i) by_file[planes[i].file].push_back(i);
  std::vector<std::vector<std::int16_t>> hu(planes.size());
  const auto decoder = make_frame_decoder();
  for (const auto& [file, members] : by_file) {
    std::vector<std::int32_t> frames;
    for (const std::size_t i : members) frames.push_back(planes[i].frame);
    const auto decoded =
        decoder->decode(root / files[file].relative_path, frames,
                        {files[file].native.get(), nullptr, files[file].kept.get(), true});
    if (!decoded) return {};
    for (std::size_t k = 0; k < members.size(); ++k) {
      const DecodedFrame& image = decoded.value()[k];
      const std::vector<std::int32_t> stored = image.values();
      hu[members[k]].resize(stored.size());
      to_hu(stored.data(), stored.size(), image.slope, image.intercept, hu[members[k]].data());
    }
  }
  return hu;
}

}  // namespace

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string sample_alternation(const std::filesystem::path& root,
                               const std::vector<FileEntry>& files, const Series& series) {
  constexpr std::size_t kSample = kAlternationSlices + 4;
  const std::span<const Plane> stack(series.planes);
  if (stack.size() < kAlternationSlices) return {};
  const std::size_t count = std::min(kSample, stack.size());
  const auto hu = decode_hu(root, files, stack.subspan((stack.size() - count) / 2, count));
  std::vector<std::span<const std::int16_t>> slices;
  for (const auto& slice : hu) {
    if (slice.empty() || slice.size() != hu.front().size()) return {};
    slices.emplace_back(slice);
  }
  return find_alternation(slices, series.spacing_mm);
}

void refuse_interleaved(const std::filesystem::path& root, const std::vector<FileEntry>& files,
                        Series& series) {
  if (series.code != Code::USED) return;
  std::vector<double> z;
  for (const Plane& plane : series.planes) z.push_back(plane.z_mm);
  std::string found;
  for (const Grid& grid : woven_grids(z, series.thickness_mm)) {
    found += (found.empty() ? "regular grids lie in each other: " : " and ") +
             std::to_string(grid.slices) + " slices at " + short_number(grid.spacing_mm) + " mm";
  }
  if (found.empty()) found = sample_alternation(root, files, series);
  if (found.empty()) return;
  series.code = Code::INTERLEAVED;
  series.detail = found + (series.detail.empty() ? "" : "; " + series.detail);
}

}  // namespace wsp::dicom
