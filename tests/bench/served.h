/*
 * served.h - for the benches' plain programs, which run on the library in LD_PRELOAD: a clock, and
 * the proof that malloc is that library's, since one that cannot be loaded would be a silent
 * measurement of the C library.
 */
#ifndef ALLOCLAB_BENCH_SERVED_H
#define ALLOCLAB_BENCH_SERVED_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* True if malloc is the library's. */
static inline bool served_by(const char *library)
{
    struct stat wanted, serving;
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    return address && dladdr(address, &info) && !stat(library, &wanted) &&
           !stat(info.dli_fname, &serving) && wanted.st_ino == serving.st_ino &&
           wanted.st_dev == serving.st_dev;
}

#endif
