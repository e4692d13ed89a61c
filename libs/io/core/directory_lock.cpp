#include "io/core/directory_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "io/core/error.hpp"
#include "io/core/log.hpp"

namespace wsp {
namespace {

// The directory may be removed and made anew between open() and flock().
bool still_there(int descriptor, const std::filesystem::path& directory) {
  struct stat held {
  }, named{};
  return ::fstat(descriptor, &held) == 0 && ::stat(directory.c_str(), &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

}  // namespace

DirectoryLock::DirectoryLock(const std::filesystem::path& directory) {
  do {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor_ < 0)
      throw Error(ErrorCode::output,
                  "cannot open the directory " + directory.string() + ": " + std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int code = errno;
      if (code == EWOULDBLOCK) {
        ::close(descriptor_);
        throw Error(ErrorCode::output, "another run is writing into " + directory.string() +
                                           ": wait until it ends, or choose another --out");
      }
      log::warn(std::string("this file system has no locks (") + std::strerror(code) +
                "): make sure that no other run writes into the same output");
      return;
    }
  } while (!still_there(descriptor_, directory));
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace wsp
