/*
 * slab.c - Bonwick's slab allocator with a magazine on each CPU: caches of objects of one size, cut
 * from slabs, that keep what a constructor made of them while they are free; and in front of them a
 * cache for each size class, so that any program runs on it.
 *
 *     size -> cache of the class
 *
 *     magazine of the CPU             slabs of the cache                      pages
 *     | count | obj | obj | .. |      partial  slab -> slab -> ..             free runs, aged
 *       2 M rounds              <=M=> full     slab -> ..              <=>      |
 *                                     empty    slab -> ..                     age, limit: to the
 *                                                                             kernel
 *     slab  | colour | object | object | .. | object | slack | marks |
 *
 * The slab layer (lib/object_cache.h) writes nothing into free objects: which are free, and the
 * list of them, is in an array of marks at the slab's end, or off the slab for objects from 1 KiB
 * on. So an object of a cache with a constructor is still constructed when it is taken again;
 * programs open such caches themselves (api/alloclab.h). The caches behind this front have no
 * constructors: here the layer's price shows alone.
 *
 * The CPU layer (lib/percpu.h) keeps free objects by CPU, not by thread: a thread pops from and
 * pushes to the magazine of the CPU it runs on, by a restartable sequence of the kernel (rseq), so
 * without an atomic instruction, and a thousand threads need no more magazines than CPUs. Where
 * there is no rseq the magazines have locks; mode() says which it is.
 *
 * Sizes up to 64 KiB have classes, eight a doubling (lib/size_class.h). Colours shift the objects
 * of a slab by cache lines, so alignments above 64 bytes have caches of their own, of powers of two
 * to 8 KiB, which are not coloured. Larger objects are runs of pages, and what no segment can hold
 * has a reservation of its own.
 *
 * tick: magazines that did not change for age_ms are emptied into their slabs, slabs that were
 * empty for so long are reaped (their objects destructed, their pages free), and pages free for so
 * long go back to the kernel. trim does all of it at once. Beyond `empty` empty slabs a cache gives
 * the oldest back to the pages without a tick.
 *
 * In numbers: a slab of 256-byte objects is one unit of 8 KiB, with 31 objects and 62 bytes of
 * marks. 194 bytes are left: slabs begin their objects at 0, 64, 128, 192, 0, .. A CPU that has
 * none takes 33 out of the slabs under the cache's lock, hands out one and keeps 32 rounds; the
 * next 32 requests on that CPU touch nothing shared. Its 65th round in hand sends 33 back.
 *
 * Invariants: those of lib/pages.h, and (lib/object_cache.h)
 *   1. A slab is in the list that its objects say: full, partial or empty.
 *   2. Its free, cached, live and never used objects sum to what it holds.
 *   3. Its colour is a step that fits.
 *   4. What magazines hold is marked as cached, and nothing else is.
 *
 * Cost. alloc and free of small objects: some 80 instructions each, no atomic read-modify-write
 * by rseq, one lock otherwise; three cache lines beside the object (the magazine, what the page is,
 * the mark), as nothing is kept in it. Every M-th operation in one direction: O(M) under the
 * cache's lock. Large: O(1) and the pages' lock.
 *   Space: a class wastes less than 1/9 of an object from 128 bytes on, 15 bytes below; two bytes
 * of marks an object, and of a slab less than 1/8 at its end, which the colours use. Free memory
 * beside that in slabs in use, in bytes: CPUs * caches used * 2 M objects, where M objects are at
 * most 16 KiB, or one, and caches used * `empty` slabs, and the pages' limit.
 *
 * Source: Bonwick, The Slab Allocator (1994), for slabs, constructed objects and colours; Bonwick
 * and Adams, Magazines and Vmem (2001), for magazines by CPU; Desnoyers, restartable sequences
 * (Linux 4.18, 2018), in place of their locks. Without their depot of full magazines: M rounds are
 * traded with the slabs directly, under one lock.
 *
 * Trade-off: memory for caches grows with CPUs, not with threads, and constructed objects stay
 * constructed; but a mark outside of the object costs a cache line that a design with lists through
 * its free objects has in hand anyway, and by the size alone there is nothing constructed to save.
 *
 * Detected, in exact words, at the free: an object that is free already, "double free"; an address
 * that is no object's, "invalid free"; a size that the object is too small for, or that a large
 * object cannot have had, "wrong size"; a mark that was written over, "corrupted header", or, when
 * the slab's list comes to it, "corrupted free block". A write into a free object is not seen:
 * nothing in it is the allocator's.
 *
 * Threads: all use the root, there are no views. The orders are argued in lib/percpu.h (magazines),
 * lib/object_cache.h (slabs and marks) and lib/pages.h (finding them without a lock).
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bulk.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/object_cache.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/pages.h"
#include "allocators/lib/size_class.h"

/* ---- options ---- */

