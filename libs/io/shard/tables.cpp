#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp {
namespace {

constexpr std::int64_t kMaxIndex = 2147483647;

[[noreturn]] void corrupt(const std::string& what) { throw Error(ErrorCode::corrupt, what); }

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void same_length(std::size_t a, std::size_t b) {
  if (a != b) corrupt("columns of one table have different lengths");
}

std::vector<Code> parse_flags(const std::string& text) {
  std::vector<Code> flags;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const auto code = parse_code(text.substr(begin, end - begin));
    if (!code) corrupt("a case bears a flag that this version does not know; use a newer toolkit");
    flags.push_back(*code);
    begin = end + 1;
  }
  return flags;
}

// Reads columns of one group that must all be of one length.
class Table {
 public:
  Table(hid_t file, const char* group) : file_(file), group_(group) {}
  std::vector<double> doubles(const std::string& name) {
    return checked(h5::read_doubles(file_, group_ + name));
  }
  std::vector<std::int64_t> integers(const std::string& name) {
    return checked(h5::read_integers(file_, group_ + name));
  }
  std::vector<std::uint64_t> hashes(const std::string& name) {
    return checked(h5::read_unsigned(file_, group_ + name));
  }
  std::vector<std::string> strings(const std::string& name) {
    return checked(h5::read_strings(file_, group_ + name));
  }
  [[nodiscard]] std::size_t rows() const { return rows_; }

 private:
  template <class T>
  std::vector<T> checked(std::vector<T> column) {
    if (seen_) same_length(rows_, column.size());
    seen_ = true;
    rows_ = column.size();
    return column;
  }
  hid_t file_;
  std::string group_;
  bool seen_ = false;
  std::size_t rows_ = 0;
};

std::vector<CasePlaces> read_cases(hid_t file, const DatasetLayout& layout,
                                   std::vector<std::int64_t>& count) {
  Table t(file, "cases/");
  const auto name = t.strings("name"), subject = t.strings("subject"), split = t.strings("split"),
             source_hash = t.strings("source_hash"), flags = t.strings("flags");
  const auto shard = t.integers("shard"), first_row = t.integers("first_row");
  count = t.integers("slice_count");
  const auto pixel_x = t.doubles("pixel_x_mm"), pixel_y = t.doubles("pixel_y_mm"),
             spacing = t.doubles("spacing_mm"), liver = t.doubles("liver_ml");
  std::vector<CasePlaces> cases(t.rows());
  std::map<std::int64_t, std::int64_t> next_row;
  for (std::size_t c = 0; c < cases.size(); ++c) {
    if (shard[c] < 0 || shard[c] >= layout.shards || count[c] < 0 || count[c] > kMaxIndex ||
        first_row[c] != next_row[shard[c]] || name[c].empty())
      corrupt("the table of cases holds an impossible row");
    if (c > 0 && std::pair(shard[c - 1], name[c - 1]) >= std::pair(shard[c], name[c]))
      corrupt("the table of cases is not sorted by shard and name");
    next_row[shard[c]] += count[c];
    CaseRecord& r = cases[c].record;
    r.name = name[c];
    r.subject = subject[c];
    r.split = split[c];
    r.source_hash = source_hash[c];
    r.flags = parse_flags(flags[c]);
    r.pixel_mm[0] = pixel_x[c];
    r.pixel_mm[1] = pixel_y[c];
    r.spacing_mm = spacing[c];
    r.liver_ml = liver[c];
    cases[c].shard = static_cast<int>(shard[c]);
    cases[c].first_row = first_row[c];
  }
  for (const std::string& label : layout.label_names) {
    const auto values = t.integers(label);
    for (std::size_t c = 0; c < cases.size(); ++c) cases[c].record.labels.push_back(values[c]);
  }
  for (const std::string& number : layout.continuous_names) {
    const auto values = t.doubles(number);
    for (std::size_t c = 0; c < cases.size(); ++c) {
      if (std::isinf(values[c])) corrupt("a continuous label is infinite");
      cases[c].record.continuous.push_back(values[c]);
    }
  }
  return cases;
}

}  // namespace

