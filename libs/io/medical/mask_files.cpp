#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "io/core/large_buffer.hpp"
#include "io/core/vector_clones.hpp"
#include "io/medical/dicom_mask.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// A liver that ends in full width where its own file ends was cut there. Where the volume ends too
// it is truncated like the volume; further inside, the file holds a part or lies elsewhere than its
// affine says. A file cropped round a whole liver ends with the liver's tips and is right.
// `liver` holds 1 where the image's voxels are the liver.
Rejection judge_ends(const LabelImage& image, const std::vector<std::uint8_t>& liver,
                     const Volume& volume) {
  const auto [nx, ny, nz] = image.geometry.size;
  std::vector<std::int64_t> area;
  for (std::int64_t z = 0; z < nz; ++z) {
    const auto begin = liver.begin() + z * nx * ny;
    area.push_back(std::count(begin, begin + nx * ny, std::uint8_t{1}));
  }
  const std::int64_t widest = *std::max_element(area.begin(), area.end());
  const Geometry& g = volume.geometry;
  const Vec3 perpendicular = cross(g.axis[0], g.axis[1]);
  Rejection verdict{"", "mask", Code::USED, ""};
  for (const bool top : {false, true}) {
    const std::int64_t z = top ? nz - 1 : 0;
    const std::int64_t here = area[static_cast<std::size_t>(z)];
    if (here == 0 || 4 * here < widest) continue;
    Vec3 centre{0, 0, static_cast<double>(z)};
    for (std::int64_t i = 0; i < nx * ny; ++i)
      if (liver[static_cast<std::size_t>(z * nx * ny + i)] != 0) {
        centre[0] += static_cast<double>(i % nx) / static_cast<double>(here);
        centre[1] += static_cast<double>(i / nx) / static_cast<double>(here);
      }
    const double end = dot(image.geometry.world(centre), perpendicular) / norm(perpendicular);
    const double beyond = top ? volume.z_mm.back() - end : end - volume.z_mm.front();
    if (beyond > 1.5 * std::max(g.spacing_mm[2], image.geometry.spacing_mm[2]))
      return {"", "mask", Code::MASK_MISMATCH,
              "the liver is cut by the end of its file, " + std::to_string(std::llround(beyond)) +
                  " mm inside the volume: a part of a mask, or the affine of another grid"};
    if (beyond >= 0) verdict.code = Code::LIVER_TRUNCATED;
  }
  return verdict;
}

template <class Numbers>
std::string listed(const Numbers& numbers) {
  constexpr std::size_t kMost = 10;
  std::string text;
  std::size_t count = 0;
  for (const auto number : numbers) {
    if (count == kMost) return text + ", ...";
    text += (count++ > 0 ? ", " : "") + std::to_string(number);
  }
  return text;
}

// Most often the label of another convention: TotalSegmentator's liver is 5.
std::string no_liver_among(const std::vector<std::int32_t>& values,
                           const std::vector<std::int64_t>& wanted) {
  std::set<std::int32_t> found(values.begin(), values.end());
  found.erase(0);
  if (found.empty()) return "every voxel of the mask file is 0";
  return std::string("the mask file holds the ") + (found.size() == 1 ? "value " : "values ") +
         listed(found) + ", none of --liver-label " + listed(wanted);
}

// "Segment_1" and no name at all say nothing of what was drawn.
bool says_nothing(std::string name) {
  std::erase_if(name, [](char c) { return std::isalpha(static_cast<unsigned char>(c)) == 0; });
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name.empty() || name == "segment";
}

// The values that are the liver. Where the file names its segments, the name decides, as in a SEG;
// --liver-label is the user's own word for files that say nothing, and may not contradict it.
Outcome<std::vector<std::int64_t>> liver_values(const LabelImage& image,
                                                const MaskOptions& options) {
  const std::vector<std::int64_t>& wanted = options.liver_labels;
  if (image.segments.empty()) return wanted;
  const auto is_wanted = [&](std::int64_t value) {
    return std::find(wanted.begin(), wanted.end(), value) != wanted.end();
  };
  std::vector<dicom::LiverCandidate> candidates;
  bool unnamed = false;
  for (const LabelImage::Segment& segment : image.segments) {
    candidates.emplace_back();
    candidates.back().number = segment.value;
    candidates.back().names = {segment.name};
    unnamed = unnamed || (is_wanted(segment.value) && says_nothing(segment.name));
  }
  const bool chosen = wanted != MaskOptions().liver_labels;
  const auto named = dicom::choose_liver(candidates, options.liver_roi, options.organ.name);
  if (!named && (chosen || (unnamed && named.rejection().code == Code::NO_LIVER_SEGMENT)))
    return wanted;
  if (!named) return named.rejection();
  if (chosen && !is_wanted(named.value()))
    return Rejection{"", "mask", Code::MASK_AMBIGUOUS,
                     "the segment named " + options.organ.name + " has the value " +
                         std::to_string(named.value()) + ", --liver-label says " + listed(wanted)};
  return chosen ? wanted : std::vector<std::int64_t>{named.value()};
}

// A CT under the name of a mask holds the liver's number too, in single voxels.
std::string no_label_map(const std::vector<std::int32_t>& values) {
  constexpr std::size_t kMost = 512;  // the largest atlases have some 200 labels
  std::set<std::int32_t> found;
  std::int64_t last = std::numeric_limits<std::int64_t>::max();  // no value's
  for (const std::int32_t value : values) {
    if (value == last) continue;
    last = value;
    found.insert(value);
    if (found.size() > kMost)
      return "more than " + std::to_string(kMost) + " different values from " +
             std::to_string(*found.begin()) + " to " + std::to_string(*found.rbegin()) +
             ": an image, not a map of labels";
  }
  return "";
}

