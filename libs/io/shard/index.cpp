#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/hash.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp {

namespace fs = std::filesystem;

void write_index(const fs::path& dataset, std::vector<CasePlaces> cases, const DatasetLayout& layout) {
  std::sort(cases.begin(), cases.end(), [](const CasePlaces& a, const CasePlaces& b) {
    return std::pair(a.shard, a.record.name) < std::pair(b.shard, b.record.name);
  });
  std::set<std::string> subjects;
  for (const CasePlaces& place : cases) subjects.insert(place.record.subject);
  const std::vector<std::string> names(subjects.begin(), subjects.end());
  std::vector<std::int32_t> subject_of;
  for (const CasePlaces& place : cases) {
    const auto at = std::lower_bound(names.begin(), names.end(), place.record.subject) - names.begin();
    subject_of.insert(subject_of.end(), place.slices.size(), static_cast<std::int32_t>(at));
  }
  const fs::path path = dataset / "index.h5";
  const fs::path temporary = path.string() + ".tmp";
  try {
    h5::Handle file = h5::create_file(temporary);
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
    if (H5Fflush(file.get(), H5F_SCOPE_GLOBAL) < 0)
      throw Error(ErrorCode::output, "HDF5 cannot flush the index; is the disk full?");
    file.close();
    // What stands on the disk must be what was meant.
    h5::Handle check = h5::open_file(temporary);
    if (read_tables(check.get(), layout, true).size() != cases.size())
      throw Error(ErrorCode::output, "the index does not stand on the disk as it was written");
    check.close();
  } catch (Error& e) {
    ::unlink(temporary.c_str());
    throw e.within("while writing index.h5");
  }
  publish_file(temporary, path);
}

void write_dataset_json(const fs::path& dataset, const nlohmann::json& fields, const DatasetLayout& layout) {
  nlohmann::json files = nlohmann::json::object();
  for (auto it = fs::recursive_directory_iterator(dataset); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = fs::relative(it->path(), dataset).generic_string();
    if (it->is_directory() && name == "qa") it.disable_recursion_pending();
    if (!it->is_regular_file() || name == "run.json" || name == "dataset.json") continue;
    files[name] = hex(sha256_file(it->path()));
  }
  nlohmann::json json = fields;
  json["format"] = "wsp-dataset";
  json["version"] = 1;
  json["tool_version"] = layout.tool_version;
  json["label_names"] = layout.label_names;
  json["layout"] = {{"height", layout.height},
                    {"width", layout.width},
                    {"shards", layout.shards},
                    {"codec", to_string(layout.codec)}};
  json["files"] = std::move(files);
  write_file_atomic(dataset / "dataset.json", json.dump(1) + "\n");
}

}  // namespace wsp
