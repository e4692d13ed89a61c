#include "preprocess/pipeline/output.hpp"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/state.hpp"
#include "preprocess/pipeline/crosswalk.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

bool lies_in(const fs::path& path, const fs::path& directory) {
  std::error_code ec;  // a path that cannot be is refused where it is used
  const auto whole = [&](const fs::path& p) {
    return fs::weakly_canonical(fs::absolute(p, ec), ec).string() + '/';
  };
  const std::string inner = whole(path);
  return !ec && inner.starts_with(whole(directory)) && !ec;
}

std::int64_t now_unix() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void check_places(const IngestOptions& o) {
  std::error_code ec;
  if (!fs::exists(o.input, ec))
    throw Error(ErrorCode::no_input,
                "the export " + o.input.string() +
                    (ec ? " cannot be reached: " + ec.message() : " does not exist"));
  if (o.output.empty()) return;  // a dry run
  if (lies_in(o.output, o.input))
    throw Error(ErrorCode::usage, "--out lies inside the export; choose a directory outside it");
  const auto outside = [&](const char* option, const std::optional<fs::path>& path) {
    if (path && lies_in(*path, o.output))
      throw Error(ErrorCode::usage, std::string(option) +
                                        " lies inside the dataset (--out), which is there to be "
                                        "passed on: choose a place outside");
  };
  outside("the export", o.input);
  outside("--manifest", o.manifest);
  outside("--labels", o.labels);
  outside("--masks", o.masks);
  outside("--masks-table", o.masks_table);
  outside("--site-key", o.site_key);
  outside("--new-site-key", o.new_site_key);
  outside("--crosswalk", o.crosswalk);
  outside("--mask-cache", o.mask_cache);
  const auto apart = [&](const char* option, const std::optional<fs::path>& path) {
    if (path && lies_in(*path, o.input))
      throw Error(ErrorCode::usage,
                  std::string(option) +
                      " lies inside the export, where the next run would read it as an input file: "
                      "choose a place outside");
  };
  apart("--site-key", o.site_key);
  apart("--new-site-key", o.new_site_key);
  apart("--crosswalk", o.crosswalk);
  apart("--mask-cache", o.mask_cache);
  if (o.crosswalk) check_crosswalk(*o.crosswalk);
}

namespace {

// What a run.json says; empty where there is none. One that cannot be read counts as that of a
// complete dataset of unknown options.
nlohmann::json run_of(const fs::path& state) {
  if (!fs::exists(state / "run.json")) return nlohmann::json::object();
  try {
    if (nlohmann::json run = load_json(state / "run.json"); run.is_object()) return run;
  } catch (const Error&) {  // broken
  }
  return {{"completed", true}};
}

// The state that dataset.json names; where it is lost, one that was complete; else the directory
// itself, where an earlier version kept its files.
fs::path standing_state(const fs::path& root) {
  try {
    return state_directory(root);
  } catch (const Error&) {
    for (const fs::path& left : unnamed_states(root))
      if (run_of(left).value("state", "") == "done") return left;
    return root;
  }
}

// Nothing but what a run that was killed before its first file stood leaves.
bool holds_nothing(const fs::path& directory) {
  return std::all_of(
      fs::directory_iterator(directory), fs::directory_iterator(),
      [](const fs::directory_entry& e) { return e.path().filename() == "run.json.tmp"; });
}

bool is_ours(const fs::path& root) {
  if (fs::exists(standing_state(root) / "run.json")) return true;
  const auto left = unnamed_states(root);
  if (std::any_of(left.begin(), left.end(),
                  [](const fs::path& state) { return fs::exists(state / "run.json"); }))
    return true;
  return std::all_of(fs::directory_iterator(root), fs::directory_iterator(),
                     [&](const fs::directory_entry& e) {
                       return e.path().filename() == "run.json.tmp" ||
                              (std::find(left.begin(), left.end(), e.path()) != left.end() &&
                               holds_nothing(e.path()));
                     });
}

// A dataset must go on as it was made, unless by force.
void check_traits(const nlohmann::json& run, const RunTraits& traits) {
  if (run.value("config_hash", "") != traits.options_hash)
    throw Error(ErrorCode::output,
                "the output directory holds a dataset made with other options; choose another "
                "--out, or add --force to replace it");
  const auto part = run.value("part", "");
  if (part != traits.part)
    throw Error(ErrorCode::output,
                "--out holds " + (part.empty() ? "a whole dataset" : "part " + part) + ", and " +
                    (traits.part.empty() ? "the whole" : "part " + traits.part) +
                    " is asked for; give each part its own --out, or add --force to replace it");
  // Absent in what an earlier version made.
  if (!traits.site_key.empty() && run.value("site_key", traits.site_key) != traits.site_key)
    throw Error(ErrorCode::output,
                "the dataset in --out was made with another site key, under which every subject "
                "and case has another name: give that key, choose another --out, or add --force "
                "to replace the dataset");
  if (run.value("labels", traits.labels) && !traits.labels)
    throw Error(ErrorCode::output,
                "the dataset in --out was made with a label table, and none is given: add "
                "--labels, choose another --out, or add --force to replace the dataset");
}

}  // namespace

