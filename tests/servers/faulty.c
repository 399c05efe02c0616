/* Preloaded by the tests of faults: lets writes to SQLite files fail, or ends the process there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A shared file, as faulty.py packs it. An `error` below 0 stands for kill -9. */
static struct { long at, lasting, error, calls; } none, *orders = &none;

__attribute__((constructor)) static void start(void) {
    int fd = open(getenv("FAULTY_ORDERS"), O_RDWR);
    void *found = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) orders = found;
    close(fd);
}

static int fails(const char *path) {
    if (!orders->at || !strstr(path, ".sqlite")) return 0;
    long call = __atomic_add_fetch(&orders->calls, 1, __ATOMIC_SEQ_CST);
    if (call < orders->at || (call > orders->at && !orders->lasting)) return 0;
    if (orders->error < 0) kill(getpid(), SIGKILL);
    errno = orders->error;
    return 1;
}

static int fails_at(int fd) {
    char link[32], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && fails(path);
}

#define WRAP(type, name, check, parameters, arguments) \
    type name parameters { \
        type (*real) parameters = dlsym(RTLD_NEXT, #name); \
        return check ? -1 : real arguments; \
    }

WRAP(ssize_t, write, fails_at(fd), (int fd, const void *from, size_t size), (fd, from, size))
WRAP(ssize_t, pwrite64, fails_at(fd), (int fd, const void *from, size_t size, off64_t where),
     (fd, from, size, where))
WRAP(int, ftruncate64, fails_at(fd), (int fd, off64_t size), (fd, size))
WRAP(int, fsync, fails_at(fd), (int fd), (fd))
WRAP(int, fdatasync, fails_at(fd), (int fd), (fd))
WRAP(int, unlink, fails(path), (const char *path), (path))
