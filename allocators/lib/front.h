/*
 * front.h - a cache of free objects for each thread, in front of the central lists and the pages:
 * what segfit and hugepack have in common. They differ in where spans lie and in what goes back to
 * the kernel, which is lib/pages.h's business and set by their options.
 *
 *     view (thread)            central list of the class           pages
 *     bin of class c           depot    |batch|batch| ..
 *     -> b -> b -> b  <=batch=>                              <=>   free runs, aged
 *        at most `limit`       partial  span -> span -> ..
 *
 * The fast paths are here, inline, so that whoever includes a design's file compiles them into its
 * own malloc and free. They have no atomic read-modify-write, no fence, no division, and no call. A
 * request of up to TABLE_MAX bytes finds its class in a table of the view, a byte for each 16
 * bytes of size; a free finds the class by the address (lib/pages.h) and tests that an object
 * begins there by one multiplication.
 *
 * Slow start: a bin's first refill takes START_BYTES of objects, and each takes twice as many as
 * the one before, up to a batch, so that a program that needs few objects of a class touches few.
 * Limits start at a batch, but at nothing for objects larger than BATCH_BYTES, and double when a
 * bin that had to give must take again, as long as the view's budget lasts: 1/BUDGET_START of
 * `cache` at first, later 1/BUDGET_PACE of all bytes that it has refilled and flushed, at most
 * `cache`, so that only busy threads have large caches. When all of that is spent, all limits start
 * anew.
 *
 * Sweep: with every SWEEP_BYTES that a view refills and flushes, it looks at the next of the
 * classes it has used. Of a bin that had no refill and no flush since the last look, one half is
 * sorted back into its spans (a half, as it may be in use all the same, without ever being empty or
 * full), and so is the depot of a class that nobody has used since. So memory that a program's
 * former phase left in caches becomes free while it works on, without a clock; tick does the same
 * by time.
 *
 * Invariants: those of lib/pages.h and lib/central.h, and
 *   1. A bin is no longer than its limit.
 *   2. The sealed objects of a class are those in bins, depot and spans, by number.
 *
 * Threads. Each view belongs to one thread: its bins are written by the owner, inside the view's
 * gate (lib/gate.h, whose memory orders are argued there), and by tick and trim while they have
 * closed it and found nobody inside. The rest has locks: one for tick and trim, the list of views,
 * each class's central list, the pages. Lock order: upkeep, views, class, pages; a thread inside
 * its gate may take the latter two. Where the kernel has no membarrier, or the program has locked
 * itself in without it, only the owner drains a view, by the sweep and at thread_exit.
 *
 * Fork. Before: no upkeep, all gates closed, nobody inside, then all locks are taken; so the child
 * finds every cache whole. There the views of other threads are views that nobody uses: tick and
 * trim drain them. A thread that is between two caches loses what it carries: one large object, or
 * a new view, so UNIT_BYTES or the object, each. Where gates cannot be closed (no membarrier),
 * views that somebody was inside of are emptied in the child, and their objects are lost to it: at
 * most `cache` and a batch of each class, each.
 */
#ifndef ALLOCLAB_FRONT_H
#define ALLOCLAB_FRONT_H

#include "allocators/lib/central.h"
#include "allocators/lib/gate.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/size_class.h"

enum {
    CLASSES = 80,
    TAGS = CLASSES + 1, /* a span's tag is its class + 1; 0 is TAG_NONE */
    START_BYTES = 2048,
    SWEEP_BYTES = 32 * 1024,
    BUDGET_START = 16,
    BUDGET_PACE = 128,
    TABLE_MAX = 1024,
};
_Static_assert((size_t)(CLASSES) == (16 - 7) * 8 + 8, "eight classes a doubling, from 128 to 64 K");

#define SMALL_MAX ((size_t)64 * 1024)
/* Larger requests cannot be had, and sums with these do not overflow. */
#define OBJECT_MAX ((size_t)1 << 46)

/* ---- options: what a design's struct begins with, and their rows ---- */

struct front_options {
    uint64_t cache, batch, age_ms, limit;
    unsigned policy; /* enum return_policy */
};

#define FRONT_ROW(...) OPTION_ROW(struct front_options, __VA_ARGS__)

#define FRONT_ROWS                                                                                 \
    FRONT_ROW("cache", cache, SIZE, "1m", 0, 1 << 30, NULL,                                        \
              "bytes by which a thread's bins may grow beyond one batch each"),                    \
        FRONT_ROW("batch", batch, COUNT, "64", 1, 1024, NULL,                                      \
                  "objects that a bin and the central list trade at once; at most 8 KiB of them"), \
        FRONT_ROW("age_ms", age_ms, COUNT, "1000", 0, 1e9, NULL,                                   \
                  "milliseconds of disuse after which tick drains caches and returns pages"),      \
        FRONT_ROW("return", policy, CHOICE, "decommit", 0, 0, "decommit|lazy|never",               \
                  "how pages without objects go back before trim: at once, when the kernel "       \
                  "wants them, or not"),                                                           \
        FRONT_ROW("limit", limit, SIZE, "128m", 0, 1ull << 40, NULL,                               \
                  "bytes of free pages beyond which the oldest go back at once")

/* ---- types ---- */

struct bin {
    struct block *head;
    uint64_t magic; /* multiples of the class's bytes, times this, are small modulo 2^64 */
    uint32_t count, limit;
    uint32_t bytes;
    uint16_t take;        /* objects of the next refill */
    uint8_t gave, active; /* since it was last refilled; since the sweep last looked */
};
_Static_assert(sizeof(struct bin) == 32, "two bins a cache line");