struct slab_options {
    uint64_t magazine, objects, empty, age_ms, limit;
    unsigned colour, percpu;
};

#define OPTION(...) OPTION_ROW(struct slab_options, __VA_ARGS__)

static const struct option slab_options[] = {
    OPTION("percpu", percpu, CHOICE, "auto", 0, 0, PERCPU_CHOICES,
           "how CPUs keep magazines: by rseq where there is one, under locks, or not at all"),
    OPTION("magazine", magazine, COUNT, "32", 1, MAGAZINE_MAX, NULL,
           "objects that a CPU and the slabs trade at once; at most 16 KiB of them"),
    OPTION("colour", colour, BOOL, "yes", 0, 0, NULL,
           "whether successive slabs begin at different cache lines"),
    OPTION("objects", objects, COUNT, "8", 1, 512, NULL,
           "fewest objects of a slab; above 1 KiB at most 4 are asked for, above 8 KiB one"),
    OPTION("empty", empty, COUNT, "8", 0, 1e6, NULL,
           "empty slabs that each cache keeps until they age"),
    OPTION("age_ms", age_ms, COUNT, "1000", 0, 1e9, NULL,
           "milliseconds of disuse after which tick drains magazines, reaps slabs, returns pages"),
    OPTION("limit", limit, SIZE, "128m", 0, 1ull << 40, NULL,
           "bytes of free pages beyond which the oldest go back at once"),
    {.name = NULL},
};

/* ---- types ---- */

enum {
    CLASSES = 80,
    ALIGNED_FIRST_LOG2 = 7, /* caches of 128 bytes to 8 KiB, for alignments above a colour */
    ALIGNED = UNIT_SHIFT - ALIGNED_FIRST_LOG2 + 1,
    CACHES = CLASSES + ALIGNED,
};

#define SMALL_MAX ((size_t)64 * 1024)

struct heap {
    struct object_caches shared;
    struct object_cache caches[CACHES]; /* a span's tag is its cache's number + 1 */
};

_Static_assert((size_t)(CLASSES) == (16 - 7) * 8 + 8, "eight classes a doubling, from 128 to 64 K");
_Static_assert((int)CACHES < (int)TAG_META, "tags for all caches");

/* ---- block geometry ---- */

/* The cache for the request; NULL: it is large. The first class whose size is a multiple of an
 * alignment up to 64 bytes has objects so aligned, as its colours are. */
static struct object_cache *cache_of(struct heap *h, size_t size, size_t align)
{
    if (align <= COLOUR_BYTES && size <= SMALL_MAX) {
        unsigned index = size_class_of(size);
        while (!is_aligned(size_class_bytes(index), align))
            index++;
        return &h->caches[index];
    }
    if (size_max(size, align) > UNIT_BYTES)
        return NULL;
    return &h->caches[CLASSES + log2_ceil(size_max(size, align)) - ALIGNED_FIRST_LOG2];
}

/* ---- alloc ---- */

static __attribute__((noinline)) void *alloc_rare(struct heap *h, size_t size, size_t align)
{
    struct object_cache *c = cache_of(h, size, align);
    return c ? object_take(c) : bulk_alloc(&h->shared.pages, size, align);
}

static void *slab_alloc(struct heap *h, size_t size, size_t align)
{
    if (__builtin_expect(size <= SMALL_MAX && align <= ALLOCATOR_ALIGN, 1))
        return object_take(&h->caches[size_class_of(size)]);
    return alloc_rare(h, size, align);
}

static void *slab_zalloc(struct heap *h, size_t size, size_t align)
{
    void *p = slab_alloc(h, size, align);
    if (!p)
        return NULL;
    struct found f = bulk_find(&h->shared.pages, "slab", p);
    bool fresh = f.tag == TAG_NONE || (f.tag == TAG_LARGE && f.span->fresh);
    return fresh ? p : memset(p, 0, size);
}

/* ---- free ---- */

/* What of the program's begins at `p`, with its usable bytes; ends the program if nothing does. */
static struct found object_find(struct heap *h, const void *p)
{
    struct found f = bulk_find(&h->shared.pages, "slab", p);
    if (!found_bulk(&f)) {
        const struct object_cache *c = &h->caches[f.tag - 1];
        object_live(c, f.span, p);
        f.bytes = c->bytes;
    }
    return f;
}

/* Large objects, and misuse. */
static __attribute__((noinline)) void free_slow(struct heap *h, void *p, size_t size)
{
    struct found f = object_find(h, p);
    if (found_bulk(&f)) {
        bulk_free(&h->shared.pages, "slab", &f, p, size);
        return;
    }
    if (size > f.bytes)
        misuse_abort("slab", "wrong size", p);
    object_give(&h->caches[f.tag - 1], f.span, p);
}

