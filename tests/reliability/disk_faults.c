/* Makes a disk fail below a folder, for as long as a switch says so: no space, read only, a failing fsync.

   DF_PREFIX  the folder (absolute)
   DF_SWITCH  a file of three 32-bit numbers, mapped: the errno of writing bytes, of syncing, of changing names; 0 works

   gcc -O2 -shared -fPIC -o disk_faults.so disk_faults.c -ldl; used through LD_PRELOAD by test_g12_disk.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
static volatile int *faults;
static char prefix[4096];
__attribute__((constructor)) static void start(void) {
  const char *p = getenv("DF_PREFIX"), *s = getenv("DF_SWITCH");
  if (!p || !s) return;
  strncpy(prefix, p, sizeof prefix - 1);
  int f = open(s, O_RDWR | O_CLOEXEC);
  if (f < 0) return;
  void *m = mmap(0, 12, PROT_READ, MAP_SHARED, f, 0);
  close(f);
  if (m != MAP_FAILED) faults = m;
}
static int below(const char *path) {
  return faults && path && !strncmp(path, prefix, strlen(prefix));
}
static int opened(int fd) {
  char link[40], path[4096];
  if (!faults || (!faults[0] && !faults[1])) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return below(path);
}
#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, #name)
#define FAIL(which) do { errno = faults[which]; return -1; } while (0)
ssize_t write(int f, const void *b, size_t n) { REAL(ssize_t, write, int, const void *, size_t); if (opened(f) && faults[0]) FAIL(0); return real(f, b, n); }
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) { REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t); if (opened(f) && faults[0]) FAIL(0); return real(f, b, n, o); }
int fsync(int f) { REAL(int, fsync, int); if (opened(f) && faults[1]) FAIL(1); return real(f); }
int fdatasync(int f) { REAL(int, fdatasync, int); if (opened(f) && faults[1]) FAIL(1); return real(f); }
int posix_fallocate64(int f, off64_t o, off64_t n) { REAL(int, posix_fallocate64, int, off64_t, off64_t); if (opened(f) && faults[0]) return faults[0]; return real(f, o, n); }
int rename(const char *a, const char *b) { REAL(int, rename, const char *, const char *); if (below(a) && faults[2]) FAIL(2); return real(a, b); }
int unlinkat(int d, const char *a, int g) { REAL(int, unlinkat, int, const char *, int); if (below(a) && faults[2] == EROFS) FAIL(2); return real(d, a, g); }
int unlink(const char *a) { REAL(int, unlink, const char *); /* a full disk takes less */ if (below(a) && faults[2] == EROFS) FAIL(2); return real(a); }
int mkdir(const char *a, mode_t m) { REAL(int, mkdir, const char *, mode_t); if (below(a) && faults[2]) FAIL(2); return real(a, m); }
static int changes(const char *p, int flags) { return (flags & (O_CREAT | O_TRUNC)) && below(p) && faults[2]; }
#define OPEN(name) int name(const char *p, int fl, ...) { REAL(int, name, const char *, int, ...); va_list a; va_start(a, fl); int m = va_arg(a, int); va_end(a); if (changes(p, fl)) FAIL(2); return real(p, fl, m); }
#define OPENAT(name) int name(int d, const char *p, int fl, ...) { REAL(int, name, int, const char *, int, ...); va_list a; va_start(a, fl); int m = va_arg(a, int); va_end(a); if (changes(p, fl)) FAIL(2); return real(d, p, fl, m); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)
