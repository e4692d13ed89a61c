#include "io/shard/columns.hpp"

#include <algorithm>
#include <bit>
#include <cctype>
#include <set>

#include "io/manifest/manifest.hpp"
#include "io/shard/fields.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp {
namespace {

constexpr int kMaxShards = 4096;
constexpr std::int64_t kMaxSide = 16384;  // two bytes of each pixel then still count in 32 bits

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

// get(case's number, case, slice's number): a column's value, of every slice.
template <class T, class Get>
std::vector<T> per_slice(const std::vector<CasePlaces>& cases, Get get) {
  std::vector<T> column;
  for (std::size_t c = 0; c < cases.size(); ++c)
    for (std::size_t s = 0; s < cases[c].record.slices.size(); ++s)
      column.push_back(static_cast<T>(get(c, cases[c], s)));
  return column;
}

template <class T, class Get>
std::vector<T> per_case(const std::vector<CasePlaces>& cases, Get get) {
  std::vector<T> column;
  for (const CasePlaces& place : cases) column.push_back(static_cast<T>(get(place)));
  return column;
}

// A value as it stands in a column.
const std::string& stored(const std::string& text) { return text; }
std::string stored(const std::vector<Code>& flags) { return flag_words(flags); }
template <class Number>
Number stored(const Number& number) {
  return number;
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
    if (!word || is_reserved_label(label) || !seen.insert(label).second)
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
  const auto write = [&]<class T>(const std::string& name, T, auto get) {
    h5::write_column(g, name.c_str(), per_slice<T>(cases, get));
  };
  write("case", std::int32_t{}, [](auto c, auto&&...) { return c; });
  write("shard", std::int32_t{}, [](auto, const auto& place, auto) { return place.shard; });
  write("row", std::int64_t{}, [](auto, const auto& place, auto s) {
    return place.first_row + static_cast<std::int64_t>(s);
  });
  write("source_index", std::int32_t{},
        [](auto, const auto& place, auto s) { return place.record.slices[s].source_index; });
  write(
      "split", std::string{},
      [](auto, const auto& place, auto) -> auto& { return place.record.split; });
  visit_slice_measures([&](const char* name, auto get) {
    write(name, double{},
          [&](auto, const auto& place, auto s) { return get(place.record.slices[s]); });
  });
  for (std::size_t i = 0; i < layout.label_names.size(); ++i)
    write(layout.label_names[i], std::int64_t{},
          [&](auto, const auto& place, auto) { return label_of(place.record, i); });
  for (std::size_t i = 0; i < layout.continuous_names.size(); ++i)
    write(layout.continuous_names[i], double{},
          [&](auto, const auto& place, auto) { return place.record.continuous.at(i); });
  visit_chunks([&](const char* name, auto get) {
    const ChunkPlace of_type;
    write(name, stored(get(of_type)),
          [&](auto, const auto& place, auto s) { return get(place.slices[s]); });
  });
}

void write_case_columns(hid_t g, const std::vector<CasePlaces>& cases,
                        const DatasetLayout& layout) {
  const auto write = [&]<class T>(const std::string& name, T, auto get) {
    h5::write_column(g, name.c_str(), per_case<T>(cases, get));
  };
  const auto write_field = [&](const char* name, auto get) {
    const CasePlaces of_type;
    write(name, stored(get(of_type)), [&](const auto& place) { return stored(get(place)); });
  };
  visit_case_identity(write_field);
  write("slice_count", std::int64_t{}, [](const auto& place) { return place.slices.size(); });
  visit_case_measures(write_field);
  for (std::size_t i = 0; i < layout.label_names.size(); ++i)
    write(layout.label_names[i], std::int64_t{},
          [&](const auto& place) { return label_of(place.record, i); });
  for (std::size_t i = 0; i < layout.continuous_names.size(); ++i)
    write(layout.continuous_names[i], double{},
          [&](const auto& place) { return place.record.continuous.at(i); });
}

}  // namespace wsp
