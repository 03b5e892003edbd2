/*
 * record_shim.c - the least that a recorder can do with causal stamps, to measure ours beside: malloc and free append
 * 16 bytes, address and stamp, to a shared mapping of a file; free before the call, malloc after it, behind a fence. No
 * sizes, no other calls, no threads, no fork, no full disk: RECORD_SHIM names the file, of 8 GiB at most.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/ticks.h"

#define WINDOW ((size_t)16 << 20)

static struct {
    uint64_t address, stamp;
} * at, *end;
static void *(*next_malloc)(size_t);
static void (*next_free)(void *);
static int fd = -1;
static off_t offset;

static void window_next(void)
{
    if (end)
        munmap((char *)end - WINDOW, WINDOW);
    if (fd < 0 || posix_fallocate(fd, offset, WINDOW) != 0)
        abort();
    at = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    if (at == MAP_FAILED)
        abort();
    end = at + WINDOW / sizeof *at;
    offset += (off_t)WINDOW;
}

__attribute__((constructor)) static void start(void)
{
    *(void **)&next_free = dlsym(RTLD_NEXT, "free");
    *(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
    const char *path = getenv("RECORD_SHIM");
    if (path)
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    window_next();
}

static inline void note(void *p)
{
    if (at == end)
        window_next();
    at->address = (uintptr_t)p;
    at->stamp = ticks_end();
    at++;
}

void *malloc(size_t size)
{
    if (!next_malloc)
        start();
    void *p = next_malloc(size);
    note(p);
    return p;
}

void free(void *p)
{
    if (!next_malloc)
        start();
    note(p);
    next_free(p);
}
