#include "train/run/append_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, int code) {
  std::string text =
      std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT)
    text += ". Free some space and resume from the last checkpoint.";
  if (code == EACCES || code == EROFS)
    text += ". Choose an output directory that you may write to.";
  throw Error(ErrorCode::output, text);
}

}  // namespace

AppendFile::AppendFile(std::filesystem::path path, Open mode) : path_(std::move(path)) {
  const int exclusive = mode == Open::create_new ? O_EXCL : 0;
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | exclusive, 0666);
  if (fd_ < 0) fail(mode == Open::create_new ? "create" : "open", path_, errno);
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    const int code = errno;
    ::close(fd_);
    fail("inspect", path_, code);
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

AppendFile::~AppendFile() {
  if (fd_ >= 0) ::close(fd_);
}

void AppendFile::append(std::string_view record) {
  std::size_t done = 0;
  while (done < record.size()) {
    const ssize_t n = ::write(fd_, record.data() + done, record.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int code = n < 0 ? errno : EIO;
      // A part of a record would hide all that is appended later from readers.
      const bool taken_back = ::ftruncate(fd_, static_cast<off_t>(size_)) == 0;
      static_cast<void>(taken_back);  // The first failure is the one to report.
      fail("append to", path_, code);
    }
    done += static_cast<std::size_t>(n);
  }
  size_ += record.size();
}

void AppendFile::truncate(std::uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail("truncate", path_, errno);
  size_ = size;
}

void AppendFile::sync() {
  // Pipes and some network file systems cannot sync: nothing is lost by that.
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP) fail("sync", path_, errno);
}

void AppendFile::close() {
  sync();
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) fail("close", path_, errno);
}

}  // namespace wsp::train
