/*
 * parallel.h - parallel replay: recorded threads on real ones, over one heap.
 *
 * A recorded thread runs on an OS thread of its own while it lives: a *lane*. A recorded thread
 * that starts after another has ended, takes the lane of that one, so there are as many lanes as
 * recorded threads were alive at once, and no more run at the same time than did then. Within a
 * lane the order is the recorded one; between lanes only what the program could not do without is
 * kept: the order of what is done to each object that several threads touch (its turns, plan.h).
 * Every wait keeps the recorded order, so waits cannot form a circle.
 *
 * Copies are further sets of lanes over the same words, each with slots of its own, on the same
 * heap: the same work many times, side by side.
 *
 * A lane that waits for a turn looks a few times, and then gives its CPU to others between looks.
 * The clock is read only when the first look fails: what waiting costs is counted apart.
 */
#ifndef ALLOCLAB_PARALLEL_H
#define ALLOCLAB_PARALLEL_H

#include <sys/types.h>

#include "harness/outcome.h"
#include "harness/replay.h"

enum affinity { AFFINITY_NONE, AFFINITY_SPREAD }; /* spread: lane i on the i-th CPU, in turns */

extern const char *const affinity_names[]; /* by enum affinity; ended by NULL */

struct parallel_config {
    unsigned copies; /* at least 1 */
    enum affinity affinity;
};

/* What runs the words, where it is not the loop of replay.c: the oracle's. Each returns false to
 * end the replay; `thread` is called on all lanes at once. */
struct parallel_loop {
    bool (*runs)(void *ctx, struct replay *r, unsigned copy, uint64_t from, uint64_t to);
    bool (*thread)(void *ctx, struct replay *r, unsigned copy, uint32_t thread,
                   const uint64_t *end);
    void *ctx;
};

struct lane;
struct parallel;

/* A heap for each lane's threads: the design must be ALLOCATOR_SHARED and ALLOCATOR_REMOTE_FREE,
 * the plan one without scopes. NULL with a message. What it needs is mapped, not malloc'd. The
 * plan and the heap stay the caller's and must outlive it. */
struct parallel *parallel_open(const struct plan *plan, const struct allocator *design,
                               struct heap *heap, enum touch touch,
                               const struct parallel_config *config, struct error *err);
void parallel_close(struct parallel *p);

/* From the next pass on. */
void parallel_loop_set(struct parallel *p, const struct parallel_loop *loop);

/* A pass in three steps: what was live at the start, serially; the trace, on all lanes at once,
 * from a common start to the end of the last: its time in ns, or 0 if memory ran out; and the
 * epilogue, serially. False: memory ran out. */
bool parallel_begin(struct parallel *p);
uint64_t parallel_run(struct parallel *p);
bool parallel_end(struct parallel *p);

/* Told by each lane's thread, before and after its part of the trace. NULL = not called. */
typedef void parallel_around(void *ctx, unsigned lane, bool before);
void parallel_around_set(struct parallel *p, parallel_around *around, void *ctx);

unsigned parallel_lanes(const struct parallel *p); /* of all copies */
pid_t parallel_thread(const struct parallel *p, unsigned lane);
size_t parallel_tables_bytes(const struct parallel *p);
/* Adds what lane `i` did in the last pass, and says which it is. */
void parallel_lane(const struct parallel *p, unsigned i, struct lane_share *share);

#endif
