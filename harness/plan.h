/*
 * plan.h - a trace made ready for replay: position-independent, in a memfd that every cell maps, so
 * that no cell parses anything and nothing of the harness lies on the heap under test.
 *
 * Layout: header | words of thread 0 | runs | table of threads | words of thread 1 | ...  Offsets
 * are from the header, in bytes.
 *
 * A thread's words are its ops in its own order; `runs` is the recorded order of the threads: run i
 * says "the next `words` words of thread `thread`". Serial replay follows the runs; parallel replay
 * gives each thread its words. The first `main_runs` runs are the trace, the rest is the epilogue,
 * which frees what the trace left and closes its scopes and threads, so that a plan can loop. If
 * objects were live when the recording started, the first `start_runs` runs make them and no call
 * of the trace is in these: making them is not part of what the trace's ops cost.
 *
 * A word is 64 bits:  kind << 60 | slot << 32 | low.  Common ops are one word, and rare forms two:
 *
 *   ALLOC    slot, low = bytes                 CALLOC  the same, zeroed
 *   FREE     slot, low = requested bytes (the replay passes it on only to designs that need it)
 *   SIZED    free, and the program gave the size
 *   NOP      a call that the caller settles without the allocator: free(NULL), a call that failed
 *   RARE     slot, low = low 32 bits of the size; and a second word (PLAN_RARE_*):
 *            realloc, and aligned or huge alloc, calloc, free
 *   OWNER    slot = scope: the next op's object lives in that scope, not in the current one (only
 *            frees and reallocs; a design that finds owners ignores it). Not an op by itself
 *   BEGIN    slot = scope, opened inside the thread's current scope, and now current
 *   END      slot = scope, low = the scope that is current afterwards
 *   SWITCH   slot = scope that is now current
 *   START    the thread's view is entered          STOP  and left
 *   SHARED   slot, low = turn: the next op touches an object that more than one thread touches. Such
 *            an object has two slots, the pointer and, after it, its turn: how many touches (alloc,
 *            realloc, free) came before. Parallel replay waits for the turn (acquire) and counts it
 *            on (release). A serial replay is in order anyway, so the plans of its timed passes have
 *            no turns: they would cost time that no allocator takes. Not an op by itself
 *   DROP     release=scope: the program's free of an object that its scope's exit releases; only in
 *            plans for observing passes (PLAN_OBSERVE), so that they know what the program holds.
 *            low = requested bytes
 *   ARRIVE   a scope begins outside of all others: a frame or a request arrives (open.h). The other
 *            60 bits are its time. Only with PLAN_ARRIVALS, in both release modes. Not an op
 *
 * With release=free there are no scopes: they are followed only to count what escapes them. Scope
 * slot 0 is the root (outside all scopes). Object slots are reused once free: a slot of an object
 * that only one thread touches belongs to that thread for good. With PLAN_PARALLEL no cache line of
 * slots has two owners, so that threads do not disturb each other where the program did not; and
 * the slots of a shared object are used again as late as possible, so that a new object seldom
 * waits for the free of one before it.
 *
 * PLAN_MERGED is for serial replay of designs that have no views of threads: there a change of
 * thread is nothing to the design, and following it would cost the loop time (two threads that take
 * turns every ten ops: half a nanosecond an op). Only without scopes, which are per thread.
 */
#ifndef ALLOCLAB_PLAN_H
#define ALLOCLAB_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/lib/error.h"
#include "traces/trace.h"

enum plan_kind {
    PLAN_ALLOC,
    PLAN_FREE,
    PLAN_SIZED,
    PLAN_CALLOC,
    PLAN_NOP,
    PLAN_RARE,
    PLAN_OWNER,
    PLAN_BEGIN,
    PLAN_END,
    PLAN_SWITCH,
    PLAN_START,
    PLAN_STOP,
    PLAN_SHARED,
    PLAN_DROP,
    PLAN_ARRIVE,
};

/* The second word of RARE: kind | align_log2 << 4 | size >> 32 << 10 | old size << 18. */
#define PLAN_RARE_KIND(w) ((unsigned)((w)&15))
#define PLAN_RARE_REALLOC                                                                          \
    15u /* the other kinds there: PLAN_ALLOC, PLAN_CALLOC, PLAN_FREE, PLAN_SIZED, PLAN_DROP */
