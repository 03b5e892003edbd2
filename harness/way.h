/*
 * way.h - serial and parallel replay by the same three steps, for passes that do either.
 */
#ifndef ALLOCLAB_WAY_H
#define ALLOCLAB_WAY_H

#include "harness/pass.h"

struct way {
    struct replay replay;      /* serial */
    struct parallel *parallel; /* NULL = serial */
    parallel_around *around;   /* NULL = not called; of a serial replay for lane 0 */
    void *around_ctx;
    uint64_t counted_ops; /* of a pass through a ring, see way_run() */
};

/* As the setup says, on the heap; false: the outcome says why not. */
bool way_open(struct way *way, const struct cell_setup *setup, struct heap *heap);
void way_close(struct way *way);
/* From now on `around` is told of the start and the end of each thread's part of a pass: inside of
 * the clock, so that nothing is between it and the ops. */
void way_around(struct way *way, parallel_around *around, void *ctx);

/*
 * A pass: what was live at the start; the trace, its time in ns, or 0 if memory ran out; and the
 * epilogue. False: memory ran out.
 *
 * Of a pass through a ring, the time is that of its warm chunks (replay.h), brought up to all its
 * ops; `counted_ops` says how many of these it was taken from. If there were none, it is that of all
 * chunks.
 */
bool way_begin(struct way *way);
uint64_t way_run(struct way *way);
bool way_end(struct way *way);

unsigned way_lanes(const struct way *way);              /* OS threads that replay: 1 if serial */
pid_t way_thread(const struct way *way, unsigned lane); /* 0 = the caller */
size_t way_tables_bytes(const struct way *way);

#endif