WSP_VECTOR_CLONES("avx2", "default")
void mark(const std::int32_t* values, std::size_t n, std::int32_t label, std::uint8_t* marks) {
  for (std::size_t i = 0; i < n; ++i) marks[i] |= values[i] == label ? 1 : 0;
}

WSP_VECTOR_CLONES("avx2", "default")
void keep_only(std::uint8_t* values, std::size_t n, std::uint8_t label) {
  for (std::size_t i = 0; i < n; ++i) values[i] = values[i] == label ? 1 : 0;
}

// 1 where an image holds one of the labels; its bytes are turned into that.
std::vector<std::uint8_t> marked(LabelImage& image, const std::vector<std::int64_t>& labels) {
  if (!image.bytes.empty()) {
    if (labels.size() == 1 && std::in_range<std::uint8_t>(labels.front())) {
      keep_only(image.bytes.data(), image.bytes.size(), static_cast<std::uint8_t>(labels.front()));
    } else {
      std::array<std::uint8_t, 256> is_liver{};
      for (const std::int64_t label : labels)
        if (std::in_range<std::uint8_t>(label)) is_liver[static_cast<std::size_t>(label)] = 1;
      for (std::uint8_t& value : image.bytes) value = is_liver[value];
    }
    return std::move(image.bytes);
  }
  std::vector<std::uint8_t> marks;
  resize_large(marks, image.values.size());
  for (const std::int64_t label : labels)
    if (std::in_range<std::int32_t>(label))
      mark(image.values.data(), marks.size(), static_cast<std::int32_t>(label), marks.data());
  return marks;
}

}  // namespace

Outcome<LiverMask> read_mask_file(const fs::path& path, const LoadedVolume& loaded,
                                  const MaskOptions& options) {
  auto read = read_labels(path);
  if (!read && (read.rejection().code == Code::DECODER_CRASHED ||
                read.rejection().code == Code::DECODER_TIMEOUT))
    return read.rejection();
  if (!read)
    return Rejection{
        "", "mask", Code::MASK_UNREADABLE,
        read.rejection().code == Code::MASK_UNREADABLE
            ? read.rejection().detail
            : std::string(to_string(read.rejection().code)) + " " + read.rejection().detail};
  LabelImage image = std::move(read).value();
  if (const std::string why = no_label_map(image.values); !why.empty())
    return Rejection{"", "mask", Code::MASK_UNREADABLE, why};
  const Volume& volume = loaded.volume;
  const Geometry& g = volume.geometry;
  const auto labels = liver_values(image, options);
  if (!labels) return labels.rejection();
  std::vector<std::uint8_t> liver = marked(image, labels.value());
  if (std::memchr(liver.data(), 1, liver.size()) == nullptr) {
    const auto again = read_label_image(path);  // for what it holds instead
    return Rejection{"", "mask", Code::NO_LIVER,
                     no_liver_among(again ? again.value().values : image.values, labels.value())};
  }
  LiverMask mask;
  mask.geometry = g;
  mask.flags = image.flags;
  // Every slice lies where its own origin says: spacing may be uneven.
  bool same = image.geometry.size == g.size &&
              same_grid({g.size,
                         {g.spacing_mm[0], g.spacing_mm[1], image.geometry.spacing_mm[2]},
                         g.origin_mm,
                         g.axis},
                        image.geometry, 0.05);
  for (std::int64_t k = 0; same && k < g.size[2]; ++k)
    same = norm(volume.slice_origin_mm[static_cast<std::size_t>(k)] -
                image.geometry.world({0, 0, static_cast<double>(k)})) < 0.05;
  if (same) {
    mask.voxels = std::move(liver);
    return mask;
  }
  mask.voxels.assign(static_cast<std::size_t>(g.voxels()), 0);
  const auto [nx, ny, nz] = image.geometry.size;
  std::int64_t hits = 0;
  const Vec3 dx = g.spacing_mm[0] * g.axis[0];
  const Vec3 dy = g.spacing_mm[1] * g.axis[1];
  for (std::int64_t z = 0; z < g.size[2]; ++z) {
    const Vec3& start = volume.slice_origin_mm[static_cast<std::size_t>(z)];
    const Vec3 i0 = image.geometry.index(start);
    const Vec3 ix = image.geometry.index(start + dx) - i0;
    const Vec3 iy = image.geometry.index(start + dy) - i0;
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x) {
        const Vec3 at = i0 + static_cast<double>(x) * ix + static_cast<double>(y) * iy;
        // A voxel reaches half a voxel to each side; its upper border, as far as float32 affines
        // tell it, belongs to the next.
        const auto cell = [&at](std::size_t k) {
          return static_cast<std::int64_t>(std::floor(at[k] + 0.5 + 1e-4));
        };
        const std::int64_t a = cell(0), b = cell(1), c = cell(2);
        if (a < 0 || b < 0 || c < 0 || a >= nx || b >= ny || c >= nz) continue;
        if (liver[static_cast<std::size_t>((c * ny + b) * nx + a)] == 0) continue;
        mask.voxels[static_cast<std::size_t>((z * g.size[1] + y) * g.size[0] + x)] = 1;
        ++hits;
      }
  }
  if (hits == 0)
    return Rejection{"", "mask", Code::MASK_MISMATCH,
                     "the mask lies outside the volume: its affine belongs to another grid"};
  mask.flags.push_back(Code::MASK_RESAMPLED);
  const auto ended = judge_ends(image, liver, volume);
  if (ended.code == Code::MASK_MISMATCH) return ended;
  if (ended.code == Code::LIVER_TRUNCATED) mask.flags.push_back(ended.code);
  return mask;
}

}  // namespace wsp
