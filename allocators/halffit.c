/*
 * halffit.c - half-fit: alloc and free in a bounded number of steps, with one bin for each doubling
 * of the size and one word of bits. The simplest design with a bound, and what that costs: a free
 * block may be twice as large as a request and still not serve it. Blocks, splitting and merging
 * are lib/goodfit.h.
 *
 *     one word   0 0 1 0 1 1 0 0     bit k: bin k is not empty
 *                    |
 *                    +-- list of free blocks of 2^k to 2^(k+1) - 1 times 16 bytes, any order
 *      one block
 *      b      p                                            b'
 *     | word 8 | user's bytes, up to b' ................... | word 8 | ...             live
 *     | word 8 | next 8 | prev 8 | ............... | size 8 | word 8 | ...             free
 *       word = check (16 bits) | size in bytes (44 bits) | fence, previous-is-free, live (4 bits)
 *
 * Sizes are multiples of 16, at least 32. A free block goes into the bin of its size rounded down
 * to a power of two. A request for a block of `need` bytes is rounded up to a power of two, only
 * for the search: it takes the first block of that bin, or else of the next one that is not empty.
 * Every block there is large enough; what is left over goes into a bin again. A block of the
 * request's own bin that would fit is not found: only if `need` is itself a power of two is its bin
 * looked into.
 *
 * The pool is one reservation. It is committed at the top, in steps, when no bin can serve a
 * request; when it is full, that is out of memory.
 *
 * Invariants
 *   1. Blocks tile the pool from its first block to the top; each size is a multiple of 16, >= 32.
 *   2. No two neighbours are free, and the last block is not.
 *   3. Every word's check holds, the fence stands at the top; previous-is-free is set exactly
 *      behind a free block, and the last word of a free block is its size.
 *   4. The lists hold exactly the free blocks, each in the bin of its size; links point back.
 *   5. A bin's bit is set exactly if it is not empty.
 *
 * Cost: alloc, free, usable, and realloc in place O(1): straight code, at most two removals and two
 * insertions. A commit at the top is one more door call (two when memory is short), for the step or
 * the request, whichever is more. A realloc that moves copies the object. Space: 8 bytes a block;
 * rounding to 16; and one heap of a page.
 *   A free block of s bytes serves every request for a block of up to the largest power of two that
 * is not above s, and no larger one: up to half of a free block is missed, less one granule. A hole
 * left by a block whose size is no power of two does not serve the same size again until it has
 * merged with a neighbour.
 *
 * Source: Ogasawara, An Algorithm with Constant Execution Time for Dynamic Storage Allocation
 * (RTCSA 1995).
 *
 * Trade-off: the smallest index and the shortest worst case of all bounded designs, for the most
 * memory; tlsf halves the misses with each bit of its second level. On average it does more than
 * tlsf: without exact fits nearly every request splits a block, and nearly every free merges again.
 * Nothing but the top goes back to the kernel, and a hole below a live object stays committed.
 *
 * Detected, in exact words. An address that is no block in use: "double free" if it lies in free
 * memory, else "invalid free". A size given to free that the block cannot have had: "wrong size". A
 * word that was written over: "corrupted header", when the block or the one before it is freed,
 * resized or asked for its size; one in 65,536 escapes. A free block whose links or size were
 * written over: "corrupted free block", when it is next used.
 *
 * Threads: none; a heap belongs to one thread at a time.
 */
#include "allocators/lib/allocator.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/goodfit.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"

/* ---- options ---- */

struct halffit_options {
    uint64_t pool, commit;
};

static const struct option halffit_options[] = {
    {.name = "pool",
     .type = OPTION_SIZE,
     .offset = offsetof(struct halffit_options, pool),
     .fallback = "64g",
     .min = 1 << 20,
     .max = (double)((uint64_t)1 << 40),
     .summary = "bytes of address space; what does not fit is out of memory"},
    {.name = "commit",
     .type = OPTION_SIZE,
     .offset = offsetof(struct halffit_options, commit),
     .fallback = "64k",
     .min = 1,
     .max = 1 << 30,
     .summary = "bytes by which the pool's committed part grows"},
    {.name = NULL},
};

/* ---- types ---- */

