/*
 * cell.h - one (allocator, options, workload, release, pass, repeat): a process of its own, started
 * by exec so that it inherits no heap, with the plan and a shared outcome as its only ties to the
 * session.
 */
#ifndef ALLOCLAB_CELL_H
#define ALLOCLAB_CELL_H

#include "harness/outcome.h"
#include "harness/parallel.h"
#include "harness/plan.h"
#include "harness/preload.h"
#include "harness/replay.h"
#include "harness/spec.h"

enum pass { PASS_THROUGHPUT, PASS_MEMORY, PASS_VERIFY, PASS_LATENCY, PASS_COUNT };

/* A pass that times: it runs in every block, on the plan that leaves out what only observing ones
 * need. */
static inline bool pass_timed(enum pass pass)
{
    return pass == PASS_THROUGHPUT || pass == PASS_LATENCY;
}

extern const char *const pass_names[];   /* by enum pass; ended by NULL */
extern const char *const touch_names[];  /* by enum touch; ended by NULL */
extern const char *const status_names[]; /* by enum outcome_status */

struct cell_limits {
    double seconds;
    uint64_t resident_bytes;
    double min_seconds;     /* of the throughput pass's steady part */
    unsigned latency_every; /* of the latency pass: one op in so many is timed */
};

struct cell {
    const struct spec *spec;
    const char *spec_text;         /* what the cell runs */
    const struct preload *preload; /* the library that its malloc must come from */
    int plan_fd;                   /* of the plan; of a live game the file for its trace */
    const char *live; /* a live workload's spec: the cell plays it, and no pass is run; else NULL */
    enum pass pass;
    enum touch touch;
    const char *door; /* what its door is told: rows of os_options as text */
    uint64_t seed;
    struct cell_limits limits;
    struct parallel_config parallel; /* no copies: serial */
};

/*
 * Runs the cell to its end, or to a limit, and fills the outcome (all zero before). Never fails
 * itself: what goes wrong is a status with a detail. `idle` (may be NULL) is called about ten times
 * a second while it waits.
 */
void cell_run(const struct cell *cell, struct outcome *outcome, void (*idle)(void *), void *arg);

#endif
