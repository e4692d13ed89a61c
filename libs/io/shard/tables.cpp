#include <algorithm>
#include <cmath>
#include <concepts>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/fields.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp {
namespace {

constexpr std::int64_t kMaxIndex = 2147483647;

[[noreturn]] void corrupt(const std::string& what) { throw Error(ErrorCode::corrupt, what); }

template <class T>
bool same(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, double>)
    return a == b || (std::isnan(a) && std::isnan(b));
  else
    return a == b;
}

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
  std::vector<std::string> strings(const std::string& name) {
    return checked(h5::read_strings(file_, group_ + name));
  }
  // The columns of fields (fields.hpp): values of another type than the column's must fit it.
  void read(const char* name, std::string&, const auto& set) { each(strings(name), set); }
  void read(const char* name, double&, const auto& set) { each(doubles(name), set); }
  void read(const char* name, std::vector<Code>&, const auto& set) {
    each(strings(name), [&](std::size_t i, const auto& text) { set(i, parse_flags(text)); });
  }
  template <std::integral T>
  void read(const char* name, T&, const auto& set) {
    const auto fitting = [&](std::size_t i, const auto value) {
      if (!std::in_range<T>(value)) corrupt("a table holds an impossible number");
      set(i, static_cast<T>(value));
    };
    if constexpr (std::is_unsigned_v<T>)
      each(checked(h5::read_unsigned(file_, group_ + name)), fitting);
    else
      each(integers(name), fitting);
  }
  [[nodiscard]] std::size_t rows() const { return rows_; }

 private:
  template <class Column>
  static void each(const Column& column, const auto& set) {
    for (std::size_t i = 0; i < column.size(); ++i) set(i, column[i]);
  }
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
  count = t.integers("slice_count");
  std::vector<CasePlaces> cases(t.rows());
  const auto read = [&](const char* name, auto get) {
    CasePlaces of_type;
    t.read(name, get(of_type),
           [&](std::size_t c, auto&& value) { get(cases[c]) = std::move(value); });
  };
  visit_case_identity(read);
  visit_case_measures(read);
  std::map<int, std::int64_t> next_row;
  for (std::size_t c = 0; c < cases.size(); ++c) {
    const CasePlaces& place = cases[c];
    if (place.shard < 0 || place.shard >= layout.shards || count[c] < 0 || count[c] > kMaxIndex ||
        place.first_row != next_row[place.shard] || place.record.name.empty())
      corrupt("the table of cases holds an impossible row");
    if (c > 0 && std::pair(cases[c - 1].shard, cases[c - 1].record.name) >=
                     std::pair(place.shard, place.record.name))
      corrupt("the table of cases is not sorted by shard and name");
    next_row[place.shard] += count[c];
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
  std::vector<SliceRecord> slices(t.rows());
  std::vector<ChunkPlace> chunks(t.rows());
  visit_slice_measures([&](const char* name, auto get) {
    SliceRecord of_type;
    t.read(name, get(of_type), [&](std::size_t i, auto value) { get(slices[i]) = value; });
  });
  visit_chunks([&](const char* name, auto get) {
    ChunkPlace of_type;
    t.read(name, get(of_type), [&](std::size_t i, auto value) { get(chunks[i]) = value; });
  });
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
    const ChunkPlace& chunk = chunks[i];
    if (row[i] != place.first_row + static_cast<std::int64_t>(place.slices.size()) ||
        shard[i] != place.shard || split[i] != place.record.split || source_index[i] < 0 ||
        source_index[i] > kMaxIndex || chunk.image_raw != 2 * pixels || chunk.mask_raw != pixels ||
        chunk.image_length > longest || chunk.mask_length > longest ||
        chunk.image_offset >> 62 != 0 || chunk.mask_offset >> 62 != 0)
      corrupt("the table of slices holds an impossible row");
    for (std::size_t l = 0; l < labels.size(); ++l)
      if (labels[l][i] != place.record.labels[l])
        corrupt("a slice has another label than its case");
    for (std::size_t l = 0; l < continuous.size(); ++l)
      if (!same(continuous[l][i], place.record.continuous[l]))
        corrupt("a slice has another continuous label than its case");
    SliceRecord& slice = slices[i];
    slice.source_index = static_cast<std::int32_t>(source_index[i]);
    slice.image.raw_length = chunk.image_raw;
    slice.image.xxh3 = chunk.image_xxh3;
    slice.mask.raw_length = chunk.mask_raw;
    slice.mask.xxh3 = chunk.mask_xxh3;
    place.slices.push_back(chunk);
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
  std::string first;
  const auto compare = [&first](const auto& p, const auto& q, const std::string& where) {
    return [&first, &p, &q, where](const char* name, auto get) {
      if (first.empty() && !same(get(p), get(q))) first = name + where;
    };
  };
  visit_case_identity(compare(a, b, ""));
  visit_case_measures(compare(a, b, ""));
  const CaseRecord &p = a.record, &q = b.record;
  if (!first.empty()) return first;
  if (p.labels != q.labels) return "labels";
  if (!same_numbers(p.continuous, q.continuous)) return "continuous labels";
  if (p.slices.size() != q.slices.size() || a.slices.size() != b.slices.size())
    return "slice_count";
  for (std::size_t s = 0; s < p.slices.size() && first.empty(); ++s) {
    const std::string where = " of slice " + std::to_string(p.slices[s].source_index);
    if (p.slices[s].source_index != q.slices[s].source_index) return "source_index" + where;
    visit_slice_measures(compare(p.slices[s], q.slices[s], where));
    visit_chunks(compare(a.slices[s], b.slices[s], where));
  }
  return first;
}

}  // namespace wsp