std::vector<CasePlaces> read_tables(hid_t file, const DatasetLayout& layout) {
  std::vector<std::int64_t> count;
  std::vector<CasePlaces> cases = read_cases(file, layout, count);

  Table t(file, "slices/");
  const auto of_case = t.integers("case"), shard = t.integers("shard"), row = t.integers("row"),
             source_index = t.integers("source_index");
  const auto split = t.strings("split");
  const auto z_mm = t.doubles("z_mm"), kept = t.doubles("depth_kept"),
             liver = t.doubles("depth_liver"), volume = t.doubles("depth_volume"),
             area = t.doubles("liver_area_mm2");
  const auto image_offset = t.hashes("image_offset"), image_length = t.hashes("image_length"),
             image_raw = t.hashes("image_raw"), image_xxh3 = t.hashes("image_xxh3"),
             mask_offset = t.hashes("mask_offset"), mask_length = t.hashes("mask_length"),
             mask_raw = t.hashes("mask_raw"), mask_xxh3 = t.hashes("mask_xxh3");
  std::vector<std::vector<std::int64_t>> labels;
  for (const std::string& label : layout.label_names) labels.push_back(t.integers(label));
  std::vector<std::vector<double>> continuous;
  for (const std::string& name : layout.continuous_names) continuous.push_back(t.doubles(name));

  const auto pixels = static_cast<std::uint64_t>(layout.height * layout.width);
  // No codec makes a slice longer than this; a larger length is a lie.
  const std::uint64_t longest = 2 * pixels + pixels / 8 + 4096;
  std::size_t c = 0;
  for (std::size_t i = 0; i < t.rows(); ++i) {
    while (c < cases.size() && static_cast<std::int64_t>(cases[c].slices.size()) == count[c]) ++c;
    if (c == cases.size() || of_case[i] != static_cast<std::int64_t>(c))
      corrupt("the table of slices does not follow the table of cases");
    CasePlaces& place = cases[c];
    if (row[i] != place.first_row + static_cast<std::int64_t>(place.slices.size()) ||
        shard[i] != place.shard || split[i] != place.record.split || source_index[i] < 0 ||
        source_index[i] > kMaxIndex || image_raw[i] != 2 * pixels || mask_raw[i] != pixels ||
        image_length[i] > longest || mask_length[i] > longest || image_offset[i] >> 62 != 0 ||
        mask_offset[i] >> 62 != 0)
      corrupt("the table of slices holds an impossible row");
    for (std::size_t l = 0; l < labels.size(); ++l)
      if (labels[l][i] != place.record.labels[l])
        corrupt("a slice has another label than its case");
    for (std::size_t l = 0; l < continuous.size(); ++l)
      if (!same(continuous[l][i], place.record.continuous[l]))
        corrupt("a slice has another continuous label than its case");
    SliceRecord slice;
    slice.source_index = static_cast<std::int32_t>(source_index[i]);
    slice.z_mm = z_mm[i];
    slice.depth_kept = kept[i];
    slice.depth_liver = liver[i];
    slice.depth_volume = volume[i];
    slice.liver_area_mm2 = area[i];
    slice.image.raw_length = static_cast<std::uint32_t>(image_raw[i]);
    slice.image.xxh3 = image_xxh3[i];
    slice.mask.raw_length = static_cast<std::uint32_t>(mask_raw[i]);
    slice.mask.xxh3 = mask_xxh3[i];
    place.slices.push_back({image_offset[i], mask_offset[i],
                            static_cast<std::uint32_t>(image_length[i]),
                            static_cast<std::uint32_t>(mask_length[i]), slice.image.raw_length,
                            slice.mask.raw_length, slice.image.xxh3, slice.mask.xxh3});
    place.record.slices.push_back(std::move(slice));
  }
  for (c = 0; c < cases.size(); ++c)
    if (static_cast<std::int64_t>(cases[c].slices.size()) != count[c])
      corrupt("a case has another number of slices than it says");
  return cases;
}

void check_subjects(hid_t file, const std::vector<CasePlaces>& cases) {
  const auto names = h5::read_strings(file, "subjects/name");
  const auto of_slice = h5::read_integers(file, "slices/subject");
  std::set<std::string> expected;
  for (const CasePlaces& place : cases) expected.insert(place.record.subject);
  if (!std::equal(names.begin(), names.end(), expected.begin(), expected.end()))
    corrupt("/subjects/name is not the sorted list of the cases' subjects");
  std::size_t i = 0;
  for (const CasePlaces& place : cases)
    for (std::size_t s = 0; s < place.slices.size(); ++s, ++i)
      if (i >= of_slice.size() || of_slice[i] < 0 ||
          of_slice[i] >= static_cast<std::int64_t>(names.size()) ||
          names[static_cast<std::size_t>(of_slice[i])] != place.record.subject)
        corrupt("a slice has another subject than its case");
  same_length(i, of_slice.size());
}

std::string difference(const CasePlaces& a, const CasePlaces& b) {
  const CaseRecord &p = a.record, &q = b.record;
  if (p.name != q.name) return "name";
  if (p.subject != q.subject) return "subject";
  if (p.split != q.split) return "split";
  if (p.labels != q.labels) return "labels";
  if (!same_numbers(p.continuous, q.continuous)) return "continuous labels";
  if (p.flags != q.flags) return "flags";
  if (p.source_hash != q.source_hash) return "source_hash";
  if (!same(p.pixel_mm[0], q.pixel_mm[0]) || !same(p.pixel_mm[1], q.pixel_mm[1])) return "pixel_mm";
  if (!same(p.spacing_mm, q.spacing_mm)) return "spacing_mm";
  if (!same(p.liver_ml, q.liver_ml)) return "liver_ml";
  if (a.shard != b.shard) return "shard";
  if (a.first_row != b.first_row) return "first_row";
  if (p.slices.size() != q.slices.size() || a.slices.size() != b.slices.size())
    return "slice_count";
  for (std::size_t s = 0; s < p.slices.size(); ++s) {
    const SliceRecord &u = p.slices[s], &v = q.slices[s];
    const ChunkPlace &x = a.slices[s], &y = b.slices[s];
    const std::string where = " of slice " + std::to_string(u.source_index);
    if (u.source_index != v.source_index) return "source_index" + where;
    if (!same(u.z_mm, v.z_mm)) return "z_mm" + where;
    if (!same(u.depth_kept, v.depth_kept)) return "depth_kept" + where;
    if (!same(u.depth_liver, v.depth_liver)) return "depth_liver" + where;
    if (!same(u.depth_volume, v.depth_volume)) return "depth_volume" + where;
    if (!same(u.liver_area_mm2, v.liver_area_mm2)) return "liver_area_mm2" + where;
    if (x.image_offset != y.image_offset || x.image_length != y.image_length ||
        x.image_raw != y.image_raw || x.image_xxh3 != y.image_xxh3)
      return "image chunk" + where;
    if (x.mask_offset != y.mask_offset || x.mask_length != y.mask_length ||
        x.mask_raw != y.mask_raw || x.mask_xxh3 != y.mask_xxh3)
      return "mask chunk" + where;
  }
  return {};
}

}  // namespace wsp
