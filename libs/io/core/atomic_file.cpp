#include "io/core/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"

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
    text += ". Free some space; what was published before is whole, and the job can be resumed.";
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
  Descriptor(Descriptor&& other) noexcept
      : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
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

// True where `path` holds exactly these bytes already and is open to no one to whom `mode` is not.
bool stands(const std::filesystem::path& path, std::span<const std::uint8_t> bytes, unsigned mode) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) ||
      (info.st_mode & 07777U & ~mode) != 0 ||
      static_cast<std::size_t>(info.st_size) != bytes.size())
    return false;
  const std::string old = read_file(path);
  return std::equal(bytes.begin(), bytes.end(), old.begin(), old.end(),
                    [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); });
}

bool same_content(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(b, ec) ||
      std::filesystem::file_size(a, ec) != std::filesystem::file_size(b, ec) || ec)
    return false;
  return sha256_file(a) == sha256_file(b);
}

void sync_directory(const std::filesystem::path& directory) {
  before(FileStep::sync_directory, directory);
  const Descriptor handle(directory.empty() ? "." : directory, O_RDONLY | O_DIRECTORY);
  if (::fsync(handle.get()) != 0) fail("sync", directory);
}

void rename_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  before(FileStep::rename, path);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail("rename to", path);
}

void rename_and_sync(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  rename_file(temporary, path);
  sync_directory(path.parent_path());
}

std::span<const std::uint8_t> bytes_of_text(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

enum class Durability { synced, later };

// A new file with these bytes, open still: what stood there (a kill's leavings, a link) goes.
Descriptor write_new(const std::filesystem::path& temporary, const std::filesystem::path& path,
                     std::span<const std::uint8_t> bytes, unsigned mode) {
  before(FileStep::open, path);
  ::unlink(temporary.c_str());
  Descriptor file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
  before(FileStep::write, path);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path);
    done += static_cast<std::size_t>(n);
  }
  return file;
}

void publish_bytes(const std::filesystem::path& path, std::span<const std::uint8_t> bytes,
                   unsigned mode, Durability durability) {
  if (stands(path, bytes, mode)) return;
  // 1. Write everything into a temporary file beside the target.
  const std::filesystem::path temporary = path.string() + ".tmp";
  Cleanup cleanup{temporary};
  Descriptor file = write_new(temporary, path, bytes, mode);
  // 2. Only bytes that the disk holds may become visible.
  if (durability == Durability::synced) {
    before(FileStep::sync, path);
    if (::fsync(file.get()) != 0) fail("sync", path);
  }
  before(FileStep::close, path);
  file.close();
  // 3. One rename shows the whole file; the directory entry is made durable too.
  if (durability == Durability::synced)
    rename_and_sync(temporary, path);
  else
    rename_file(temporary, path);
  cleanup.armed = false;
}

}  // namespace

void set_file_fault_hook(std::function<void(FileStep, const std::filesystem::path&)> new_hook) {
  hook() = std::move(new_hook);
}

void write_file_atomic(const std::filesystem::path& path, std::span<const std::uint8_t> bytes,
                       unsigned mode) {
  publish_bytes(path, bytes, mode, Durability::synced);
}

void write_file_atomic(const std::filesystem::path& path, std::string_view text, unsigned mode) {
  publish_bytes(path, bytes_of_text(text), mode, Durability::synced);
}

void write_file_unsynced(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  publish_bytes(path, bytes, 0644, Durability::later);
}

void write_file_unsynced(const std::filesystem::path& path, std::string_view text) {
  publish_bytes(path, bytes_of_text(text), 0644, Durability::later);
}

void sync_filesystem(const std::filesystem::path& directory) {
  before(FileStep::sync, directory);
  const Descriptor handle(directory, O_RDONLY | O_DIRECTORY);
  if (::syncfs(handle.get()) != 0) fail("sync", directory);
}

void write_temporary(const std::filesystem::path& temporary, std::span<const std::uint8_t> bytes) {
  Cleanup cleanup{temporary};
  Descriptor file = write_new(temporary, temporary, bytes, 0644);
  before(FileStep::close, temporary);
  file.close();
  cleanup.armed = false;
}

bool publish_new(const std::filesystem::path& path, std::string_view text, unsigned mode) {
  // The name is this call's own: two that start together do not share it.
  static std::atomic<int> calls{0};
  const std::filesystem::path temporary =
      path.string() + "." + std::to_string(::getpid()) + "-" + std::to_string(++calls) + ".tmp";
  const Cleanup cleanup{temporary};
  Descriptor file = write_new(temporary, path, bytes_of_text(text), mode);
  before(FileStep::sync, path);
  if (::fsync(file.get()) != 0) fail("sync", path);
  file.close();
  // A link never replaces what stands there; file systems without links have a rename that does
  // not.
  before(FileStep::rename, path);
  bool made = ::link(temporary.c_str(), path.c_str()) == 0;
  if (!made && errno != EEXIST)
    made = ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0;
  if (!made && errno == EEXIST) return false;
  if (!made) fail("make", path);
  sync_directory(path.parent_path());
  return true;
}

void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  Cleanup cleanup{temporary};
  if (same_content(temporary, path)) return;
  {
    const Descriptor file(temporary, O_RDONLY);
    before(FileStep::sync, path);
    if (::fsync(file.get()) != 0) fail("sync", path);
  }
  rename_and_sync(temporary, path);
  cleanup.armed = false;
}

void publish_directory(const std::filesystem::path& made, const std::filesystem::path& path) {
  before(FileStep::rename, path);
  const auto renamed = [&] { return ::rename(made.c_str(), path.c_str()) == 0; };
  if (!renamed() &&
      ::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
    std::error_code ec;
    const std::filesystem::path aside = path.string() + ".old";
    std::filesystem::remove_all(aside, ec);
    std::filesystem::rename(path, aside, ec);
    if (!renamed()) fail("rename to", path);
  }
  sync_directory(path.parent_path());
}

std::string read_file(const std::filesystem::path& path) {
  // By read(2): a stream that fails half-way (EIO, a directory) looks like a short file. Without
  // O_NONBLOCK, opening a FIFO would wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    throw Error(ErrorCode::failure, "cannot open " + path.string() + ": " + std::strerror(errno));
  struct stat info {};
  if (::fstat(fd, &info) == 0 && !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw Error(ErrorCode::failure, "cannot read " + path.string() + ": expected a regular file");
  }
  std::string text;
  std::vector<char> buffer(1 << 20);
  ssize_t n = 0;
  while ((n = ::read(fd, buffer.data(), buffer.size())) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  const int code = errno;
  ::close(fd);
  if (n < 0)
    throw Error(ErrorCode::failure, "cannot read " + path.string() + ": " + std::strerror(code));
  return text;
}

}  // namespace wsp
