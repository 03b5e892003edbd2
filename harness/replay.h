/*
 * replay.h - runs a plan against one heap as fast as the design allows: the loop of the throughput
 * pass. Nothing here checks, counts, allocates or calls the kernel while ops run.
 *
 * A replay belongs to one thread in serial use. replay_thread() may be called from one OS
 * thread for each recorded thread at the same time (parallel.h), if the design is ALLOCATOR_SHARED;
 * objects that cross threads are then handed over by their turn words, with release and acquire.
 */
#ifndef ALLOCLAB_REPLAY_H
#define ALLOCLAB_REPLAY_H

#include "allocators/lib/allocator.h"
#include "harness/plan.h"
#include "harness/ring.h"

enum touch {
    TOUCH_NONE,
    TOUCH_FIRST,
    TOUCH_LINE
}; /* what is written of each new object: nothing, its first
      byte, one byte of every 64-byte line */

static inline void touch_write(void *p, size_t size, enum touch touch)
{
    volatile unsigned char *byte = p;
    if (touch == TOUCH_FIRST)
        byte[0] = 1;
    else if (touch == TOUCH_LINE)
        for (size_t i = 0; i < size; i += 64)
            byte[i] = 1;
}

/* How ops reach the allocator: through the contract; through it while other threads replay as well;
   as a program's own calls of malloc and free, where all that is ranked is called so (PLAN_MERGED). */
enum calling { CALLING_CONTRACT, CALLING_PARALLEL, CALLING_MALLOC };

struct replay_thread {              /* a cache line of its own: another OS thread's next one */
    _Alignas(64) struct heap *view; /* thread_enter's, or the root's */
    uint32_t scope_slot;            /* current scope, 0 = none */
    const uint64_t *next;           /* word */
    uint64_t wait_ns;               /* parallel replay: for other threads' turns, in this pass */
};

struct replay {
    const struct plan *plan;
    const struct allocator *design;
    struct heap *heap; /* the root */
    struct heap *base; /* what threads start from: the root, or the pass's own scope */
    bool one_view;     /* all recorded threads play through the view of the first (blowup) */
    struct heap *only; /* that view, once it is entered */
    void **slots;
    struct heap **scope_views; /* by scope slot; NULL = the thread's own view */
    struct replay_thread *threads;
    uint32_t size_mask; /* all ones if the design must be given sizes at free, else 0 */
    bool finds_owner;
    enum touch touch;
    void (*arrive)(void *ctx); /* at an ARRIVE word; set after replay_open() */
    void *arrive_ctx;
    int failed; /* an allocation returned NULL; set and read by all threads of a parallel replay */
    size_t tables_bytes;
    enum calling calling;
    unsigned layout;   /* which copy of the loop */
    struct ring *ring; /* that the words come through; NULL: the plan has them */
    /* Of the ring's chunks: replaying them so far, and the wait until they were there; and those
       replayed with caches as a replay without waits has them: since the start, or from half a ring
       after the last wait on. */
    uint64_t chunks_ns, decode_wait_ns, warm_ns, warm_ops;
    uint32_t since_wait; /* chunks */
};

/* Takes what a call returned; NULL ends the replay, of the other threads too, at its next check. */
static inline void replay_note(struct replay *r, const void *made)
{
    if (!made)
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
}

static inline bool replay_failed(const struct replay *r)
{
    return __atomic_load_n(&r->failed, __ATOMIC_RELAXED);
}

/*
 * Maps and pre-faults the tables (8 bytes a slot, plus scopes and threads) and binds them to a
 * heap. 0 or -1 with a message. The plan and the heap stay the caller's and must outlive the
 * replay.
 */
int replay_open(struct replay *r, const struct plan *plan, const struct allocator *design,
                struct heap *heap, enum touch touch, struct error *err);
void replay_close(struct replay *r);

/* What every loop over a plan starts and ends with: the pass's own scope, for designs that cannot
   reuse what was freed, and the cursors. False if the pass could not start for want of memory. */
bool replay_pass_begin(struct replay *r);
void replay_pass_end(struct replay *r);

/* From now on another copy of the loop, in turn (layouts.h says why): between timed passes. */
void replay_layout_next(struct replay *r);

/* Serial replay of runs [from, to); false if memory ran out (the heap then holds what was made so
 * far). */
bool replay_runs(struct replay *r, uint64_t from, uint64_t to);

/* Serial replay of a part of a pass, whether the plan has its words or they come through a ring: then
   chunk by chunk. False: as above, or the ring has failed (ring_failure()). */
bool replay_part(struct replay *r, enum plan_part part);

/* For loops of their own: waits for the part's next chunk, which lasts until the next call. NULL: the
   ring has failed. */
const struct ring_chunk *replay_chunk(struct replay *r, enum plan_part part);

/* Parallel replay of one recorded thread's words up to `end`; false as above. */
bool replay_thread(struct replay *r, uint32_t thread, const uint64_t *end);

/* The wait for a shared object's turn, and its passing on, of any loop that runs threads at once.
 * False: the replay has ended elsewhere. */
bool replay_turn_wait(const struct replay *r, struct replay_thread *t, void **slot, uint32_t turn);
void replay_turn_pass(void **slot, uint32_t turn);

#endif
