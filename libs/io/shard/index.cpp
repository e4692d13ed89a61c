#include <algorithm>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"
#include "io/shard/shard_file.hpp"

namespace wsp {

namespace fs = std::filesystem;

void write_index(const fs::path& state, std::vector<CasePlaces> cases,
                 const DatasetLayout& layout) {
  check_layout(layout);
  std::sort(cases.begin(), cases.end(), [](const CasePlaces& a, const CasePlaces& b) {
    return std::pair(a.shard, a.record.name) < std::pair(b.shard, b.record.name);
  });
  std::set<std::string> subjects;
  for (const CasePlaces& place : cases) subjects.insert(place.record.subject);
  const std::vector<std::string> names(subjects.begin(), subjects.end());
  std::vector<std::int32_t> subject_of;
  for (const CasePlaces& place : cases) {
    const auto at =
        std::lower_bound(names.begin(), names.end(), place.record.subject) - names.begin();
    subject_of.insert(subject_of.end(), place.slices.size(), static_cast<std::int32_t>(at));
  }
  const fs::path path = state / "index.h5";
  const TemporaryFile temporary{path.string() + ".tmp"};
  try {
    const auto lock = h5::exclusive();
    h5::NewFile file(path.filename().string());
    h5::write_attribute(file.get(), "format", std::string("wsp-dataset"));
    write_layout(file.get(), layout);
    h5::Handle slices = h5::create_group(file.get(), "slices");
    write_slice_columns(slices.get(), cases, layout);
    h5::write_column(slices.get(), "subject", subject_of);
    slices.close();
    h5::Handle table = h5::create_group(file.get(), "cases");
    write_case_columns(table.get(), cases, layout);
    table.close();
    h5::Handle people = h5::create_group(file.get(), "subjects");
    h5::write_column(people.get(), "name", names);
    people.close();
    file.write_to(temporary.path);
    // What stands on the disk must be what was meant.
    h5::Handle check = h5::open_file(temporary.path);
    const auto found = read_tables(check.get(), layout);
    check_subjects(check.get(), found);
    check.close();
    bool same = found.size() == cases.size();
    for (std::size_t c = 0; same && c < cases.size(); ++c)
      same = difference(cases[c], found[c]).empty();
    if (!same)
      throw Error(ErrorCode::output, "the index does not stand on the disk as it was written");
  } catch (const Error& e) {
    throw Error(ErrorCode::output, e.what()).within("while writing index.h5");
  }
  publish_file(temporary.path, path);
}

}  // namespace wsp