enum { GRANULE_LOG2 = 4 };
_Static_assert(BLOCK_GRANULE == 1 << GRANULE_LOG2, "bin 0 is that of one granule");

struct heap {
    struct goodfit fit;
    uint64_t filled; /* bit k: bin k is not empty */
};
_Static_assert(offsetof(struct heap, fit) == 0, "a heap begins with its struct goodfit");

/* ---- free structure ---- */

static inline struct heap *heap_of(const struct goodfit *g)
{
    return (struct heap *)(uintptr_t)g;
}

static inline unsigned halffit_bin_of(const struct goodfit *g, size_t size)
{
    (void)g;
    return log2_floor(size) - GRANULE_LOG2;
}

static inline int halffit_find(const struct goodfit *g, size_t need)
{
    unsigned bin = log2_ceil(need) - GRANULE_LOG2;
    uint64_t filled = heap_of(g)->filled >> bin << bin;
    return filled ? __builtin_ctzll(filled) : GOODFIT_NONE;
}

static inline void halffit_fill(struct goodfit *g, unsigned bin)
{
    heap_of(g)->filled |= UINT64_C(1) << bin;
}

static inline void halffit_drain(struct goodfit *g, unsigned bin)
{
    heap_of(g)->filled &= ~(UINT64_C(1) << bin);
}

static const struct goodfit_index halffit_index = {
    .bin_of = halffit_bin_of, .find = halffit_find, .fill = halffit_fill, .drain = halffit_drain};

/* ---- alloc, free, realloc ---- */

static void *halffit_alloc(struct heap *h, size_t size, size_t align)
{
    return goodfit_alloc(&h->fit, &halffit_index, size, align);
}

static void halffit_free(struct heap *h, void *p, size_t size)
{
    goodfit_free(&h->fit, &halffit_index, p, size);
}

static void *halffit_realloc(struct heap *h, void *p, size_t old, size_t size, size_t align)
{
    return goodfit_realloc(&h->fit, &halffit_index, p, old, size, align);
}

static size_t halffit_usable(struct heap *h, const void *p)
{
    return goodfit_usable(&h->fit, p);
}

/* ---- trim ---- */

static void halffit_trim(struct heap *h)
{
    goodfit_trim(&h->fit);
}

/* ---- create, destroy ---- */

static struct heap *halffit_create(const struct alloc_env *env)
{
    const struct halffit_options *opt = env->options;
    struct goodfit_config config = {
        .name = "halffit",
        .pool = opt->pool,
        .commit = opt->commit,
        .heap_bytes = sizeof(struct heap),
        .bins = log2_ceil(opt->pool + os_page_bytes()) - GRANULE_LOG2 + 1,
    };
    struct goodfit *g = goodfit_open(env, &config);
    return g ? heap_of(g) : NULL;
}

static void halffit_destroy(struct heap *h)
{
    goodfit_close(&h->fit);
}

/* ---- walk, check, stats ---- */

static void halffit_walk(struct heap *h, walk_fn *fn, void *arg)
{
    goodfit_walk(&h->fit, fn, arg);
}

static const char *halffit_check(struct heap *h)
{
    for (unsigned bin = 0; bin < 64; bin++) {
        bool filled = bin < h->fit.bins && !list_empty(&h->fit.heads[bin]);
        if ((h->filled >> bin & 1) != filled)
            return "bins: a bin's bit is wrong";
    }
    return goodfit_check(&h->fit, &halffit_index);
}

static void halffit_stats(struct heap *h, stats_fn *fn, void *arg)
{
    goodfit_stats(&h->fit, fn, arg);
}

ALLOCATOR(halffit) = {
    .name = "halffit",
    .summary = "half-fit: real-time, O(1), one bin for each doubling of the size",
    .source = "Ogasawara 1995",
    .traits = ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN | ALLOCATOR_FINDS_OWNER | ALLOCATOR_BOUNDED,
    .options_size = sizeof(struct halffit_options),
    .options = halffit_options,
    .create = halffit_create,
    .destroy = halffit_destroy,
    .alloc = halffit_alloc,
    .free = halffit_free,
    .realloc = halffit_realloc,
    .usable = halffit_usable,
    .trim = halffit_trim,
    .walk = halffit_walk,
    .check = halffit_check,
    .stats = halffit_stats,
};
