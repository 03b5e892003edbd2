/*
 * tlsf.c - two-level segregated fit: alloc and free in a bounded number of steps whatever the heap
 * holds, with little more waste than a best fit. Free blocks are in bins by size; two words of bits
 * find a bin whose every block fits, so no list is ever searched. Blocks, splitting and merging are
 * lib/goodfit.h.
 *
 *      first level: the doubling            second level: 2^second equal parts of it
 *      rows   ... 0 1 0 0 1 1 0             bits of a row    0 0 1 0 ... 0
 *                   |                                            |
 *                   +-- 2^k <= size < 2^(k+1)                    +-- list of free blocks, from
 *                                                                    2^k + 2 * 2^k / 2^second on
 *      one block
 *      b      p                                            b'
 *     | word 8 | user's bytes, up to b' ................... | word 8 | ...             live
 *     | word 8 | next 8 | prev 8 | ............... | size 8 | word 8 | ...             free
 *       word = check (16 bits) | size in bytes (44 bits) | fence, previous-is-free, live (4 bits)
 *
 * Sizes are multiples of 16; the smallest 2^(second + 1) of them have a bin each (the linear part).
 * Above, a free block goes into the bin of its size rounded down. A request is rounded up to the
 * next bin's beginning and takes the first block of that bin, or else of the next one that is not
 * empty in its row, or in a higher row: two searches for the lowest set bit. What is left over goes
 * into a bin again.
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
 *   5. A bin's bit is set exactly if it is not empty, and a row's exactly if one of its bins' is.
 *
 * Cost: alloc, free, usable, and realloc in place O(1): straight code, at most two removals and two
 * insertions. A commit at the top is one more door call (two when memory is short), for the step or
 * the request, whichever is more. A realloc that moves copies the object. Space: 8 bytes a block;
 * rounding to 16; and 16 bytes of heap for each bin, 14 KiB by default.
 *   A free block of s bytes serves every request for a block of up to s * (1 - 2^-second) bytes,
 * and of s itself in the linear part: so at most 1 part in 2^second of a free block is missed.
 *
 * Source: Masmano, Ripoll, Crespo, Real, TLSF: a New Dynamic Memory Allocator for Real-Time Systems
 * (ECRTS 2004).
 *
 * Trade-off: good fit instead of best fit, for a bound. Objects of all sizes share one pool, so
 * that nothing but the top goes back to the kernel, and a hole below a live object stays committed.
 * Fewer parts (second) make a smaller heap that misses more of what is free.
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

struct tlsf_options {
    uint64_t second, pool, commit;
};

static const struct option tlsf_options[] = {
    {.name = "second",
     .type = OPTION_COUNT,
     .offset = offsetof(struct tlsf_options, second),
     .fallback = "5",
     .min = 1,
     .max = 6,
     .summary = "log2 of the parts of each doubling of the size"},
    {.name = "pool",
     .type = OPTION_SIZE,
     .offset = offsetof(struct tlsf_options, pool),
     .fallback = "64g",
     .min = 1 << 20,
     .max = (double)((uint64_t)1 << 40),
     .summary = "bytes of address space; what does not fit is out of memory"},
    {.name = "commit",
     .type = OPTION_SIZE,
     .offset = offsetof(struct tlsf_options, commit),
     .fallback = "64k",
     .min = 1,
     .max = 1 << 30,
     .summary = "bytes by which the pool's committed part grows"},
    {.name = NULL},
};

/* ---- types ---- */

enum { ROWS = 48 };

struct heap {
    struct goodfit fit;
    unsigned second;
    uint64_t rows;        /* bit k: row k has a bin that is not empty */
    uint64_t parts[ROWS]; /* bit i of row k: bin k << second | i is not empty */
};
_Static_assert(offsetof(struct heap, fit) == 0, "a heap begins with its struct goodfit");
_Static_assert((BLOCK_MAX << 2) / BLOCK_GRANULE < (size_t)1 << ROWS, "a row for every size");

/* ---- free structure ---- */

static inline struct heap *heap_of(const struct goodfit *g)
{
    return (struct heap *)(uintptr_t)g;
}

/* The row of a size in granules is its doubling, but rows 0 and 1 are the linear part. */
static inline unsigned bin_at(unsigned second, size_t granules)
{
    if (granules < (size_t)2 << second)
        return (unsigned)granules;
    unsigned shift = log2_floor(granules) - second;
    return (shift << second) + (unsigned)(granules >> shift);
}

static inline unsigned tlsf_bin_of(const struct goodfit *g, size_t size)
{
    return bin_at(heap_of(g)->second, size / BLOCK_GRANULE);
}