#define PLAN_RARE_ALIGN(w)     ((size_t)1 << (((w) >> 4) & 63))
#define PLAN_RARE_SIZE(low, w) ((size_t)(low) | (size_t)(((w) >> 10) & 255) << 32)
#define PLAN_RARE_OLD(w)       ((size_t)((w) >> 18))

static inline uint64_t plan_word(unsigned kind, uint32_t slot, uint32_t low)
{
    return (uint64_t)kind << 60 | (uint64_t)slot << 32 | low;
}

static inline uint64_t plan_rare_word(unsigned kind, unsigned align_log2, uint64_t size,
                                      uint64_t old)
{
    return kind | (uint64_t)align_log2 << 4 | (size >> 32 & 255) << 10 | old << 18;
}

#define PLAN_KIND(w) ((unsigned)((w) >> 60))
#define PLAN_SLOT(w) ((uint32_t)((w) >> 32) & (uint32_t)(PLAN_MAX_SLOTS - 1))
#define PLAN_LOW(w)  ((uint32_t)(w))
#define PLAN_TIME(w) ((w) << 4 >> 4) /* of ARRIVE: ns of the trace's clock */
#define PLAN_PREFETCH                                                                              \
    16 /* words that may be read past a thread's last: zero padding follows each thread */

#define PLAN_SLOT_BITS 28
#define PLAN_MAX_SLOTS (UINT64_C(1) << PLAN_SLOT_BITS)

enum plan_release { PLAN_RELEASE_FREE, PLAN_RELEASE_SCOPE };

enum plan_flag {
    PLAN_OBSERVE = 1,   /* keep DROP words, and turns */
    PLAN_PARALLEL = 2,  /* turns, and slots laid out for threads that run at the same time */
    PLAN_STREAM = 4,    /* a header alone: the words come through a ring (ring.h) */
    PLAN_ARRIVALS = 8,  /* ARRIVE words */
    PLAN_MERGED = 16,   /* all words are the first thread's, without START and STOP */
    PLAN_VARIANTS = 32, /* combinations of flags */
};

/* What a pass consists of: making what was live at the start, the trace, the epilogue. */
enum plan_part { PLAN_PART_START, PLAN_PART_TRACE, PLAN_PART_END };

struct plan_run {
    uint32_t thread, words;
};

struct plan_thread {
    uint64_t words_offset, words; /* offset in bytes from the header; number of words */
};

struct plan {
    uint64_t magic, bytes; /* of the whole plan */
    uint64_t ops;          /* the trace's, whatever the release mode */
    uint64_t objects, slots, scope_slots, threads, shared_objects;
    uint64_t runs_offset, runs, main_runs;
    uint64_t threads_offset; /* struct plan_thread [threads] */
    uint64_t escaped_objects,
        escaped_bytes;      /* objects that outlive the scope they were allocated in */
    uint64_t dropped_frees; /* release=scope: left to the scope's exit */
    uint64_t peak_requested_bytes, peak_live_objects;
    uint64_t start_objects, start_runs; /* live at the start; the first runs, which make them */
    uint32_t release;                   /* enum plan_release */
    uint32_t flags;                     /* enum plan_flag */
    uint32_t max_align_log2;            /* of any object */
    uint32_t clocked;                   /* the trace has a clock, and arrivals their times */
    uint64_t arrivals;
};

/* The runs of a part: [*from, *to). */
static inline void plan_part_runs(const struct plan *plan, enum plan_part part, uint64_t *from,
                                  uint64_t *to)
{
    const uint64_t ends[] = {plan->start_runs, plan->main_runs, plan->runs};
    *from = part ? ends[part - 1] : 0;
    *to = ends[part];
}

#define PLAN_MAGIC UINT64_C(0x3030314e414c5041) /* "APLAN100" */

/*
 * Builds the plan of a trace, read from its beginning, into a new memfd that is sealed against
 * writing; *fd is the caller's. 0, or -1: the trace is not valid or exceeds a limit, and err says
 * where. Two passes over the trace if it has scopes or several threads, else one. Memory: about
 * PLAN_BUILD_BYTES an object besides the plan itself.
 */
#define PLAN_BUILD_BYTES 24
int plan_build(struct trace_reader *trace, enum plan_release release, unsigned flags, int *fd,
               struct error *err);

/* Reads a plan's header alone, checked for being one; 0 or -1 with a message. */
int plan_header(int fd, struct plan *header, struct error *err);

/* Maps a plan read-only and pre-faults it. NULL with a message if it is not one. */
const struct plan *plan_map(int fd, struct error *err);
void plan_unmap(const struct plan *plan);

#endif
