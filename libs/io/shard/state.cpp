#include "io/shard/state.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/parallel.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "state-";
constexpr const char* kNext = "state-next";
constexpr std::size_t kDigits = 16;

bool is_state_name(const std::string& name) {
  return name.starts_with(kPrefix) && name.size() == kPrefix.size() + kDigits &&
         name.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string::npos;
}

// What a dataset consists of: a foreign file must not gain a hash that vouches for it.
bool is_part(const std::string& name) {
  const auto in = [&](std::string_view folder, std::string_view end) {
    return name.starts_with(folder) && name.ends_with(end) &&
           name.find('/', folder.size()) == std::string::npos;
  };
  return name == "index.h5" || name == "ledger.tsv" || name == "quarantine.tsv" ||
         name == "mask_comparison.tsv" || in("shards/shard-", ".h5") || in("cases/", ".json") ||
         in("previews/", ".png");
}

struct Part {
  std::string name;
  std::string sha256;
};

std::vector<Part> parts_of(const fs::path& state) {
  std::vector<Part> parts;
  for (const auto& entry : fs::recursive_directory_iterator(state)) {
    std::string name = fs::relative(entry.path(), state).generic_string();
    if (entry.is_regular_file() && is_part(name)) parts.push_back({std::move(name), {}});
  }
  std::sort(parts.begin(), parts.end(),
            [](const Part& a, const Part& b) { return a.name < b.name; });
  wsp::parallel_loop(std::size_t{0}, parts.size(), [&](std::size_t i) {
    parts[i].sha256 = hex(sha256_file(state / parts[i].name));
  });
  return parts;
}

// A file that did not change stays the file that it was: its time tells an earlier report, or a
// copy elsewhere, that there is nothing to do, and it takes no space twice.
void share_unchanged(const std::vector<Part>& parts, const fs::path& next, const fs::path& stands) {
  wsp::parallel_loop(std::size_t{0}, parts.size(), [&](std::size_t i) {
    const fs::path old = stands / parts[i].name, made = next / parts[i].name;
    std::error_code ec;
    if (!fs::is_regular_file(fs::symlink_status(old, ec)) ||
        fs::file_size(old, ec) != fs::file_size(made, ec) || fs::equivalent(old, made, ec))
      return;
    try {
      if (hex(sha256_file(old)) != parts[i].sha256) return;
    } catch (const Error&) {  // the new one stays
      return;
    }
    const fs::path link = made.string() + ".tmp";
    fs::remove(link, ec);
    fs::create_hard_link(old, link, ec);
    if (!ec) fs::rename(link, made, ec);
    if (ec) fs::remove(link, ec);
  });
}

nlohmann::json description(const std::vector<Part>& parts, const nlohmann::json& fields,
                           const DatasetLayout& layout) {
  nlohmann::json files = nlohmann::json::object();
  for (const Part& part : parts) files[part.name] = part.sha256;
  nlohmann::json json = fields;
  json["format"] = "wsp-dataset";
  json["version"] = 2;
  json["tool_version"] = layout.tool_version;
  json["label_names"] = layout.label_names;
  if (!layout.continuous_names.empty()) json["continuous_names"] = layout.continuous_names;
  json["layout"] = {{"height", layout.height},
                    {"width", layout.width},
                    {"shards", layout.shards},
                    {"codec", to_string(layout.codec)}};
  json["files"] = std::move(files);
  json["state"] = std::string(kPrefix) + hex(sha256(json_text(json))).substr(0, kDigits);
  return json;
}

// After the commit: whoever holds these files open goes on reading them.
void remove_earlier(const fs::path& dataset) {
  std::vector<fs::path> earlier = unnamed_states(dataset);
  earlier.push_back(dataset / "dataset.json.tmp");  // of a run that was killed at its commit
  for (const char* part : {"index.h5", "shards", "cases", "previews", "ledger.tsv",
                           "quarantine.tsv", "mask_comparison.tsv", "run.json"})
    earlier.push_back(dataset / part);  // of format version 1
  std::string why;
  for (const fs::path& path : earlier)
    if (std::error_code ec; fs::remove_all(path, ec), ec) why = ec.message();
  if (!why.empty())
    log::warn("files of the dataset as it was before this run could not be removed (" + why +
              "); nothing reads them, and the next run tries again");
}

}  // namespace

std::string read_listed(const fs::path& state, const std::map<std::string, std::string>& files,
                        const std::string& name) {
  const auto listed = files.find(name);
  std::string bytes;
  if (std::error_code ec; listed != files.end() && fs::is_regular_file(state / name, ec))
    bytes = read_file(state / name);
  if (listed == files.end() || hex(sha256(bytes)) != listed->second)
    throw Error(ErrorCode::corrupt, name + " is missing or differs from its hash");
  return bytes;
}

fs::path next_state(const fs::path& dataset) { return dataset / kNext; }

fs::path state_directory(const fs::path& dataset) {
  const fs::path file = dataset / "dataset.json";
  if (std::error_code ec; !fs::is_regular_file(file, ec))
    throw Error(ErrorCode::no_input, "no complete dataset at " + dataset.string() +
                                         ": expected dataset.json; was the ingest interrupted? "
                                         "Run it again, it resumes");
  nlohmann::json json;
  try {
    json = load_json(file);
  } catch (const Error& e) {
    throw Error(ErrorCode::corrupt, std::string(e.what()) + "; run wsp-ingest again");
  }
  if (!json.is_object() || !json.contains("state")) return dataset;
  const auto& state = json["state"];
  if (!state.is_string() || !is_state_name(state.get<std::string>()))
    throw Error(ErrorCode::corrupt,
                "dataset.json names no folder of its own as \"state\"; run wsp-ingest again");
  fs::path directory = dataset / state.get<std::string>();
  if (std::error_code ec; !fs::is_directory(fs::symlink_status(directory, ec)))
    throw Error(ErrorCode::corrupt, "dataset.json names the folder " +
                                        directory.filename().string() +
                                        ", which is not there; run wsp-ingest again");
  return directory;
}

std::vector<fs::path> unnamed_states(const fs::path& dataset) {
  fs::path named;
  try {
    named = state_directory(dataset).filename();
  } catch (const Error&) {  // none
  }
  std::vector<fs::path> unnamed;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(dataset, ec)) {
    std::string name = entry.path().filename().string();
    if (name == named || !fs::is_directory(entry.symlink_status(ec))) continue;
    if (name.ends_with(".old")) name.resize(name.size() - 4);
    if (name == kNext || is_state_name(name)) unnamed.push_back(entry.path());
  }
  std::sort(unnamed.begin(), unnamed.end());
  return unnamed;
}

void publish_state(const fs::path& dataset, const nlohmann::json& fields,
                   const DatasetLayout& layout) {
  const fs::path next = next_state(dataset);
  const std::vector<Part> parts = parts_of(next);
  if (std::error_code ec; fs::is_regular_file(dataset / "dataset.json", ec)) {
    try {
      share_unchanged(parts, next, state_directory(dataset));
    } catch (const Error&) {  // what stands is broken: nothing to share
    }
  }
  const nlohmann::json json = description(parts, fields, layout);
  sync_filesystem(dataset);
  publish_directory(next, dataset / json["state"].get<std::string>());
  write_file_atomic(dataset / "dataset.json", json_text(json, 1) + "\n");
  remove_earlier(dataset);
}

}  // namespace wsp