struct heap { /* a view */
    struct gate gate;
    uintptr_t secret;
    struct pages *pages;
    struct front *shared;
    uint8_t table[TABLE_MAX / 16 + 1]; /* tag by size in granules */
    struct bin bins[TAGS];             /* by tag */
    size_t grown;                      /* bytes by which limits have grown */
    uint64_t used_ns;                  /* the last tick that found it used; views' lock */
    uint64_t classes[2];               /* tags that it has used since they were last idle */
    uint64_t moved;                    /* bytes refilled and flushed */
    unsigned swept;                    /* the tag looked at last */
    unsigned side;                     /* whose spans it takes first; does not change */
    struct list link;
};
_Static_assert(sizeof(struct heap) <= UNIT_BYTES, "a view takes one unit");

struct front {
    struct heap root;
    const char *design; /* for misuse */
    struct lock upkeep_lock, views_lock;
    struct list views;
    unsigned side_views[SIDES];
    struct front_options opt;
    bool visits; /* gates work here */
    bool lost;   /* a child of fork: views that somebody was inside of were emptied */
    uint64_t drained;
    struct pages pages;
    struct central classes[TAGS]; /* by tag */
};

/* ---- what a design's table of functions is made of ---- */

struct front_kind {
    const char *design;         /* its name, for misuse */
    bool huge, thp, subrelease; /* what pages does with huge pages */
};

struct heap *front_create(const struct alloc_env *env, const struct front_options *opt,
                          const struct front_kind *kind);
void front_destroy(struct heap *root);
struct heap *front_thread_enter(struct heap *root);
void front_thread_exit(struct heap *v);
void *front_realloc(struct heap *v, void *p, size_t old, size_t size, size_t align);
size_t front_usable(struct heap *v, const void *p);
void front_tick(struct heap *root, uint64_t now_ns);
void front_trim(struct heap *root);
void front_fork(struct heap *root, enum allocator_fork when);
void front_walk(struct heap *root, walk_fn *fn, void *arg);
const char *front_check(struct heap *root);
const char *front_mode(struct heap *root);
void front_stats(struct heap *root, stats_fn *fn, void *arg);

/* ---- slow paths of what follows ---- */

void *front_alloc_slow(struct heap *v, struct bin *bin);            /* no object in the bin */
void *front_alloc_rare(struct heap *v, size_t size, size_t align);  /* beyond the table */
void *front_zalloc_rare(struct heap *v, size_t size, size_t align); /* likewise */
void front_free_slow(struct heap *v, void *p, size_t size);

/* ---- block geometry ---- */

/* Whether an offset in a span is where an object begins: a multiplication in place of a division.
 * With magic = ceil(2^64 / bytes), n is a multiple of bytes exactly if n * magic modulo 2^64 is
 * below magic, for all n below 2^32 (Lemire, Kaser, Kurz, Faster remainder by direct computation,
 * 2019). Every size is a multiple of 16, so every object is aligned. */
static inline bool bin_offset_ok(const struct bin *bin, uint32_t offset)
{
    return offset * bin->magic < bin->magic;
}

/* ---- alloc ---- */

static inline void *bin_pop(struct heap *v, struct bin *bin)
{
    struct block *b = bin->head;
    if (__builtin_expect(!block_is_sealed(v->secret, b), 0))
        misuse_abort(v->shared->design, "corrupted free block", b);
    bin->head = b->next;
    bin->count--;
    b->seal = 0; /* no more a free object's */
    return b;
}

static inline void *bin_alloc(struct heap *v, size_t tag)
{
    struct bin *bin = &v->bins[tag];
    if (__builtin_expect(!gate_enter(&v->gate) || !bin->head, 0))
        return front_alloc_slow(v, bin);
    void *p = bin_pop(v, bin);
    gate_leave(&v->gate);
    return p;
}

static inline bool front_is_small(size_t size, size_t align)
{
    return (size <= TABLE_MAX) & (align <= ALLOCATOR_ALIGN);
}

static inline void *front_alloc(struct heap *v, size_t size, size_t align)
{
    if (__builtin_expect(front_is_small(size, align), 1))
        return bin_alloc(v, v->table[(size + 15) / 16]);
    return front_alloc_rare(v, size, align);
}

static inline void *front_zalloc(struct heap *v, size_t size, size_t align)
{
    if (__builtin_expect(!front_is_small(size, align), 0))
        return front_zalloc_rare(v, size, align);
    void *p = bin_alloc(v, v->table[(size + 15) / 16]);
    return p ? __builtin_memset(p, 0, size) : NULL;
}

/* ---- free ---- */

static inline void bin_push(uintptr_t secret, struct bin *bin, struct block *b)
{
    block_link(secret, b, bin->head);
    bin->head = b;
    bin->count++;
}

static inline void front_free(struct heap *v, void *p, size_t size)
{
    if (__builtin_expect(!pages_number_ok(v->pages, p), 0))
        return front_free_slow(v, p, size);
    uint32_t info = segment_info(segment_of(p), segment_unit(p));
    unsigned tag = info_tag(info);
    if (__builtin_expect(tag - 1 >= CLASSES, 0))
        return front_free_slow(v, p, size);
    struct bin *bin = &v->bins[tag];
    uintptr_t secret = v->secret;
    if (__builtin_expect(!bin_offset_ok(bin, info_offset(info, p)) || size > bin->bytes ||
                             block_is_sealed(secret, p) || !gate_enter(&v->gate) ||
                             bin->count >= bin->limit,
                         0))
        return front_free_slow(v, p, size);
    bin_push(secret, bin, p);
    gate_leave(&v->gate);
}

#endif
