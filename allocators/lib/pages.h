/*
 * pages.h - a page-run allocator: runs of 8-KiB units, called spans once they have an owner, cut
 * from segments of 32 MiB. Free runs coalesce at once with both neighbours; their memory goes back
 * to the kernel later, by age and by limit, or packed into huge pages.
 *
 *     segment, aligned to its size
 *     | pages, bitmaps | info: 4 bytes a unit | a struct span a unit (lazy) | unit 35 ... unit 4095
 * |
 *
 *     info    where the span begins, in bytes from the segment (a multiple of 8 KiB) | tag (8 bits)
 *             of a unit of a span: what the owner has set; TAG_NONE where there is nothing to find
 *             of a free run: TAG_FREE in its first and its last unit, TAG_NONE between
 *
 * So the span of an address is found by a mask and two loads, and whether the address is in a
 * segment of these pages at all by one load more: `numbers`, a table indexed by the low bits of
 * address / 32 MiB. Two segments 32 GiB apart share a place there; the second is found by a search.
 *
 * Objects too large for a segment have reservations of their own (large.h).
 *
 * Free runs are in bins by length (exact up to 16 units, then eight a doubling), newest first; a
 * request takes the best of its own bin, else any run of the next bin that is not empty. Those with
 * committed pages are also in `kept`, newest first. A unit has two bits: committed, and touched,
 * which means that it may not read as zero: the kernel takes lazily returned pages when it likes.
 *
 * With `huge`, 256 units are a huge page, and free runs merge within one, or if both are whole huge
 * pages. Those are in the bins and in `kept`; shorter ones are in huge.h's lists, which are asked
 * first, and keep their memory unless `subrelease`. A span of less than a huge page is taken
 * from within one; a longer one begins a whole one, and what it leaves of its last is filled like
 * any other. With `thp` the door asks the kernel for huge pages, and each is committed as a whole.
 *
 * Invariants (pages_check)
 *   1. spans and free runs tile each segment from unit 35 on; no two free neighbours could merge.
 *   2. info is as above for every free run.
 *   3. the bins, and the huge pages, hold exactly the free runs, each in its own; a bin's bit says
 *      if it is not empty.
 *   4. `kept` holds exactly the free runs with committed units that may go back, which sum to
 *      kept_units.
 *   5. the units of spans are committed; touched ones too, unless they went back lazily.
 *
 * Threads: one lock for everything, taken by each function below except where it says so. While
 * memory goes back to the kernel the lock is open, and the run is in no list and has no neighbour
 * that would merge with it; the kernel is asked for a new segment, or for an object with its own
 * reservation, with the lock taken (one call for 32 MiB, and for such an object). info and
 * numbers are read without it, by relaxed atomic loads: a program that may use an object has got it
 * over some release and acquire since the span's info was written, so it cannot read an older
 * value; who frees what is no object may read anything, and every value is handled.
 *
 * Needs pages of the kernel of at most a unit.
 */
#ifndef ALLOCLAB_PAGES_H
#define ALLOCLAB_PAGES_H

#include <stdatomic.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/huge.h"
#include "allocators/lib/large.h"
#include "allocators/lib/list.h"
#include "allocators/lib/lock.h"

enum {
    UNIT_SHIFT = 13,
    SEGMENT_SHIFT = 25,
    SEGMENT_UNITS = 1 << (SEGMENT_SHIFT - UNIT_SHIFT),
    HEADER_UNITS = 35,
    RUN_UNITS_MAX = SEGMENT_UNITS - HEADER_UNITS,
    RUN_BINS = 88,
    NUMBERS = 1024,
    SPAN_GROUP = 128, /* so many struct spans are committed together */
    SEGMENT_HUGES = SEGMENT_UNITS / HUGE_UNITS,
};

#define UNIT_BYTES    ((size_t)1 << UNIT_SHIFT)
#define SEGMENT_BYTES ((size_t)1 << SEGMENT_SHIFT)

/* What a span is; the tags between are the owner's own. */
enum { TAG_NONE = 0, TAG_META = 253, TAG_LARGE = 254, TAG_FREE = 255 };

struct span_share { /* room for an owner that shares spans without locks */
    _Atomic uint64_t remote;
    _Atomic(void *) below;
    _Atomic uint16_t owner, home;
    uint8_t held;
    bool waiting, kept;
};

struct span {
    struct list link; /* free run: in its bin; span: the owner's */
    union {
        struct {
            struct list kept; /* free run with committed units */
            uint64_t freed_ns;
        };
        struct span_share share; /* span */
    };
    uint32_t units;
    uint8_t tag;
    bool fresh;      /* reads as zero, as far as the owner has not written to it */
    uint16_t unused; /* room for the owner, as are the next three */
    void *free;
    uint32_t live, carved;
};
_Static_assert(sizeof(struct span) == 64, "the layout counts on it");

struct segment {
    struct list link;
    uint32_t header_bytes; /* committed at its start, without `spans` */
    uint32_t span_groups;  /* which groups of `spans` are committed, a bit each */
    uint64_t committed[SEGMENT_UNITS / 64], touched[SEGMENT_UNITS / 64];
    struct huge_page huge[SEGMENT_HUGES];
    _Atomic uint32_t info[SEGMENT_UNITS + 1]; /* the last is a fence */
    _Alignas(8192) struct span spans[SEGMENT_UNITS];
};
_Static_assert(sizeof(struct segment) == HEADER_UNITS * UNIT_BYTES, "the header's units");

