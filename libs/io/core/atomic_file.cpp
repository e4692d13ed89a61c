#include "io/core/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "io/core/error.hpp"

namespace wsp {
namespace {

std::function<void(FileStep, const std::filesystem::path&)>& hook() {
  static std::function<void(FileStep, const std::filesystem::path&)> instance;
  return instance;
}

void before(FileStep step, const std::filesystem::path& path) {
  if (hook()) hook()(step, path);
}

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  const int code = errno;
  std::string text =
      std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT)
    text += ". Free some space and run the same command again; it resumes.";
  if (code == EACCES || code == EROFS)
    text += ". Choose an output directory that you may write to.";
  throw Error(ErrorCode::output, text);
}

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags, unsigned mode = 0) : path_(path) {
    fd_ = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd_ < 0) fail("open", path);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  void close() {
    const int fd = fd_;
    fd_ = -1;
    if (::close(fd) != 0) fail("close", path_);
  }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// Removes a temporary file unless it was published.
struct Cleanup {
  std::filesystem::path path;
  bool armed = true;
  ~Cleanup() {
    if (armed) ::unlink(path.c_str());
  }
};

void sync_directory(const std::filesystem::path& directory) {
  before(FileStep::sync_directory, directory);
  const Descriptor handle(directory.empty() ? "." : directory, O_RDONLY | O_DIRECTORY);
  if (::fsync(handle.get()) != 0) fail("sync", directory);
}

void rename_and_sync(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  before(FileStep::rename, path);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail("rename to", path);
  sync_directory(path.parent_path());
}

}  // namespace

void set_file_fault_hook(std::function<void(FileStep, const std::filesystem::path&)> new_hook) {
  hook() = std::move(new_hook);
}

void write_file_atomic(const std::filesystem::path& path, std::span<const std::uint8_t> bytes,
                       unsigned mode) {
  // 1. Write everything into a temporary file beside the target.
  const std::filesystem::path temporary = path.string() + ".tmp";
  Cleanup cleanup{temporary};
  before(FileStep::open, path);
  Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode);
  before(FileStep::write, path);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path);
    done += static_cast<std::size_t>(n);
  }
  if (::fchmod(file.get(), mode) != 0) fail("set the mode of", path);
  // 2. Only bytes that the disk holds may become visible.
  before(FileStep::sync, path);
  if (::fsync(file.get()) != 0) fail("sync", path);
  before(FileStep::close, path);
  file.close();
  // 3. One rename shows the whole file; the directory entry is made durable too.
  rename_and_sync(temporary, path);
  cleanup.armed = false;
}

void write_file_atomic(const std::filesystem::path& path, std::string_view text, unsigned mode) {
  write_file_atomic(
      path, std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()), mode);
}

void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  Cleanup cleanup{temporary};
  {
    const Descriptor file(temporary, O_RDONLY);
    before(FileStep::sync, path);
    if (::fsync(file.get()) != 0) fail("sync", path);
  }
  rename_and_sync(temporary, path);
  cleanup.armed = false;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw Error(ErrorCode::failure, "cannot open " + path.string() + ": " + std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad()) throw Error(ErrorCode::failure, "cannot read " + path.string() + " to its end");
  return std::move(text).str();
}

}  // namespace wsp