Standing judge_output(const fs::path& root, const RunTraits& traits, bool force) {
  if (!is_ours(root))
    throw Error(
        ErrorCode::output,
        "the output directory is not empty and holds no dataset of ours; choose another --out");
  Standing standing;
  if (force) return standing;
  const fs::path state = standing_state(root);
  const nlohmann::json run = run_of(state);
  const bool complete = fs::exists(root / "dataset.json") || run.value("state", "") == "done" ||
                        run.value("completed", false);
  if (complete) {
    check_traits(run, traits);
    standing.completed = true;
  }
  std::vector<fs::path> lefts = unnamed_states(root);
  std::reverse(lefts.begin(), lefts.end());  // the unfinished one first
  for (const fs::path& left : lefts) {
    if (left == state) continue;
    const auto other = run_of(left);
    if (other.value("config_hash", "") == traits.options_hash &&
        other.value("part", "") == traits.part)
      standing.states.push_back(left);
    else
      log::info("an unfinished run with other options stands in the output and is replaced");
  }
  if (run.value("config_hash", "") == traits.options_hash) standing.states.push_back(state);
  if (complete && fs::is_directory(state / "cases"))
    for (const auto& entry : fs::directory_iterator(state / "cases"))
      if (entry.path().extension() == ".json") standing.cases.insert(entry.path().stem().string());
  return standing;
}

std::size_t finished_cases(const fs::path& root) {
  try {
    return load_json(root / "dataset.json").at("counts").at("cases").get<std::size_t>();
  } catch (const std::exception&) {
    return 0;
  }
}

OutputDirectory::OutputDirectory(const fs::path& root, RunTraits traits, std::string tool_version,
                                 bool force)
    : root_(root),
      next_(next_state(root)),
      traits_(std::move(traits)),
      tool_version_(std::move(tool_version)),
      started_unix_(now_unix()) {
  std::error_code ec;
  made_ = !fs::exists(root_, ec);
  fs::create_directories(root_, ec);
  if (ec)
    throw Error(ErrorCode::output, "cannot create " + root_.string() + ": " + ec.message() +
                                       ". Choose an --out that you may write to");
  lock_.emplace(root_);
  if (!fs::is_empty(root_, ec)) standing_ = judge_output(root_, traits_, force);
}

OutputDirectory::~OutputDirectory() {
  std::error_code ec;
  if (made_) fs::remove(root_, ec);  // leaves a directory that holds anything
}

void OutputDirectory::claim() {
  std::error_code ec;
  const auto check = [&](const fs::path& path) {
    if (ec)
      throw Error(ErrorCode::output, "cannot write " + path.string() + ": " + ec.message() +
                                         ". Choose an --out that you may write to");
  };
  // 1. What a run of other options left.
  const auto& states = standing_.states;
  if (std::find(states.begin(), states.end(), next_) == states.end()) fs::remove_all(next_, ec);
  check(next_);
  // 2. From here on the folder is this run's, also where it is killed at the next step.
  fs::create_directories(next_, ec);
  check(next_);
  write_run("running");
  for (const char* part : {"shards", "cases", "previews"}) {
    fs::create_directories(next_ / part, ec);
    check(next_ / part);
  }
}

void OutputDirectory::commit(const nlohmann::json& fields, const DatasetLayout& layout) {
  standing_.completed = true;
  write_run("done");
  publish_state(root_, fields, layout);
}

void OutputDirectory::write_run(const char* state) const {
  const nlohmann::json run{{"state", state},
                           {"completed", standing_.completed},
                           {"config_hash", traits_.options_hash},
                           {"site_key", traits_.site_key},
                           {"labels", traits_.labels},
                           {"part", traits_.part},
                           {"started_unix", started_unix_},
                           {"written_unix", now_unix()},
                           {"tool_version", tool_version_}};
  write_file_atomic(next_ / "run.json", json_text(run, 2) + "\n");
}

}  // namespace wsp
