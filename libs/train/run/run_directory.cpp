#include "train/run/run_directory.hpp"

#include <ctime>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"

namespace wsp::train {

RunDirectory::RunDirectory(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code code;
  std::filesystem::create_directories(path_, code);
  if (code) throw Error(ErrorCode::output, "cannot make " + path_.string() + ": " + code.message());
  lock_ = std::make_unique<DirectoryLock>(path_);
}

void RunDirectory::write_json(const char* name, const nlohmann::json& value) const {
  write_file_atomic(path_ / name, json_text(value, 2) + "\n");
}

void judge_run_directory(const std::filesystem::path& run, std::span<const std::string> files,
                         bool may_exist) {
  if (std::filesystem::exists(run / "dataset.json"))
    throw Error(ErrorCode::output,
                run.string() + " is a dataset: give the run an --out of its own");
  if (may_exist) return;
  for (const std::string& name : files)
    if (std::filesystem::exists(run / name))
      throw Error(ErrorCode::output, run.string() + " holds a run already (" + name +
                                         "): go on with --resume, start it again with --force, or "
                                         "give another --out");
}

void remove_halves(const std::filesystem::path& run, std::span<const std::string> files) {
  std::error_code absent;
  for (const std::string& name : files) std::filesystem::remove(run / (name + ".tmp"), absent);
}

void clear_run_directory(const std::filesystem::path& run, std::span<const std::string> files) {
  for (const std::string& name : files)
    if (std::filesystem::is_regular_file(run / name)) std::filesystem::remove(run / name);
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(run / "tensorboard", absent))
    if (entry.path().filename().string().starts_with("events.out.tfevents"))
      std::filesystem::remove(entry);
  std::filesystem::remove_all(run / "tensorboard" / "plugins", absent);
}

std::string utc_now() {
  char now[32] = "";
  const std::time_t seconds = std::time(nullptr);
  std::tm parts{};
  std::strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&seconds, &parts));
  return now;
}

}  // namespace wsp::train
