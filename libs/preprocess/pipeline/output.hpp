#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "io/core/directory_lock.hpp"
#include "io/shard/dataset.hpp"
#include "preprocess/pipeline/ingest.hpp"

namespace wsp {

/// Refuse inputs and outputs that lie where they must not: anything inside the dataset (it would be
/// published with it), the dataset, the site key or the crosswalk inside the export (they would
/// become its files), a crosswalk that cannot be written or would replace a file that is none.
/// Throws Error(usage), Error(no_input), Error(output); touches nothing.
void check_places(const IngestOptions& options);

/// What stands where a dataset is to be made.
struct Standing {
  bool completed = false;       ///< a dataset of these options, complete once
  std::set<std::string> cases;  ///< of that dataset
  /// Where finished cases may be taken over from, the best first: what an interrupted run of these
  /// options left, then the dataset that stands. None by force.
  std::vector<std::filesystem::path> states;
};
/// What a run must have in common with the one whose dataset it updates.
struct RunTraits {
  std::string options_hash =
      "";                     ///< of the configuration without the tool's version and data epoch
  std::string site_key = "";  ///< Naming::key_digest(); empty where a dry run has no key
  bool labels = false;        ///< a label table is given; a dataset made without may gain one
  std::string part = "";      ///< Part::text()
};
/// Look at an existing, non-empty directory. Throws Error(output) where foreign files stand, and
/// where a dataset that was once complete was made with other options, another site key or labels
/// that are not given now, unless `force`; touches nothing.
Standing judge_output(const std::filesystem::path& root, const RunTraits& traits, bool force);
/// Cases of the complete dataset that stands at `root`; 0 where none does.
std::size_t finished_cases(const std::filesystem::path& root);

/// The dataset directory while an ingest writes into it. Constructing it locks and judges it;
/// nothing in it changes before claim(), so that whatever else is wrong is found first.
class OutputDirectory {
 public:
  /// Throws Error(output) where another run writes, and as judge_output(). What a first run left
  /// unfinished may be replaced.
  OutputDirectory(const std::filesystem::path& root, RunTraits traits, std::string tool_version,
                  bool force);
  /// Removes the directory where it was made here and stayed empty.
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  [[nodiscard]] const Standing& standing() const { return standing_; }
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  /// Where this run writes (next_state()). What stands is not touched before commit().
  [[nodiscard]] const std::filesystem::path& next() const { return next_; }
  /// Make the folders of the next state, without what a run of other options left there. run.json
  /// comes first.
  void claim();
  /// Write run.json as "done" and publish the next state as the dataset (publish_state()).
  void commit(const nlohmann::json& fields, const DatasetLayout& layout);

 private:
  void write_run(const char* state) const;

  std::filesystem::path root_, next_;
  RunTraits traits_;
  std::string tool_version_;
  bool made_ = false;  // the directory did not exist
  Standing standing_;
  std::int64_t started_unix_;
  std::optional<DirectoryLock> lock_;
};

}  // namespace wsp
