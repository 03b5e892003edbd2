/*
 * object_cache.h - caches of objects of one kind, after Bonwick's slab allocator: objects are cut
 * from slabs, runs of pages, and keep their constructed state while they are free.
 *
 *     give, take                     slabs of the cache
 *     magazine of the CPU   <= M =>  partial  slab -> slab -> ..   some objects out, some not
 *     (percpu.h, 2 M rounds)         full     slab -> ..           all out
 *                                    empty    slab -> ..           none: oldest first, reaped by
 * age
 *
 *     slab   | colour | object 0 | object 1 | ... | object n-1 | slack | marks: 2 bytes an object |
 *
 * Nothing is written into a free object. Whether it is one is said by its mark, an element of an
 * array at the slab's end; the list of a slab's free objects runs through their marks as indices:
 *
 *     mark     an index, or END      free in the slab: the next free one
 *              CACHED                free in a magazine, or on the way
 *              LIVE                  the program's
 *              UNUSED                never handed out, so not constructed yet
 *
 * So an object is constructed once, when it is first needed, used however often, and destructed
 * when its slab is reaped. Slabs of objects from 1 KiB on hold at most eight of them and have their
 * marks in the struct span (pages.h), off the slab, so that powers of two fill their pages.
 *
 * Colour: successive slabs begin their objects one cache line further (or as far as the objects'
 * alignment asks), as long as the slack lasts, then at 0 again. Otherwise first objects of all
 * slabs, and the fields at their fronts that programs touch most, would meet in few lines of the
 * cache.
 *
 * The slab of an address is found by the pages' masks, and its cache by the span's tag, which is
 * the cache's number + 1.
 *
 * Invariants (object_caches_check)
 *   1. every slab is in the list that its objects say, and the lists hold all slabs, unless a fork
 *      lost some that another thread was just reaping.
 *   2. a slab's free list and its LIVE, CACHED and UNUSED marks sum to its objects.
 *   3. a slab's colour is a step that fits.
 *   4. rounds of magazines are marked CACHED, and no others are, unless a fork lost some that were
 *      on the way in threads that the child does not have.
 *
 * Threads: a mark that is LIVE or CACHED belongs to who holds the object; all else of a slab, and
 * the lists, are guarded by the cache's lock. The fields of a span that find objects do not change
 * while it is one, and were written before any of its objects was handed out. Constructors and
 * destructors run outside of all locks, on objects that nobody else can reach: they may use other
 * caches, and this one too. Lock order: upkeep, percpu's visitors, CPU, cache, pages; a CPU's lock
 * is never held together with a cache's but by a visitor.
 */
#ifndef ALLOCLAB_OBJECT_CACHE_H
#define ALLOCLAB_OBJECT_CACHE_H

#include "allocators/lib/misuse.h"
#include "allocators/lib/pages.h"
#include "allocators/lib/percpu.h"

typedef uint16_t __attribute__((may_alias)) object_mark; /* also lies in a struct span */

enum {
    MARK_OBJECTS_MAX = 0xfff0, /* indices are below */
    MARK_UNUSED = 0xfffc,
    MARK_LIVE,
    MARK_CACHED,
    MARK_END,
};

enum {
    MAGAZINE_MAX = 128, /* rounds that a cache's `rounds` may be */
    OFF_SLAB_OBJECTS = 8,
    OFF_SLAB_BYTES = 1024, /* objects from here on have their marks in the struct span */
    COLOUR_BYTES = 64,
    OBJECT_CACHE_BYTES_MAX = 1 << 20,
};

typedef void object_fn(void *object, void *arg);

struct object_caches; /* what the caches of one heap share */

struct object_cache {
    /* What does not change. */
    struct object_caches *shared;
    uint64_t reciprocal; /* 2^40 / bytes, rounded up */
    size_t magazine;     /* of each CPU: where in its block */
    uint32_t bytes, objects, units;
    uint32_t rounds; /* traded with the slabs at once; a magazine holds twice as many */
    uint32_t marks;  /* where in the slab; 0 = in the struct span */
    uint32_t colour_step, colour_max;
    uint32_t tag;
    object_fn *ctor, *dtor;
    void *arg;
    /* Guarded by the lock. */
    struct lock lock;
    uint32_t colour; /* of the next slab */
    uint32_t empties;
    struct list partial, full, empty;
    uint64_t refills, flushes, slabs_made, slabs_reaped, constructed, destructed;
};

struct object_caches_config {
    const char *design; /* for misuse */
    enum percpu_choice percpu;
    const struct alloc_env *env; /* NULL: the machine's CPUs */
    bool colour;
    uint32_t rounds, objects, empties; /* most rounds; fewest objects a slab; empty slabs kept */
    uint64_t age_ns, now_ns;
    size_t limit_bytes; /* of free pages */
};

struct object_caches {
    struct pages pages;
    struct percpu percpu;
    struct object_caches_config config;
    _Atomic uint64_t now_ns;     /* of the last tick; relaxed: an age may be a tick off */
    _Atomic uint64_t visited_ns; /* likewise */
    struct lock upkeep; /* of what the pages want done by one thread at a time, and forks */
    bool forked;        /* a child: what other threads were about is lost to it */
    unsigned count;
    struct object_cache *cache; /* the owner's array */
};

