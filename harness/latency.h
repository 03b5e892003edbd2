/*
 * latency.h - the latency of single ops: what the latency pass finds, and its replay loop, which
 * reads the clock around each call and does everything else outside of the two reads. The loop of
 * the throughput pass (replay.c) is another and knows nothing of this one.
 */
#ifndef ALLOCLAB_LATENCY_H
#define ALLOCLAB_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/histogram.h"

enum latency_kind { /* as written in latency.csv */
                    LATENCY_ALLOC,
                    LATENCY_CALLOC,
                    LATENCY_REALLOC,
                    LATENCY_FREE,
                    LATENCY_OPS, /* those before it are ops of the trace */
                    LATENCY_SCOPE_ENTER = LATENCY_OPS,
                    LATENCY_SCOPE_EXIT,
                    LATENCY_KINDS
};

enum latency_cause { /* what a second replay saw an op do; bits */
                     LATENCY_DOOR = 1,
                     LATENCY_FAULT = 2,
                     LATENCY_CAUSES_KNOWN = 4 /* it was looked at */
};

#define LATENCY_TAILS 32 /* slowest ops that are kept */
#define LATENCY_WORST 16 /* of those that are slowest by their least time in the replays */

struct latency_tail { /* a row of latency_tail.csv; ticks as in the histograms, 0 = unknown */
    uint64_t op, size, ticks, least_ticks;
    uint32_t kind, causes;
};

struct latency { /* in ticks of the clock; all zero = nothing was measured */
    double tick_ns;
    struct histogram kind[LATENCY_KINDS];
    bool least_known; /* least_ticks of the tails */
    uint32_t tails;
    struct latency_tail tail[LATENCY_TAILS];
    uint32_t worsts;
    struct latency_tail worst[LATENCY_WORST];
    char note[160]; /* why there is no replay-minimum; "" = there is one, or there cannot be */
};

extern const char *const latency_kind_names[]; /* by enum latency_kind */

struct call;
struct cursor;
struct prefix;
struct replay;

/* Told of each call that was timed: op counts the trace's ops from 0, of a scope those before it.
 */
typedef void latency_note(void *ctx, enum latency_kind kind, uint64_t op, uint64_t size,
                          uint64_t ticks);

struct latency_replay {
    struct replay *replay;
    unsigned every; /* one op in so many is timed, from the first on */
    latency_note *note;
    /* Before (true) and after an op that is timed, outside of the clock; NULL = not called. */
    void (*around)(void *ctx, uint64_t op, bool before);
    void *ctx;
    uint64_t op, timed, unserved; /* so far; ops that no allocator sees: free(NULL), failed ones */
    uint64_t places;              /* a hash of all addresses that came back */
};

/* A whole pass: what is live at the start, the trace with its calls timed, the epilogue. False:
 * memory ran out at `op`. */
bool latency_replay_run(struct latency_replay *l);

#endif