static inline int tlsf_find(const struct goodfit *g, size_t need)
{
    const struct heap *h = heap_of(g);
    size_t granules = need / BLOCK_GRANULE;
    if (granules >= (size_t)2 << h->second)
        granules += ((size_t)1 << (log2_floor(granules) - h->second)) - 1;
    unsigned bin = bin_at(h->second, granules), row = bin >> h->second;
    uint64_t parts = h->parts[row] & ~UINT64_C(0) << (bin & ((1u << h->second) - 1));
    if (!parts) {
        uint64_t rows = h->rows & ~UINT64_C(1) << row;
        if (!rows)
            return GOODFIT_NONE;
        row = (unsigned)__builtin_ctzll(rows);
        parts = h->parts[row];
    }
    return (int)((row << h->second) + (unsigned)__builtin_ctzll(parts));
}

static inline void tlsf_fill(struct goodfit *g, unsigned bin)
{
    struct heap *h = heap_of(g);
    unsigned row = bin >> h->second;
    h->parts[row] |= UINT64_C(1) << (bin & ((1u << h->second) - 1));
    h->rows |= UINT64_C(1) << row;
}

static inline void tlsf_drain(struct goodfit *g, unsigned bin)
{
    struct heap *h = heap_of(g);
    unsigned row = bin >> h->second;
    h->parts[row] &= ~(UINT64_C(1) << (bin & ((1u << h->second) - 1)));
    if (!h->parts[row])
        h->rows &= ~(UINT64_C(1) << row);
}

static const struct goodfit_index tlsf_index = {
    .bin_of = tlsf_bin_of, .find = tlsf_find, .fill = tlsf_fill, .drain = tlsf_drain};

/* ---- alloc, free, realloc ---- */

static void *tlsf_alloc(struct heap *h, size_t size, size_t align)
{
    return goodfit_alloc(&h->fit, &tlsf_index, size, align);
}

static void tlsf_free(struct heap *h, void *p, size_t size)
{
    goodfit_free(&h->fit, &tlsf_index, p, size);
}

static void *tlsf_realloc(struct heap *h, void *p, size_t old, size_t size, size_t align)
{
    return goodfit_realloc(&h->fit, &tlsf_index, p, old, size, align);
}

static size_t tlsf_usable(struct heap *h, const void *p)
{
    return goodfit_usable(&h->fit, p);
}

/* ---- trim ---- */

static void tlsf_trim(struct heap *h)
{
    goodfit_trim(&h->fit);
}

/* ---- create, destroy ---- */

static struct heap *tlsf_create(const struct alloc_env *env)
{
    const struct tlsf_options *opt = env->options;
    size_t largest = align_up(opt->pool, os_page_bytes());
    struct goodfit_config config = {
        .name = "tlsf",
        .pool = opt->pool,
        .commit = opt->commit,
        .heap_bytes = sizeof(struct heap),
        .bins = bin_at((unsigned)opt->second, largest / BLOCK_GRANULE) + 1,
    };
    struct goodfit *g = goodfit_open(env, &config);
    if (!g)
        return NULL;
    heap_of(g)->second = (unsigned)opt->second;
    return heap_of(g);
}

static void tlsf_destroy(struct heap *h)
{
    goodfit_close(&h->fit);
}

/* ---- walk, check, stats ---- */

static void tlsf_walk(struct heap *h, walk_fn *fn, void *arg)
{
    goodfit_walk(&h->fit, fn, arg);
}

static const char *tlsf_check(struct heap *h)
{
    for (unsigned row = 0; row < ROWS; row++) {
        if ((h->rows >> row & 1) != (h->parts[row] != 0))
            return "rows: a row's bit is wrong";
        for (unsigned part = 0; part < 64; part++) {
            unsigned bin = (row << h->second) + part;
            bool filled =
                part < 1u << h->second && bin < h->fit.bins && !list_empty(&h->fit.heads[bin]);
            if ((h->parts[row] >> part & 1) != filled)
                return "bins: a bin's bit is wrong";
        }
    }
    return goodfit_check(&h->fit, &tlsf_index);
}

static void tlsf_stats(struct heap *h, stats_fn *fn, void *arg)
{
    goodfit_stats(&h->fit, fn, arg);
}

ALLOCATOR(tlsf) = {
    .name = "tlsf",
    .summary = "two-level segregated fit: real-time, O(1) and never a search",
    .source = "Masmano, Ripoll, Crespo, Real 2004",
    .traits = ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN | ALLOCATOR_FINDS_OWNER | ALLOCATOR_BOUNDED,
    .options_size = sizeof(struct tlsf_options),
    .options = tlsf_options,
    .create = tlsf_create,
    .destroy = tlsf_destroy,
    .alloc = tlsf_alloc,
    .free = tlsf_free,
    .realloc = tlsf_realloc,
    .usable = tlsf_usable,
    .trim = tlsf_trim,
    .walk = tlsf_walk,
    .check = tlsf_check,
    .stats = tlsf_stats,
};
