/* Preloaded by system_faults.py: of the calls named in WSP_FAULT ("read", "readdir" or "stat") on paths that hold WSP_FAULT_PATH,
   the one numbered WSP_FAULT_AT (from 0) fails with EIO, and no other does. They are counted in the file WSP_FAULT_LOG, an int
   that all processes of a run share: those that read files may open none for writing. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int* calls;

__attribute__((constructor)) static void begin(void) {
  const char* log = getenv("WSP_FAULT_LOG");
  if (log == NULL) return;
  const int fd = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof *calls) != 0) abort();
  calls = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (calls == MAP_FAILED) abort();
  close(fd);
}

static int fails(const char* what, const char* path) {
  const char *wanted = getenv("WSP_FAULT"), *mark = getenv("WSP_FAULT_PATH"), *at = getenv("WSP_FAULT_AT");
  if (calls == NULL || wanted == NULL || mark == NULL || at == NULL || strcmp(wanted, what) != 0 || strstr(path, mark) == NULL) return 0;
  if (atomic_fetch_add(calls, 1) != atoi(at)) return 0;
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
