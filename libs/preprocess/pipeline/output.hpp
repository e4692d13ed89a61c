#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "io/core/directory_lock.hpp"
#include "preprocess/pipeline/ingest.hpp"

namespace wsp {

/// Refuse inputs and outputs that lie where they must not: anything inside the dataset (it would be
/// published with it), the dataset, the site key or the crosswalk inside the export (they would
/// become its files), a crosswalk that cannot be written or would replace a file that is none.
/// Throws Error(usage), Error(no_input), Error(output); touches nothing.
void check_places(const IngestOptions& options);

/// The dataset directory while an ingest writes into it. Constructing it locks and judges it;
/// nothing in it changes before claim(), so that whatever else is wrong is found first.
class OutputDirectory {
 public:
  /// Throws Error(output) where another run writes, where foreign files stand, and where a dataset
  /// that was once complete was made with another configuration, unless `force`. What a first run
  /// left unfinished may be replaced.
  OutputDirectory(const std::filesystem::path& root, std::string config_hash,
                  std::string tool_version, bool force);
  /// Removes the directory where it was made here and stayed empty.
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  /// Cases of the complete dataset that stands here; 0 where none does.
  [[nodiscard]] std::size_t finished_cases() const;
  /// From here on the dataset is incomplete: remove dataset.json, and everything that another
  /// configuration made; make the folders; write run.json.
  void claim();
  /// Write run.json as "done"; dataset.json follows.
  void finish();

 private:
  void write_run(const char* state) const;

  std::filesystem::path root_;
  std::string config_hash_, tool_version_;
  bool made_ = false;       // the directory did not exist
  bool replace_ = false;    // what stands there goes at claim()
  bool completed_ = false;  // this configuration's dataset was complete once
  std::int64_t started_unix_;
  std::optional<DirectoryLock> lock_;
};

}  // namespace wsp
