/*
 * env.h - what the machine gives a design's alloc_env: its clock and its CPU, for every heap that
 * is not observed. Both keep no state and may be called by any thread; a clock read costs some 20
 * ns.
 */
#ifndef ALLOCLAB_ENV_H
#define ALLOCLAB_ENV_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

/* The monotonic clock. */
static inline uint64_t env_now_ns(void *ctx)
{
    struct timespec now;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The CPU that the calling thread runs on, or did a moment ago; 0 where the kernel does not tell. */
static inline unsigned env_cpu(void *ctx)
{
    (void)ctx;
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (unsigned)cpu;
}

#endif
