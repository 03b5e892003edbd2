/*
 * ticks.h - the clock of the latency pass: the processor's counter, read so that no instruction of
 * the timed call is outside and none of the surroundings inside.
 *
 * x86-64: rdtsc between two lfences before the call, rdtscp and an lfence after it: an lfence waits
 * until all instructions before it are done, rdtscp until all before itself are. arm64: cntvct_el0
 * between instruction barriers. riscv64: rdtime between fences. Elsewhere CLOCK_MONOTONIC. All
 * count at a constant rate, which is not the processor's clock; two readings of the machine's own
 * clock give the rate.
 */
#ifndef ALLOCLAB_TICKS_H
#define ALLOCLAB_TICKS_H

#include <stdint.h>

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(__riscv)
#include <time.h>
#endif

static inline uint64_t ticks_begin(void)
{
#if defined(__x86_64__)
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
#elif defined(__aarch64__)
    uint64_t now;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(now)::"memory");
    return now;
#elif defined(__riscv) && __riscv_xlen == 64
    uint64_t now;
    __asm__ volatile("fence\n\trdtime %0\n\tfence" : "=r"(now)::"memory");
    return now;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

static inline uint64_t ticks_end(void)
{
#if defined(__x86_64__)
    uint32_t low, high, cpu;
    __asm__ volatile("rdtscp\n\tlfence" : "=a"(low), "=d"(high), "=c"(cpu)::"memory");
    return (uint64_t)high << 32 | low;
#else
    return ticks_begin();
#endif
}

/* What two reads with nothing between them cost (the median), and the least distance of two
 * readings that differ: the clock's step, or a read's time if that is more. */
struct ticks_cost {
    uint64_t read, step;
};
struct ticks_cost ticks_cost(void);

/* A reading of both clocks at one instant; the rate from two of them. */
struct ticks_pair {
    uint64_t ticks, ns;
};
struct ticks_pair ticks_pair(void);
/* Nanoseconds of a tick: from `start` to now, at least 50 ms later: it waits for that. */
double ticks_ns(const struct ticks_pair *start);

#endif
