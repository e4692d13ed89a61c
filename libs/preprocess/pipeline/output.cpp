#include "preprocess/pipeline/output.hpp"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"
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

Standing judge_output(const fs::path& root, const RunTraits& traits, bool force) {
  // Killed before its first file stood: nothing is here yet.
  if (!fs::exists(root / "run.json") &&
      std::all_of(fs::directory_iterator(root), fs::directory_iterator(),
                  [](const fs::directory_entry& e) { return e.path().filename() == "run.json.tmp"; }))
    return {};
  if (!fs::exists(root / "run.json"))
    throw Error(
        ErrorCode::output,
        "the output directory is not empty and holds no dataset of ours; choose another --out");
  nlohmann::json run;
  try {
    run = load_json(root / "run.json");
  } catch (const Error&) {
    run = {{"completed", true}};  // cannot be told: as careful as with a complete one
  }
  const bool same = run.value("config_hash", "") == traits.options_hash;
  // An unfinished update of a dataset that was complete once still holds what it held.
  const bool was_complete = run.value("state", "") == "done" || run.value("completed", false) ||
                            fs::exists(root / "dataset.json");
  if (!same && was_complete && !force)
    throw Error(ErrorCode::output,
                "the output directory holds a dataset made with other options; choose another "
                "--out, or add --force to replace it");
  // Absent in what an earlier version made.
  if (same && was_complete && !force) {
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
  if (!same && !was_complete)
    log::info("an unfinished run with other options stands in the output and is replaced");
  Standing standing{!same || force, was_complete && same && !force, {}};
  if (standing.completed && fs::is_directory(root / "cases"))
    for (const auto& entry : fs::directory_iterator(root / "cases"))
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
  // 0. From here on the directory is this run's, also where it is killed at the next step.
  write_run("running");
  // 1. Readers look for dataset.json: without it the directory is no dataset.
  fs::remove(root_ / "dataset.json", ec);
  if (ec)
    throw Error(ErrorCode::output, "cannot write into " + root_.string() + ": " + ec.message() +
                                       ". Choose an --out that you may write to");
  // 2. What another configuration made.
  if (standing_.replace)
    for (const char* part : {"index.h5", "shards", "cases", "previews", "ledger.tsv",
                             "quarantine.tsv", kComparisonFile})
      fs::remove_all(root_ / part, ec);
  // 3. The place of this run.
  for (const char* part : {"shards", "cases", "previews"}) {
    fs::create_directories(root_ / part, ec);
    if (ec)
      throw Error(ErrorCode::output, "cannot create " + (root_ / part).string() + ": " +
                                         ec.message() + ". Choose an --out that you may write to");
  }
}

void OutputDirectory::finish() {
  standing_.completed = true;
  write_run("done");
}

void OutputDirectory::write_run(const char* state) const {
  const nlohmann::json run{{"state", state},
                           {"completed", standing_.completed},
                           {"config_hash", traits_.options_hash},
                           {"site_key", traits_.site_key},
                           {"labels", traits_.labels},
                           {"started_unix", started_unix_},
                           {"written_unix", now_unix()},
                           {"tool_version", tool_version_}};
  write_file_atomic(root_ / "run.json", json_text(run, 2) + "\n");
}

}  // namespace wsp
