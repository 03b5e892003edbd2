/*
 * workload.h - a workload: a program that exists only as the trace it would leave. One file a
 * workload, registered by being in workloads/ and ending with WORKLOAD(name) = { ... }.
 *
 * The same options and seed give the same trace, byte for byte, on every machine: all randomness
 * comes from rng.h, and all distributions from dist.h, with integer results that do not depend on
 * the machine's libm.
 */
#ifndef ALLOCLAB_WORKLOAD_H
#define ALLOCLAB_WORKLOAD_H

#include "allocators/lib/option.h"
#include "traces/trace.h"
#include "workloads/lib/player.h"

struct workload {
    const char *name, *summary, *source; /* file stem; one line; where the pattern is described */
    size_t options_size;
    const struct option *options;
    /* Optional: completes options, as they were parsed, from what they name (a file's hash), so
     * that they say all that the trace depends on. 0, or -1 with a message. */
    int (*settle)(void *options, struct error *err);
    /* Writes the whole trace (not trace_finish). 0, or -1 with a message. */
    int (*emit)(const void *options, uint64_t seed, struct trace_writer *out, struct error *err);
    /* Instead of emit: plays against a design whose addresses it may look at (player.h). */
    int (*drive)(const void *options, uint64_t seed, struct player *player, struct error *err);
};

/* Writes what the trace is (meta workload, options and seed) and then all of it, but not
 * trace_finish. 0 or -1; a live workload has no trace of its own and is refused. */
int workload_write(const struct workload *workload, const void *options, uint64_t seed,
                   struct trace_writer *out, struct error *err);

/* The meta data alone: which workload, options and seed. 0 or -1. */
int workload_meta(const struct workload *workload, const void *options, uint64_t seed,
                  struct trace_writer *out, struct error *err);

#define WORKLOAD(stem) const struct workload workload_##stem

extern const struct workload *const workloads[]; /* generated; ended by NULL */

#endif
