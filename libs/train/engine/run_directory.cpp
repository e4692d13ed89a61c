#include "train/engine/run_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"

namespace wsp::train {

RunDirectory::RunDirectory(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code code;
  std::filesystem::create_directories(path_, code);
  if (code) throw Error(ErrorCode::output, "cannot make " + path_.string() + ": " + code.message());
  lock_ = ::open((path_ / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0)
    throw Error(ErrorCode::output,
                path_.string() + " is not writable: " + std::strerror(errno));
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  const int reason = errno;
  ::close(lock_);
  throw Error(ErrorCode::output,
              reason == EWOULDBLOCK
                  ? path_.string() + " is in use: another wsp-train runs in it. Wait for it, stop it, "
                                     "or give another --out"
                  : "cannot lock " + path_.string() + ": " + std::strerror(reason));
}

RunDirectory::~RunDirectory() { ::close(lock_); }

void RunDirectory::write_json(const char* name, const nlohmann::json& value) const {
  write_file_atomic(path_ / name, value.dump(2) + "\n");
}

}  // namespace wsp::train