/* In zeroed memory; `cache` has room for what will be added. false = not on this machine. */
bool object_caches_open(struct object_caches *s, struct os *os, struct object_cache *cache,
                        const struct object_caches_config *config);
/* Destructs what is free and constructed; gives everything back. Objects that are still live. */
size_t object_caches_close(struct object_caches *s);
/* Before anything is taken. `align` is a power of two, at most a unit; NULL = too large. */
struct object_cache *object_cache_add(struct object_caches *s, size_t bytes, size_t align);

/* Drains magazines that did not change for age_ns, reaps slabs that were empty for so long. */
void object_caches_tick(struct object_caches *s, uint64_t now_ns);
/* Drains and reaps everything. */
void object_caches_trim(struct object_caches *s);
void object_caches_fork(struct object_caches *s, enum allocator_fork when);
/* Every committed byte but those of the owner; what is in spans with other tags is LIVE, or META.
 */
void object_caches_walk(struct object_caches *s, walk_fn *fn, void *arg);
const char *object_caches_check(struct object_caches *s);
void object_caches_stats(struct object_caches *s, stats_fn *fn, void *arg);

/* What take and give do when the magazine does not serve. */
void *object_cache_refill(struct object_cache *c);
void object_cache_flush(struct object_cache *c, void *p);
/* Why p cannot be freed; ends the program. */
__attribute__((noreturn, cold)) void object_misuse(const struct object_cache *c,
                                                   const struct span *span, const void *p);

static inline struct span *object_span(const void *p)
{
    struct segment *segment = segment_of(p);
    return &segment->spans[info_first(segment_info(segment, segment_unit(p)))];
}

static inline object_mark *object_marks(const struct object_cache *c, struct span *span)
{
    char *at = c->marks ? span_start(span) + c->marks : (char *)&span->kept;
    return (object_mark *)(void *)at;
}

/* Index of the object around p in the span, right if p is the object's start. */
static inline uint32_t object_index(const struct object_cache *c, const struct span *span,
                                    const void *p)
{
    uint64_t offset = (uintptr_t)p - (uintptr_t)span->free;
    return (uint32_t)(offset * c->reciprocal >> 40);
}

static inline void *object_at(const struct object_cache *c, const struct span *span, uint32_t index)
{
    return (char *)span->free + (size_t)index * c->bytes;
}

static inline void *object_take(struct object_cache *c)
{
    void *p = percpu_pop(&c->shared->percpu, c->magazine);
    if (__builtin_expect(!p, 0))
        return object_cache_refill(c);
    struct span *span = object_span(p);
    object_marks(c, span)[object_index(c, span, p)] = MARK_LIVE;
    return p;
}

/* The mark of the object at p; ends the program if it is none of the program's. */
static inline object_mark *object_live(const struct object_cache *c, struct span *span,
                                       const void *p)
{
    uint32_t index = object_index(c, span, p);
    if (__builtin_expect(index >= c->objects || object_at(c, span, index) != p, 0))
        object_misuse(c, span, p);
    object_mark *mark = &object_marks(c, span)[index];
    if (__builtin_expect(*mark != MARK_LIVE, 0))
        object_misuse(c, span, p);
    return mark;
}

/* `span` is the cache's. */
static inline void object_give(struct object_cache *c, struct span *span, void *p)
{
    *object_live(c, span, p) = MARK_CACHED;
    if (__builtin_expect(!percpu_push(&c->shared->percpu, c->magazine, 2 * (size_t)c->rounds, p),
                         0))
        object_cache_flush(c, p);
}

/*
 * A cache that stands alone, with pages of its own from `os`. The name (at most 31 bytes are kept)
 * is told in reports of misuse. ctor and dtor may be NULL. An object is constructed before it is
 * first taken, must be given back in its constructed state, and is destructed when its memory goes
 * back. NULL = no memory, an object over 1 MiB, or an alignment over 8 KiB.
 */
struct object_cache *object_cache_open(struct os *os, const char *name, size_t bytes, size_t align,
                                       object_fn *ctor, object_fn *dtor, void *arg);
/* The same; `config` says all but the design's name and the ages' start, which is 0. */
struct object_cache *object_cache_open_as(struct os *os, const struct object_caches_config *config,
                                          const char *name, size_t bytes, size_t align,
                                          object_fn *ctor, object_fn *dtor, void *arg);
/* The objects that were still live: their memory is gone, and nothing was called for them. */
size_t object_cache_close(struct object_cache *c);
void *object_cache_take(struct object_cache *c);                 /* NULL = no memory */
void object_cache_give(struct object_cache *c, void *p);         /* ends the program if p is none */
void object_cache_reap(struct object_cache *c);                  /* gives back what is free, now */
void object_cache_tick(struct object_cache *c, uint64_t now_ns); /* what was free for a second */
void object_cache_walk(struct object_cache *c, walk_fn *fn, void *arg);
const char *object_cache_check(struct object_cache *c);
const char *object_cache_mode(const struct object_cache *c);

#endif
