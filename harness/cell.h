/*
 * cell.h - one (allocator, options, workload, release, pass, repeat): a process of its own, started
 * by exec so that it inherits no heap, with the plan and a shared outcome as its only ties to the
 * session.
 */
#ifndef ALLOCLAB_CELL_H
#define ALLOCLAB_CELL_H

#include <limits.h>
#include <sys/types.h>

#include "harness/decoder.h"
#include "harness/outcome.h"
#include "harness/parallel.h"
#include "harness/pass.h"
#include "harness/plan.h"
#include "harness/preload.h"
#include "harness/replay.h"
#include "harness/spec.h"

/*
 * The one table of passes, in the order in which a session runs them: X(ID, name, timed). Each is a
 * function name_pass() in pass.h. A pass that times runs in every block, on the plan that leaves
 * out what only observing ones need; the others are deterministic and run once. Memory comes first:
 * it tells which designs released anything, and so the group of all rows.
 */
#define PASSES(X)                                                                                  \
    X(MEMORY, memory, false)                                                                       \
    X(VERIFY, verify, false)                                                                       \
    X(THROUGHPUT, throughput, true)                                                                \
    X(LATENCY, latency, true)                                                                      \
    X(COUNTERS, counters, true)                                                                    \
    X(LOCALITY, locality, false)                                                                   \
    X(DRAIN, drain, false)                                                                         \
    X(OPEN, open, true)

enum pass {
#define PASS_ENUM(id, name, timed) PASS_##id,
    PASSES(PASS_ENUM)
#undef PASS_ENUM
        PASS_COUNT,
    PASS_PROGRAM /* no cell's: a row of a whole program (programs.h) */
};

bool pass_timed(enum pass pass);

/* Counts what the fast loop does: it runs once, on the plan of the timed passes. */
static inline bool pass_observes(enum pass pass)
{
    return !pass_timed(pass) && pass != PASS_LOCALITY;
}

extern const char *const pass_names[];   /* by enum pass; those of cells end by NULL */
extern const char *const touch_names[];  /* by enum touch; ended by NULL */
extern const char *const status_names[]; /* by enum outcome_status */

struct cell_limits {
    double seconds;
    uint64_t resident_bytes;
};

#define CELL_UNDER_MAX 16 /* words */

struct cell {
    const struct spec *spec;
    const char *spec_text;         /* what the cell runs */
    const struct preload *preload; /* the library that its malloc must come from */
    int plan_fd;                   /* of the plan; of a live game the file for its trace */
    const char
        *trace_name; /* of the trace that is decoded beside the cell; NULL: the plan has words */
    int trace_fd;
    const char *live; /* a live workload's spec: the cell plays it, and no pass is run; else NULL */
    enum pass pass;
    enum touch touch;
    const char *door; /* what its door is told: rows of os_options as text */
    uint64_t seed;
    struct cell_limits limits;
    struct pass_config config;
    struct parallel_config parallel; /* no copies: serial */
    const char *const
        *under; /* program and arguments that the cell's process runs under; else NULL */
};

/* What the process of a cell is told: the same as values and text, since it is another program. */
struct cell_request {
    int plan_fd, ring_fd; /* ring_fd: -1 = none */
    enum pass pass;
    enum touch touch;
    uint64_t seed;
    struct pass_config config;
    struct parallel_config parallel;
    char spec[SPEC_TEXT_BYTES], door[256], live[2048]; /* live: "" = none */
    char preload[PATH_MAX]; /* the library that its malloc must come from, or "" */
};

/* The memory that a cell and its session share. */
struct cell_shared {
    struct cell_request request;
    struct outcome outcome;
};

struct cell_running { /* a cell that has begun */
    pid_t pid;
    int pid_fd, said_fd, shared_fd;
    uint64_t start_ns;
    struct cell_shared *shared;
    bool started, stopped; /* stopped: over a limit, and killed */
    struct error refusal;  /* why it has not started */
    bool decoding;         /* beside it */
    struct decoder_process decoder;
};

/*
 * Runs the cell to its end, or to a limit, and fills the outcome (all zero before). Never fails
 * itself: what goes wrong is a status with a detail. `idle` (may be NULL) is called about ten times
 * a second while it waits.
 */
void cell_run(const struct cell *cell, struct outcome *outcome, void (*idle)(void *), void *arg);

/* The same in two steps, for cells that mostly wait and so may run side by side. What cannot start
   says so at its end. */
void cell_begin(const struct cell *cell, struct cell_running *running);
void cell_end(const struct cell *cell, struct cell_running *running, struct outcome *outcome,
              void (*idle)(void *), void *arg);
/* Holds a cell that has begun to its limits while others are waited for. */
void cell_look(const struct cell *cell, struct cell_running *running);

#endif