static void slab_free(struct heap *h, void *p, size_t size)
{
    if (__builtin_expect(!pages_number_ok(&h->shared.pages, p), 0))
        return free_slow(h, p, size);
    struct segment *segment = segment_of(p);
    uint32_t info = segment_info(segment, segment_unit(p));
    unsigned index = info_tag(info) - 1;
    if (__builtin_expect(index >= CACHES || size > h->caches[index].bytes, 0))
        return free_slow(h, p, size);
    object_give(&h->caches[index], &segment->spans[info_first(info)], p);
}

/* ---- realloc, usable ---- */

static void *slab_realloc(struct heap *h, void *p, size_t old, size_t size, size_t align)
{
    struct found f = object_find(h, p);
    if (is_aligned((uintptr_t)p, align) &&
        (found_bulk(&f) ? bulk_resize(&h->shared.pages, &f, p, size, SMALL_MAX)
                        : size <= f.bytes && size + 4 * ALLOCATOR_ALIGN > f.bytes / 2))
        return p;
    void *moved = slab_alloc(h, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, size_min(old, f.bytes)));
        slab_free(h, p, 0);
    }
    return moved;
}

static size_t slab_usable(struct heap *h, const void *p)
{
    return object_find(h, p).bytes;
}

/* ---- tick, trim, fork ---- */

static void slab_tick(struct heap *h, uint64_t now_ns)
{
    object_caches_tick(&h->shared, now_ns);
}

static void slab_trim(struct heap *h)
{
    object_caches_trim(&h->shared);
}

static void slab_fork(struct heap *h, enum allocator_fork when)
{
    object_caches_fork(&h->shared, when);
}

/* ---- create, destroy ---- */

static struct heap *slab_create(const struct alloc_env *env)
{
    const struct slab_options *opt = env->options;
    const struct object_caches_config config = {.design = "slab",
                                                .percpu = (enum percpu_choice)opt->percpu,
                                                .env = env,
                                                .colour = opt->colour,
                                                .rounds = (uint32_t)opt->magazine,
                                                .objects = (uint32_t)opt->objects,
                                                .empties = (uint32_t)opt->empty,
                                                .age_ns = opt->age_ms * 1000000,
                                                .now_ns = env->now_ns(env->ctx),
                                                .limit_bytes = opt->limit};
    struct heap *h = os_map(env->os, sizeof *h, 1);
    if (!h)
        return NULL;
    if (!object_caches_open(&h->shared, env->os, h->caches, &config)) {
        os_release(env->os, h, sizeof *h);
        return NULL;
    }
    for (unsigned i = 0; i < CLASSES; i++)
        object_cache_add(&h->shared, size_class_bytes(i), ALLOCATOR_ALIGN);
    for (unsigned i = 0; i < ALIGNED; i++)
        object_cache_add(&h->shared, (size_t)1 << (ALIGNED_FIRST_LOG2 + i),
                         (size_t)1 << (ALIGNED_FIRST_LOG2 + i));
    return h;
}

static void slab_destroy(struct heap *h)
{
    struct os *os = h->shared.pages.os;
    object_caches_close(&h->shared);
    os_release(os, h, sizeof *h);
}

/* ---- walk, check, stats ---- */

static void slab_walk(struct heap *h, walk_fn *fn, void *arg)
{
    fn(arg, &(struct walk_item){.address = (uintptr_t)h,
                                .bytes = align_up(sizeof *h, os_page_bytes()),
                                .kind = WALK_META});
    object_caches_walk(&h->shared, fn, arg);
}

static const char *slab_check(struct heap *h)
{
    return object_caches_check(&h->shared);
}

static const char *slab_mode(struct heap *h)
{
    return h->shared.percpu.mode;
}

static void slab_stats(struct heap *h, stats_fn *fn, void *arg)
{
    object_caches_stats(&h->shared, fn, arg);
}

ALLOCATOR(slab) = {
    .name = "slab",
    .summary = "object caches cut from coloured slabs, a magazine for each CPU by rseq",
    .source = "Bonwick 1994; Bonwick and Adams 2001",
    .traits = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN |
              ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct slab_options),
    .options = slab_options,
    .create = slab_create,
    .destroy = slab_destroy,
    .alloc = slab_alloc,
    .free = slab_free,
    .zalloc = slab_zalloc,
    .realloc = slab_realloc,
    .usable = slab_usable,
    .tick = slab_tick,
    .trim = slab_trim,
    .fork = slab_fork,
    .walk = slab_walk,
    .check = slab_check,
    .mode = slab_mode,
    .stats = slab_stats,
};
