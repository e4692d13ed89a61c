#include "io/shard/columns.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "io/shard/hdf5_file.hpp"

namespace wsp {
namespace {

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
      column.push_back(static_cast<T>(get(c, cases[c], cases[c].record.slices[s], cases[c].slices[s], s)));
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

void same_length(std::size_t a, std::size_t b) {
  if (a != b) throw Error(ErrorCode::corrupt, "columns of one table have different lengths");
}

}  // namespace

void write_layout(hid_t file, const DatasetLayout& layout) {
  h5::write_attribute(file, "version", 1);
  h5::write_attribute(file, "height", layout.height);
  h5::write_attribute(file, "width", layout.width);
  h5::write_attribute(file, "shards", layout.shards);
  h5::write_attribute(file, "codec", std::string(to_string(layout.codec)));
  h5::write_attribute(file, "label_names", joined(layout.label_names));
}

DatasetLayout read_layout(hid_t file, const std::string& expected_format) {
  if (h5::read_string_attribute(file, "format") != expected_format)
    throw Error(ErrorCode::corrupt, "the file's format is not " + expected_format);
  if (h5::read_integer_attribute(file, "version") != 1)
    throw Error(ErrorCode::corrupt, "the file's format version is not 1; use a newer toolkit");
  DatasetLayout layout;
  layout.height = h5::read_integer_attribute(file, "height");
  layout.width = h5::read_integer_attribute(file, "width");
  const std::int64_t shards = h5::read_integer_attribute(file, "shards");
  if (layout.height < 1 || layout.height > 65536 || layout.width < 1 || layout.width > 65536 || shards < 1 ||
      shards > 4096)
    throw Error(ErrorCode::corrupt, "the file's layout has absurd sizes");
  layout.shards = static_cast<int>(shards);
  try {
    layout.codec = parse_codec(h5::read_string_attribute(file, "codec"));
  } catch (const Error& e) {
    throw Error(ErrorCode::corrupt, e.what());
  }
  layout.label_names = split(h5::read_string_attribute(file, "label_names"));
  return layout;
}

void write_slice_columns(hid_t g, const std::vector<CasePlaces>& cases, const DatasetLayout& layout) {
  const auto doubles = [&](const char* name, auto get) {
    h5::write_column(g, name, per_slice<double>(cases, [&](auto, const auto&, const auto& s, const auto&, auto) {
                       return get(s);
                     }));
  };
  h5::write_column(g, "case", per_slice<std::int32_t>(cases, [](auto c, auto&&...) { return c; }));
  h5::write_column(g, "shard", per_slice<std::int32_t>(
                                   cases, [](auto, const auto& c, auto&&...) { return c.shard; }));
  h5::write_column(g, "row", per_slice<std::int64_t>(cases, [](auto, const auto& c, const auto&, const auto&, auto s) {
                     return c.first_row + static_cast<std::int64_t>(s);
                   }));
  h5::write_column(g, "source_index",
                   per_slice<std::int32_t>(cases, [](auto, const auto&, const auto& s, auto&&...) {
                     return s.source_index;
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
  const auto chunk64 = [&](const char* name, auto field) {
    h5::write_column(g, name,
                     per_slice<std::uint64_t>(cases, [&](auto, const auto&, const auto&, const auto& p, auto) {
                       return p.*field;
                     }));
  };
  const auto chunk32 = [&](const char* name, auto field) {
    h5::write_column(g, name,
                     per_slice<std::uint32_t>(cases, [&](auto, const auto&, const auto&, const auto& p, auto) {
                       return p.*field;
                     }));
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

void write_case_columns(hid_t g, const std::vector<CasePlaces>& cases, const DatasetLayout& layout) {
  h5::write_column(g, "name", per_case<std::string>(cases, [](const auto& c) { return c.record.name; }));
  h5::write_column(g, "subject", per_case<std::string>(cases, [](const auto& c) { return c.record.subject; }));
  h5::write_column(g, "split", per_case<std::string>(cases, [](const auto& c) { return c.record.split; }));
  h5::write_column(g, "source_hash",
                   per_case<std::string>(cases, [](const auto& c) { return c.record.source_hash; }));
  h5::write_column(g, "flags", per_case<std::string>(cases, [](const auto& c) {
                     std::vector<std::string> words;
                     for (const Code flag : c.record.flags) words.emplace_back(to_string(flag));
                     return joined(words);
                   }));
  h5::write_column(g, "shard", per_case<std::int32_t>(cases, [](const auto& c) { return c.shard; }));
  h5::write_column(g, "first_row", per_case<std::int64_t>(cases, [](const auto& c) { return c.first_row; }));
  h5::write_column(g, "slice_count", per_case<std::int64_t>(cases, [](const auto& c) { return c.slices.size(); }));
  h5::write_column(g, "pixel_x_mm", per_case<double>(cases, [](const auto& c) { return c.record.pixel_mm[0]; }));
  h5::write_column(g, "pixel_y_mm", per_case<double>(cases, [](const auto& c) { return c.record.pixel_mm[1]; }));
  h5::write_column(g, "spacing_mm", per_case<double>(cases, [](const auto& c) { return c.record.spacing_mm; }));
  h5::write_column(g, "liver_ml", per_case<double>(cases, [](const auto& c) { return c.record.liver_ml; }));
  for (std::size_t i = 0; i < layout.label_names.size(); ++i)
    h5::write_column(g, layout.label_names[i].c_str(),
                     per_case<std::int64_t>(cases, [&](const auto& c) { return label_of(c.record, i); }));
}

std::vector<CasePlaces> read_tables(hid_t f, const DatasetLayout& layout, bool) {
  const auto name = h5::read_strings(f, "cases/name");
  const auto subject = h5::read_strings(f, "cases/subject");
  const auto split_name = h5::read_strings(f, "cases/split");
  const auto source_hash = h5::read_strings(f, "cases/source_hash");
  const auto flags = h5::read_strings(f, "cases/flags");
  const auto shard = h5::read_integers(f, "cases/shard");
  const auto first_row = h5::read_integers(f, "cases/first_row");
  const auto count = h5::read_integers(f, "cases/slice_count");
  const auto pixel_x = h5::read_doubles(f, "cases/pixel_x_mm");
  const auto pixel_y = h5::read_doubles(f, "cases/pixel_y_mm");
  const auto spacing = h5::read_doubles(f, "cases/spacing_mm");
  const auto liver = h5::read_doubles(f, "cases/liver_ml");
  for (const std::size_t n : {subject.size(), split_name.size(), source_hash.size(), flags.size(), shard.size(),
                              first_row.size(), count.size(), pixel_x.size(), pixel_y.size(), spacing.size(),
                              liver.size()})
    same_length(name.size(), n);
  std::vector<CasePlaces> cases(name.size());
  for (std::size_t c = 0; c < cases.size(); ++c) {
    CaseRecord& r = cases[c].record;
    r.name = name[c];
    r.subject = subject[c];
    r.split = split_name[c];
    r.source_hash = source_hash[c];
    for (const std::string& word : split(flags[c]))
      if (const auto code = parse_code(word)) r.flags.push_back(*code);
    r.pixel_mm[0] = pixel_x[c];
    r.pixel_mm[1] = pixel_y[c];
    r.spacing_mm = spacing[c];
    r.liver_ml = liver[c];
    if (shard[c] < 0 || shard[c] >= layout.shards || first_row[c] < 0 || count[c] < 0)
      throw Error(ErrorCode::corrupt, "the table of cases holds an impossible row");
    cases[c].shard = static_cast<int>(shard[c]);
    cases[c].first_row = first_row[c];
  }
  for (const std::string& label : layout.label_names) {
    const auto values = h5::read_integers(f, "cases/" + label);
    same_length(cases.size(), values.size());
    for (std::size_t c = 0; c < cases.size(); ++c) cases[c].record.labels.push_back(values[c]);
  }

  const auto of_case = h5::read_integers(f, "slices/case");
  const auto source_index = h5::read_integers(f, "slices/source_index");
  const auto row = h5::read_integers(f, "slices/row");
  const std::size_t n = of_case.size();
  std::vector<std::vector<double>> reals;
  for (const char* column : {"z_mm", "depth_kept", "depth_liver", "depth_volume", "liver_area_mm2"}) {
    reals.push_back(h5::read_doubles(f, std::string("slices/") + column));
    same_length(n, reals.back().size());
  }
  std::vector<std::vector<std::uint64_t>> numbers;
  for (const char* column : {"image_offset", "image_length", "image_raw", "image_xxh3", "mask_offset", "mask_length",
                             "mask_raw", "mask_xxh3"}) {
    numbers.push_back(h5::read_hashes(f, std::string("slices/") + column));
    same_length(n, numbers.back().size());
  }
  same_length(n, source_index.size());
  same_length(n, row.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (of_case[i] < 0 || of_case[i] >= static_cast<std::int64_t>(cases.size()))
      throw Error(ErrorCode::corrupt, "a slice belongs to a case that is not there");
    CasePlaces& place = cases[static_cast<std::size_t>(of_case[i])];
    SliceRecord slice;
    slice.source_index = static_cast<std::int32_t>(source_index[i]);
    slice.z_mm = reals[0][i];
    slice.depth_kept = reals[1][i];
    slice.depth_liver = reals[2][i];
    slice.depth_volume = reals[3][i];
    slice.liver_area_mm2 = reals[4][i];
    slice.image.raw_length = static_cast<std::uint32_t>(numbers[2][i]);
    slice.image.xxh3 = numbers[3][i];
    slice.mask.raw_length = static_cast<std::uint32_t>(numbers[6][i]);
    slice.mask.xxh3 = numbers[7][i];
    const auto pixels = static_cast<std::uint64_t>(layout.height * layout.width);
    if (row[i] != place.first_row + static_cast<std::int64_t>(place.slices.size()) ||
        numbers[2][i] != 2 * pixels || numbers[6][i] != pixels || numbers[1][i] > 4 * pixels + 4096 ||
        numbers[5][i] > 4 * pixels + 4096)
      throw Error(ErrorCode::corrupt, "the table of slices holds an impossible row");
    place.record.slices.push_back(std::move(slice));
    place.slices.push_back({numbers[0][i], numbers[4][i], static_cast<std::uint32_t>(numbers[1][i]),
                            static_cast<std::uint32_t>(numbers[5][i]), static_cast<std::uint32_t>(numbers[2][i]),
                            static_cast<std::uint32_t>(numbers[6][i]), numbers[3][i], numbers[7][i]});
  }
  for (std::size_t c = 0; c < cases.size(); ++c)
    if (static_cast<std::int64_t>(cases[c].slices.size()) != count[c])
      throw Error(ErrorCode::corrupt, "a case has another number of slices than it says");
  return cases;
}

}  // namespace wsp
