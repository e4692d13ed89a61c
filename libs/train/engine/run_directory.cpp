#include "train/engine/run_directory.hpp"

#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"

namespace wsp::train {

RunDirectory::RunDirectory(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code code;
  std::filesystem::create_directories(path_, code);
  if (code) throw Error(ErrorCode::output, "cannot make " + path_.string() + ": " + code.message());
  lock_ = std::make_unique<DirectoryLock>(path_);
}

void RunDirectory::write_json(const char* name, const nlohmann::json& value) const {
  write_file_atomic(path_ / name, value.dump(2) + "\n");
}

}  // namespace wsp::train