enum return_policy { RETURN_DECOMMIT, RETURN_LAZY, RETURN_NEVER };

struct pages {
    _Atomic uint32_t numbers[NUMBERS];
    struct os *os;
    struct lock lock;
    enum return_policy policy;
    bool huge, thp, subrelease; /* huge pages: packed into; asked for; broken up to give back */
    uint64_t age_ns, now_ns;    /* of the last pages_tick() */
    size_t limit_units;
    struct list segments, kept;
    size_t segment_count, kept_units;
    uint64_t returned_units, commits;
    size_t returning; /* who is giving runs or segments back at this moment */
    uint64_t bin_bits[(RUN_BINS + 63) / 64];
    struct list bins[RUN_BINS];
    struct large_table large;
    struct huge_index index;
};

/* The caller has set os, policy, the huge pages' three, age_ns, now_ns and limit_units in zeroed
 * memory; no lock. */
bool pages_open(struct pages *pages);
void pages_close(struct pages *pages);

/* A span of so many units at a multiple of `align_units`, all committed; its first info has the
 * tag, and what is the owner's in the struct is zero. NULL = no memory. Both numbers are at
 * least 1. */
struct span *pages_take(struct pages *pages, size_t units, size_t align_units, unsigned tag);
void pages_give(struct pages *pages, struct span *span);
/* In place; false = it cannot, and nothing has changed. */
bool pages_resize(struct pages *pages, struct span *span, size_t units);

/* For an address that pages_number_ok() does not know: its segment all the same, or NULL. */
struct segment *pages_search(struct pages *pages, const void *p);

/* Objects with reservations of their own, under the lock. find: usable bytes; 0 = none begins at p.
 */
void *pages_large_alloc(struct pages *pages, size_t size, size_t align);
size_t pages_large_find(struct pages *pages, const void *p);
bool pages_large_free(struct pages *pages, const void *p);
bool pages_large_resize(struct pages *pages, const void *p, size_t size);

/* Gives back what has been free for age_ns. */
void pages_tick(struct pages *pages, uint64_t now_ns);
/* Gives back all that is free, whatever the policy, at once. */
void pages_trim(struct pages *pages);

/* Nobody is inside, nor does memory go back, between the two. */
void pages_fork_before(struct pages *pages);
void pages_fork_after(struct pages *pages);

/* Observation, no lock: calls for every span. */
typedef void pages_span_fn(void *arg, struct span *span);
void pages_each(const struct pages *pages, pages_span_fn *fn, void *arg);
/* The whole span as one item, for those that are not cut into a class's objects. */
void pages_span_walk(const struct span *span, walk_fn *fn, void *arg);
/* Every committed byte that is not in a span. */
void pages_walk(const struct pages *pages, walk_fn *fn, void *arg);
const char *pages_check(const struct pages *pages);

/* The most units that a span may have; longer ones are pages_large_alloc()'s. */
static inline size_t pages_run_max(const struct pages *pages)
{
    return pages->huge ? SEGMENT_UNITS - HUGE_UNITS : RUN_UNITS_MAX;
}

static inline struct segment *segment_of(const void *p)
{
    return (struct segment *)align_down((uintptr_t)p, SEGMENT_BYTES);
}

/* True: the address is in a segment. False: it is not, or shares its place in the table. */
static inline bool pages_number_ok(const struct pages *pages, const void *p)
{
    uintptr_t number = (uintptr_t)p >> SEGMENT_SHIFT;
    return atomic_load_explicit(&pages->numbers[number % NUMBERS], memory_order_relaxed) ==
           (uint32_t)number;
}

static inline unsigned segment_unit(const void *p)
{
    return (unsigned)((uintptr_t)p >> UNIT_SHIFT) % SEGMENT_UNITS;
}

static inline uint32_t segment_info(const struct segment *segment, unsigned unit)
{
    return atomic_load_explicit(&segment->info[unit], memory_order_relaxed);
}

static inline unsigned info_tag(uint32_t info)
{
    return info & 0xff;
}

static inline unsigned info_first(uint32_t info)
{
    return info >> UNIT_SHIFT;
}

/* Bytes from the span's start. */
static inline uint32_t info_offset(uint32_t info, const void *p)
{
    return (uint32_t)((uintptr_t)p % SEGMENT_BYTES) - (uint32_t)align_down(info, UNIT_BYTES);
}

static inline unsigned span_first(const struct span *span)
{
    return (unsigned)(span - segment_of(span)->spans);
}

static inline char *span_start(const struct span *span)
{
    return (char *)segment_of(span) + ((size_t)span_first(span) << UNIT_SHIFT);
}

/* Makes units [from, to) of the span findable. No lock: the owner's business. */
static inline void span_publish(struct span *span, size_t from, size_t to)
{
    struct segment *segment = segment_of(span);
    uint32_t first = span_first(span);
    for (size_t i = from; i < to; i++)
        atomic_store_explicit(&segment->info[first + i], first << UNIT_SHIFT | span->tag,
                              memory_order_relaxed);
}

#endif
