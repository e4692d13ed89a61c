#include "io/shard/columns.hpp"

#include <algorithm>
#include <bit>
#include <cctype>
#include <set>

#include "io/shard/hdf5_file.hpp"

namespace wsp {
namespace {

constexpr int kMaxShards = 4096;
constexpr std::int64_t kMaxSide = 16384;  // two bytes of each pixel then still count in 32 bits

// Columns that a label may not be named like.
const std::set<std::string> kReserved{
    "case",         "subject",      "shard",       "row",          "split",          "source_index",
    "z_mm",         "depth_kept",   "depth_liver", "depth_volume", "liver_area_mm2", "image",
    "image_offset", "image_length", "image_raw",   "image_xxh3",   "mask",           "mask_offset",
    "mask_length",  "mask_raw",     "mask_xxh3",   "name",         "source_hash",    "flags",
    "first_row",    "slice_count",  "pixel_x_mm",  "pixel_y_mm",   "spacing_mm",     "liver_ml"};

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

template <class T, class Get>
std::vector<T> per_slice(const std::vector<CasePlaces>& cases, Get get) {
  std::vector<T> column;
  for (std::size_t c = 0; c < cases.size(); ++c)
    for (std::size_t s = 0; s < cases[c].record.slices.size(); ++s)
      column.push_back(
          static_cast<T>(get(c, cases[c], cases[c].record.slices[s], cases[c].slices[s], s)));
  return column;
}

template <class T, class Get>
std::vector<T> per_case(const std::vector<CasePlaces>& cases, Get get) {
  std::vector<T> column;
  for (const CasePlaces& place : cases) column.push_back(static_cast<T>(get(place)));
  return column;
}

std::int64_t label_of(const CaseRecord& record, std::size_t i) {
  return i < record.labels.size() ? record.labels[i] : -1;
}

}  // namespace

void check_layout(const DatasetLayout& layout) {
  if (layout.shards < 1 || layout.shards > kMaxShards ||
      !std::has_single_bit(static_cast<unsigned>(layout.shards)))
    throw Error(ErrorCode::usage, "the number of shards is " + std::to_string(layout.shards) +
                                      ": expected a power of two up to " +
                                      std::to_string(kMaxShards));
  if (layout.height < 1 || layout.height > kMaxSide || layout.width < 1 || layout.width > kMaxSide)
    throw Error(ErrorCode::usage, "slices of " + std::to_string(layout.width) + " x " +
                                      std::to_string(layout.height) + ": expected sides of 1 to " +
                                      std::to_string(kMaxSide));
  std::set<std::string> seen;
  std::vector<std::string> labels = layout.label_names;
  labels.insert(labels.end(), layout.continuous_names.begin(), layout.continuous_names.end());
  for (const std::string& label : labels) {
    const bool word = !label.empty() &&
                      std::all_of(label.begin(), label.end(),
                                  [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    if (!word || kReserved.contains(label) || !seen.insert(label).second)
      throw Error(ErrorCode::usage,
                  "the label column '" + label +
                      "' cannot be a column of the dataset: expected distinct words of "
                      "letters, digits and _ that name no column of its own");
  }
}

void write_layout(hid_t file, const DatasetLayout& layout) {
  h5::write_attribute(file, "version", std::int64_t{1});
  h5::write_attribute(file, "height", layout.height);
  h5::write_attribute(file, "width", layout.width);
  h5::write_attribute(file, "shards", std::int64_t{layout.shards});
  h5::write_attribute(file, "codec", std::string(to_string(layout.codec)));
  h5::write_attribute(file, "label_names", joined(layout.label_names));
  if (!layout.continuous_names.empty())
    h5::write_attribute(file, "continuous_names", joined(layout.continuous_names));
}

DatasetLayout read_layout(hid_t file, const std::string& expected_format) {
  if (h5::read_string_attribute(file, "format") != expected_format)
    throw Error(ErrorCode::corrupt, "the file's format is not " + expected_format);
  if (h5::read_integer_attribute(file, "version") != 1)
    throw Error(ErrorCode::corrupt, "the file's format version is not 1; use a newer toolkit");
  DatasetLayout layout;
  layout.height = h5::read_integer_attribute(file, "height");
  layout.width = h5::read_integer_attribute(file, "width");
  layout.shards = static_cast<int>(
      std::clamp<std::int64_t>(h5::read_integer_attribute(file, "shards"), 0, 1 << 30));
  layout.label_names = split(h5::read_string_attribute(file, "label_names"));
  // Absent where there are none, as in every dataset of an earlier toolkit.
  if (H5Aexists(file, "continuous_names") > 0)
    layout.continuous_names = split(h5::read_string_attribute(file, "continuous_names"));
  try {
    layout.codec = parse_codec(h5::read_string_attribute(file, "codec"));
    check_layout(layout);
  } catch (const Error& e) {
    throw Error(ErrorCode::corrupt, e.what());
  }
  return layout;
}

std::string difference(const DatasetLayout& a, const DatasetLayout& b) {
  if (a.shards != b.shards) return "shards";
  if (a.height != b.height) return "height";
  if (a.width != b.width) return "width";
  if (a.codec != b.codec) return "codec";
  if (a.label_names != b.label_names) return "label_names";
  if (a.continuous_names != b.continuous_names) return "continuous_names";
  return {};
}

void write_slice_columns(hid_t g, const std::vector<CasePlaces>& cases,
                         const DatasetLayout& layout) {
  const auto doubles = [&](const char* name, auto get) {
    h5::write_column(
        g, name, per_slice<double>(cases, [&](auto, const auto&, const auto& s, const auto&, auto) {
          return get(s);
        }));
  };
  h5::write_column(g, "case", per_slice<std::int32_t>(cases, [](auto c, auto&&...) { return c; }));
  h5::write_column(g, "shard", per_slice<std::int32_t>(cases, [](auto, const auto& c, auto&&...) {
                     return c.shard;
                   }));
  h5::write_column(
      g, "row",
      per_slice<std::int64_t>(cases, [](auto, const auto& c, const auto&, const auto&, auto s) {
        return c.first_row + static_cast<std::int64_t>(s);
      }));
  h5::write_column(g, "source_index",
                   per_slice<std::int32_t>(cases, [](auto, const auto&, const auto& s, auto&&...) {
                     return s.source_index;
                   }));
  h5::write_column(g, "split", per_slice<std::string>(cases, [](auto, const auto& c, auto&&...) {
                     return c.record.split;
                   }));
  doubles("z_mm", [](const auto& s) { return s.z_mm; });
  doubles("depth_kept", [](const auto& s) { return s.depth_kept; });
  doubles("depth_liver", [](const auto& s) { return s.depth_liver; });
  doubles("depth_volume", [](const auto& s) { return s.depth_volume; });
  doubles("liver_area_mm2", [](const auto& s) { return s.liver_area_mm2; });
  for (std::size_t i = 0; i < layout.label_names.size(); ++i)
    h5::write_column(g, layout.label_names[i].c_str(),
                     per_slice<std::int64_t>(cases, [&](auto, const auto& c, auto&&...) {
                       return label_of(c.record, i);
                     }));
  for (std::size_t i = 0; i < layout.continuous_names.size(); ++i)
    h5::write_column(g, layout.continuous_names[i].c_str(),
                     per_slice<double>(cases, [&](auto, const auto& c, auto&&...) {
                       return c.record.continuous.at(i);
                     }));
  const auto chunk64 = [&](const char* name, auto field) {
    h5::write_column(
        g, name,
        per_slice<std::uint64_t>(
            cases, [&](auto, const auto&, const auto&, const auto& p, auto) { return p.*field; }));
  };
  const auto chunk32 = [&](const char* name, auto field) {
    h5::write_column(
        g, name,
        per_slice<std::uint32_t>(
            cases, [&](auto, const auto&, const auto&, const auto& p, auto) { return p.*field; }));
  };
  chunk64("image_offset", &ChunkPlace::image_offset);
  chunk32("image_length", &ChunkPlace::image_length);
  chunk32("image_raw", &ChunkPlace::image_raw);
  chunk64("image_xxh3", &ChunkPlace::image_xxh3);
  chunk64("mask_offset", &ChunkPlace::mask_offset);
  chunk32("mask_length", &ChunkPlace::mask_length);
  chunk32("mask_raw", &ChunkPlace::mask_raw);
  chunk64("mask_xxh3", &ChunkPlace::mask_xxh3);
}

void write_case_columns(hid_t g, const std::vector<CasePlaces>& cases,
                        const DatasetLayout& layout) {
  h5::write_column(g, "name",
                   per_case<std::string>(cases, [](const auto& c) { return c.record.name; }));
  h5::write_column(g, "subject",
                   per_case<std::string>(cases, [](const auto& c) { return c.record.subject; }));
  h5::write_column(g, "split",
                   per_case<std::string>(cases, [](const auto& c) { return c.record.split; }));
  h5::write_column(g, "source_hash", per_case<std::string>(cases, [](const auto& c) {
                     return c.record.source_hash;
                   }));
  h5::write_column(g, "flags", per_case<std::string>(cases, [](const auto& c) {
                     return flag_words(c.record.flags);
                   }));
  h5::write_column(g, "shard",
                   per_case<std::int32_t>(cases, [](const auto& c) { return c.shard; }));
  h5::write_column(g, "first_row",
                   per_case<std::int64_t>(cases, [](const auto& c) { return c.first_row; }));
  h5::write_column(g, "slice_count",
                   per_case<std::int64_t>(cases, [](const auto& c) { return c.slices.size(); }));
  h5::write_column(g, "pixel_x_mm",
                   per_case<double>(cases, [](const auto& c) { return c.record.pixel_mm[0]; }));
  h5::write_column(g, "pixel_y_mm",
                   per_case<double>(cases, [](const auto& c) { return c.record.pixel_mm[1]; }));
  h5::write_column(g, "spacing_mm",
                   per_case<double>(cases, [](const auto& c) { return c.record.spacing_mm; }));
  h5::write_column(g, "liver_ml",
                   per_case<double>(cases, [](const auto& c) { return c.record.liver_ml; }));
  for (std::size_t i = 0; i < layout.label_names.size(); ++i)
    h5::write_column(
        g, layout.label_names[i].c_str(),
        per_case<std::int64_t>(cases, [&](const auto& c) { return label_of(c.record, i); }));
  for (std::size_t i = 0; i < layout.continuous_names.size(); ++i)
    h5::write_column(
        g, layout.continuous_names[i].c_str(),
        per_case<double>(cases, [&](const auto& c) { return c.record.continuous.at(i); }));
}

}  // namespace wsp
