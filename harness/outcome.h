/*
 * outcome.h - what a cell leaves behind, in memory shared with the session that started it: a cell
 * that dies leaves what it had written. Pages that are not written cost nothing, so the tables have
 * room for the longest.
 */
#ifndef ALLOCLAB_OUTCOME_H
#define ALLOCLAB_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/classes.h"
#include "harness/counter_group.h"
#include "harness/latency.h"
#include "harness/locality.h"
#include "harness/metrics.h"
#include "harness/open.h"

enum outcome_status {               /* as written in results.csv */
                      OUTCOME_NONE, /* the cell did not get as far as saying anything */
                      OUTCOME_OK,
                      OUTCOME_OOM,
                      OUTCOME_FAILED,
                      OUTCOME_NOT_APPLICABLE,
                      OUTCOME_CRASH, /* the rest is said by the session */
                      OUTCOME_TIMEOUT,
                      OUTCOME_MEMORY_LIMIT,
};

#define OUTCOME_SAMPLES    512
#define HEAPMAP_SAMPLES    130
#define HEAPMAP_BUCKETS    128
#define DRAIN_SAMPLES      32
#define SAMPLE_UNKNOWN     UINT64_MAX
#define PARALLEL_LANES_MAX 256 /* OS threads of a parallel replay, all copies together */

struct sample { /* one row of timeline.csv; bytes; SAMPLE_UNKNOWN = empty */
    uint64_t op_index, virtual_ns;
    uint64_t requested, usable, committed, reserved, resident;
    uint64_t huge;    /* committed, in whole huge pages */
    uint64_t walk[4]; /* by enum walk_kind */
};

struct heapmap_sample {
    uint64_t op_index;
    uint64_t bytes[HEAPMAP_BUCKETS][4]; /* by enum walk_kind */
};

/* A table by size class, at the op when C (for memory not through the door: L) is first at its
   maximum. */
struct class_table {
    bool taken, usable, walked; /* there is one; the design tells usable sizes; it walks */
    uint64_t op_index;
    struct class_share row[CLASS_ROWS];
};

struct lane_share { /* one row of threads.csv: an OS thread of a parallel replay, mean of a pass */
    uint32_t copy, first_thread, recorded_threads;
    uint64_t busy_ns, wait_ns;
};

struct counters_found { /* by OS thread of the replay; no threads: the pass was not run */
    uint32_t lanes;
    struct counter_count cold[PARALLEL_LANES_MAX][COUNTERS_MAX];
    struct counter_count steady[PARALLEL_LANES_MAX][COUNTERS_MAX];
};

struct drain_sample { /* one row of drain.csv: so long after everything was freed */
    uint64_t ns, resident;
    uint64_t committed; /* SAMPLE_UNKNOWN = empty */
};

struct outcome {
    uint32_t status; /* enum outcome_status */
    uint32_t samples, heapmap_samples, heapmap_buckets, lanes, drain_samples;
    uint64_t heapmap_bucket_bytes;
    char detail[512];
    char mode[96]; /* what the machine made the heap choose; "" = nothing */
    double value[METRIC_COUNT];
    bool known[METRIC_COUNT];
    struct lane_share lane[PARALLEL_LANES_MAX];
    struct class_table classes;
    struct drain_sample drain[DRAIN_SAMPLES];
    struct latency latency;
    struct open_times open;
    struct counters_found counters;
    struct locality locality; /* set by the session */
    struct sample sample[OUTCOME_SAMPLES];
    struct heapmap_sample heapmap[HEAPMAP_SAMPLES];
};

static inline void outcome_set(struct outcome *o, enum metric metric, double value)
{
    o->value[metric] = value;
    o->known[metric] = true;
}

#endif
