/* Preloaded by system_faults.py: of the calls named in WSP_FAULT ("read", "readdir" or "stat") on paths that hold WSP_FAULT_PATH,
   the one numbered WSP_FAULT_AT (from 0) fails with EIO, and no other does. Each is counted in the file WSP_FAULT_LOG. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int calls;

static int fails(const char* what, const char* path) {
  const char *wanted = getenv("WSP_FAULT"), *mark = getenv("WSP_FAULT_PATH"), *at = getenv("WSP_FAULT_AT");
  if (wanted == NULL || mark == NULL || at == NULL || strcmp(wanted, what) != 0 || strstr(path, mark) == NULL) return 0;
  const int number = atomic_fetch_add(&calls, 1);
  const char* log = getenv("WSP_FAULT_LOG");
  if (log != NULL) {
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
      if (write(fd, "x", 1) < 0) abort();
      close(fd);
    }
  }
  if (number != atoi(at)) return 0;
  errno = EIO;
  return 1;
}

static int fails_fd(const char* what, int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = '\0';
  return fails(what, path);
}

#define REAL(NAME, TYPE) ((TYPE)dlsym(RTLD_NEXT, NAME))

ssize_t read(int fd, void* to, size_t count) {
  return fails_fd("read", fd) ? -1 : REAL("read", ssize_t(*)(int, void*, size_t))(fd, to, count);
}
ssize_t pread(int fd, void* to, size_t count, off_t at) {
  return fails_fd("read", fd) ? -1 : REAL("pread", ssize_t(*)(int, void*, size_t, off_t))(fd, to, count, at);
}
ssize_t pread64(int fd, void* to, size_t count, off64_t at) {
  return fails_fd("read", fd) ? -1 : REAL("pread64", ssize_t(*)(int, void*, size_t, off64_t))(fd, to, count, at);
}
size_t fread(void* to, size_t size, size_t count, FILE* file) {
  return fails_fd("read", fileno(file)) ? 0 : REAL("fread", size_t(*)(void*, size_t, size_t, FILE*))(to, size, count, file);
}
struct dirent* readdir(DIR* directory) {
  return fails_fd("readdir", dirfd(directory)) ? NULL : REAL("readdir", struct dirent * (*)(DIR*))(directory);
}
struct dirent64* readdir64(DIR* directory) {
  return fails_fd("readdir", dirfd(directory)) ? NULL : REAL("readdir64", struct dirent64 * (*)(DIR*))(directory);
}
int stat(const char* path, struct stat* info) {
  return fails("stat", path) ? -1 : REAL("stat", int (*)(const char*, struct stat*))(path, info);
}
int stat64(const char* path, struct stat64* info) {
  return fails("stat", path) ? -1 : REAL("stat64", int (*)(const char*, struct stat64*))(path, info);
}
