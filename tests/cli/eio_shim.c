/* Preloaded by walk.py: a directory whose path holds WSP_EIO breaks off after two entries, and a file cannot be read. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int marked(int fd) {
  const char* mark = getenv("WSP_EIO");
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (mark == NULL || n < 0) return 0;
  path[n] = '\0';
  return strstr(path, mark) != NULL;
}

#define READDIR(NAME, TYPE)                                                        \
  struct TYPE* NAME(DIR* directory) {                                              \
    static __thread DIR* last;                                                     \
    static __thread int count;                                                     \
    struct TYPE* (*real)(DIR*) = (struct TYPE * (*)(DIR*)) dlsym(RTLD_NEXT, #NAME); \
    if (directory != last) count = 0;                                              \
    last = directory;                                                              \
    if (marked(dirfd(directory)) && count++ >= 4) { /* "." and ".." too */         \
      errno = EIO;                                                                 \
      return NULL;                                                                 \
    }                                                                              \
    return real(directory);                                                        \
  }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

ssize_t read(int fd, void* buffer, size_t count) {
  ssize_t (*real)(int, void*, size_t) = (ssize_t(*)(int, void*, size_t))dlsym(RTLD_NEXT, "read");
  if (marked(fd)) {
    errno = EIO;
    return -1;
  }
  return real(fd, buffer, count);
}

#define PREAD(NAME, TYPE)                                                                             \
  ssize_t NAME(int fd, void* buffer, size_t count, TYPE at) {                                         \
    ssize_t (*real)(int, void*, size_t, TYPE) = (ssize_t(*)(int, void*, size_t, TYPE))dlsym(RTLD_NEXT, #NAME); \
    if (marked(fd)) {                                                                                 \
      errno = EIO;                                                                                    \
      return -1;                                                                                      \
    }                                                                                                 \
    return real(fd, buffer, count, at);                                                               \
  }
PREAD(pread, off_t)
PREAD(pread64, off64_t)
