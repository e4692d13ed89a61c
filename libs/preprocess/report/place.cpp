#include "preprocess/report/place.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/state.hpp"

namespace wsp::qa {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool stands(const fs::path& path) {
  std::error_code ec;
  return fs::exists(path, ec);
}

bool is_dataset(const fs::path& directory) {
  if (!stands(directory / "dataset.json")) return false;
  try {
    const fs::path state = state_directory(directory);
    return stands(state / "index.h5") || stands(state / "shards");
  } catch (const Error&) {  // a dataset.json of something else
    return false;
  }
}

// The names of the cases that state.json of an earlier report vouches for.
std::set<std::string> earlier_cases(const fs::path& qa) {
  std::set<std::string> names;
  try {
    const json state = load_json(qa / "state.json");
    for (const auto& [name, entry] : state.at("cases").items()) names.insert(name);
  } catch (const std::exception&) {
    // None, or not ours: nothing here is known to be a report's.
  }
  return names;
}

bool holds_report(const fs::path& qa) {
  try {
    if (stands(qa / "state.json")) {
      const json state = load_json(qa / "state.json");
      return state.contains("version") && state.at("cases").is_object();
    }
    return stands(qa / "dataset_fingerprint.json") &&
           load_json(qa / "dataset_fingerprint.json").at("format") == "wsp-fingerprint";
  } catch (const std::exception&) {
    return stands(qa / "dataset_fingerprint.json") && stands(qa / "report.html");
  }
}

}  // namespace

void check_place(const fs::path& qa, bool force) {
  std::error_code ec;
  const fs::path place = fs::weakly_canonical(fs::absolute(qa), ec);
  if (stands(place / "dataset.json") || stands(place / "index.h5"))
    throw Error(ErrorCode::usage,
                "--out " + qa.string() +
                    " is a dataset itself, and its cases/ would be overwritten: "
                    "choose another directory, or leave --out away for DATASET/qa");
  for (fs::path above = place; above.has_relative_path(); above = above.parent_path()) {
    const fs::path dataset = above.parent_path();
    if (!is_dataset(dataset) || above.filename() == "qa") continue;
    throw Error(ErrorCode::usage,
                "--out " + qa.string() + " lies inside the dataset " + dataset.string() +
                    ", where only qa/ may hold a report: choose a directory outside, or leave "
                    "--out away for DATASET/qa");
  }
  if (force || !fs::is_directory(place, ec) || fs::is_empty(place, ec) || holds_report(place))
    return;
  // Killed before its first file stood.
  if (std::all_of(
          fs::directory_iterator(place), fs::directory_iterator(),
          [](const fs::directory_entry& e) { return e.path().filename() == "state.json.tmp"; }))
    return;
  throw Error(ErrorCode::usage, qa.string() +
                                    " holds files that are no earlier report of wsp-qa: choose "
                                    "an empty or new directory, or overwrite with --force");
}

void make_place(const fs::path& qa) {
  std::error_code ec;
  const auto make = [&](const fs::path& directory) {
    fs::create_directories(directory, ec);
    if (ec)
      throw Error(ErrorCode::output, "cannot create " + directory.string() + ": " + ec.message() +
                                         ". Choose an --out that you may write to");
  };
  make(qa);
  // From now on the directory is a report's, also where this one is interrupted.
  if (!stands(qa / "state.json"))
    write_file_atomic(qa / "state.json",
                      json_text(json{{"version", 0}, {"cases", json::object()}}) + "\n");
  for (const char* part : {"cases", "pictures", "slices"}) make(qa / part);
}

void remove_strangers(const fs::path& qa, const std::set<std::string>& names) {
  std::error_code ec;
  for (const std::string& name : earlier_cases(qa)) {
    // A name of a file that was edited by hand must not lead out of the directory.
    if (names.contains(name) || fs::path(name).filename() != fs::path(name)) continue;
    fs::remove(qa / "cases" / (name + ".json"), ec);
    for (const char* kind : {"-strip.png", "-thumb.png"})
      fs::remove(qa / "pictures" / (name + kind), ec);
    fs::remove(qa / "slices" / (name + ".js"), ec);
  }
}

}  // namespace wsp::qa
