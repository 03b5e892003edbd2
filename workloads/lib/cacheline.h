/*
 * cacheline.h - what cachescratch and cachethrash have in common: threads that each allocate one
 * small object, use it, and free it, over and over.
 */
#ifndef ALLOCLAB_CACHELINE_H
#define ALLOCLAB_CACHELINE_H

#include <stdbool.h>

#include "workloads/lib/workload.h"

struct cacheline_options {
    uint64_t ops, threads, size;
    double burst;
};

extern const struct option cacheline_rows[];

/* handed: the first object of each thread is allocated by main. */
int cacheline_emit(const struct cacheline_options *options, uint64_t seed, bool handed,
                   struct trace_writer *out, struct error *err);

#endif
