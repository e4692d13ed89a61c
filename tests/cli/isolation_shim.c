/* Preloaded by isolation.py: a decoder's faults, played where a real one would strike. Only in a process that was caged (its
   filter of system calls refuses prctl), what opens a file whose path holds
     CRASH    writes to no memory,
     SPIN     computes for ever,
     BALLOON  takes memory without end,
     SLEEP    waits for ever,
   and for LATE- before these words, only once OpenJPEG decodes the pixels of that file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

static char late[32];

static void act(const char* word) {
  if (strncmp(word, "CRASH", 5) == 0) *(volatile int*)0 = 1;
  if (strncmp(word, "SPIN", 4) == 0)
    for (volatile unsigned i = 0;; ++i) {
    }
  if (strncmp(word, "BALLOON", 7) == 0)
    for (;;) {
      char* more = malloc(1 << 24);
      if (more == NULL) abort();
      more[0] = 1;
    }
  if (strncmp(word, "SLEEP", 5) == 0)
    for (;;) nanosleep(&(struct timespec){1, 0}, NULL);
}

static void look(const char* path) {
  static const char* words[] = {"CRASH", "SPIN", "BALLOON", "SLEEP"};
  const int before = errno;
  if (path != NULL && prctl(PR_GET_SECCOMP) == -1)
    for (int i = 0; i < 4; ++i) {
      const char* at = strstr(path, words[i]);
      if (at == NULL) continue;
      if (at - path >= 5 && strncmp(at - 5, "LATE-", 5) == 0)
        strcpy(late, words[i]);
      else
        act(words[i]);
    }
  errno = before;
}

#define REAL(NAME, TYPE) ((TYPE)dlsym(RTLD_NEXT, NAME))

FILE* fopen(const char* path, const char* mode) {
  late[0] = 0;
  look(path);
  return REAL("fopen", FILE * (*)(const char*, const char*))(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  late[0] = 0;
  look(path);
  return REAL("fopen64", FILE * (*)(const char*, const char*))(path, mode);
}
#define OPEN(NAME)                                                        \
  int NAME(const char* path, int flags, ...) {                            \
    va_list rest;                                                         \
    va_start(rest, flags);                                                \
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;       \
    va_end(rest);                                                         \
    look(path);                                                           \
    return REAL(#NAME, int (*)(const char*, int, ...))(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
int opj_decode(void* codec, void* stream, void* image) {
  act(late);
  return REAL("opj_decode", int (*)(void*, void*, void*))(codec, stream, image);
}
