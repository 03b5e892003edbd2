/*
 * tiling.h - regions of memory tiled by blocks, in use and free, with the bookkeeping of sizes and
 * states either in a word in front of each block or in a table apart. What becomes of the free
 * blocks (lists, trees, bins) is the design's own affair; this knows where each block begins and
 * ends, what its neighbours are, how a region grows, and whether its bookkeeping is still true.
 *
 * Inband: b is a block's address, p = b + 8 what the user gets, a multiple of 16.
 *
 *     word at b: check (16 bits) | size in bytes (44 bits) | fence, previous-is-free, live (4 bits)
 *
 * The check is a keyed hash of address, size and flags. At the top of a region, where its blocks
 * end, stands a fence: a word of size 0, so that the last block has a word behind it as well.
 *
 * Side: b = p. Two bits for each 16 bytes: STARTS, set where a block begins and at the top; USED,
 * set at the first and the last 16 bytes of a block in use. A free block has its size in its first
 * word as well, where the user's writes can reach it: only the table is trusted.
 *
 * In both: a free block's link is the design's; with footers, its last 8 bytes repeat its size.
 * Blocks are multiples of 16 bytes and at least 32. Bytes at and above the top belong to no block.
 * With `boundary`, a block knows whether the one before it is free.
 *
 * Damage and misuse end in misuse_abort() in the design's name, with the user's address of the
 * block: "double free", "invalid free", "corrupted header", "corrupted free block".
 *
 * Threads: none; a tiling belongs to one heap. All functions are O(1) unless they say otherwise.
 */
#ifndef ALLOCLAB_TILING_H
#define ALLOCLAB_TILING_H

#include "allocators/lib/allocator.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/list.h"

#define BLOCK_GRANULE ((size_t)16)
#define BLOCK_MIN     ((size_t)32)
#define BLOCK_MAX     ((size_t)1 << 46) /* largest request; with header and alignment twice that */

enum { BLOCK_LIVE = 1, BLOCK_PREV_FREE = 2, BLOCK_FENCE = 4, BLOCK_FLAGS = 15 };
#define BLOCK_CHECK_SHIFT 48
#define BLOCK_WORD_MASK   (((uint64_t)1 << BLOCK_CHECK_SHIFT) - 1)

struct block {
    uint64_t word;
    struct list link; /* from here on only in free blocks; in others the user's bytes */
};
_Static_assert(sizeof(struct block) + sizeof(uint64_t) <= BLOCK_MIN, "link and footer must fit");
_Static_assert(BLOCK_MAX * 2 <= BLOCK_WORD_MASK, "the word holds every size");

struct region {
    uintptr_t start, end;       /* the reservation */
    uintptr_t area, committed;  /* where blocks may lie, and how far that is committed */
    uintptr_t first, top, high; /* first block, end of the last, and highest top so far */
    uint64_t *map;              /* side: pairs of words, STARTS and USED; ends at `area` */
    uintptr_t map_committed;
};

enum { TILING_REGIONS = 32 };
enum { MAP_STARTS, MAP_USED };

struct tiling {
    const char *name; /* of the design */
    struct os *os;
    uint64_t key, commits;
    size_t overhead; /* p - b */
    size_t page, commit_bytes, region_bytes;
    bool side, boundary, footers;
    unsigned count, hint;
    struct region regions[TILING_REGIONS]; /* by address */
};

struct tally { /* of free blocks; equal sums of hashed addresses mean equal sets */
    size_t blocks, bytes;
    uint64_t hash;
};

/*
 * Reserves the first region, with `head` committed bytes at its start that are the design's (its
 * heap, where *t may be copied to). The caller has set name, os, key, commit_bytes, region_bytes,
 * side, boundary and footers. Asks for a smaller region while the kernel refuses. NULL = no memory.
 */
void *tiling_open(struct tiling *t, size_t head);
void tiling_close(struct tiling *t); /* releases all regions, the head last */

/* A further region with room for `need` bytes, twice as large as the one before; NULL = no memory.
 */
struct region *tiling_grow(struct tiling *t, size_t need);
/* Makes sure that the top can rise by `bytes`; false = no memory, or the region's end. */
bool region_commit(struct tiling *t, struct region *r, size_t bytes);
/* Moves the top to `top`, up after region_commit(), or down to the start of a free last block. */
void region_set_top(struct tiling *t, struct region *r, uintptr_t top);
/* Gives back what lies above the tops, and regions without a block (but not the head's). */
void tiling_trim(struct tiling *t);

/* Every committed byte once. O(blocks). */
void tiling_walk(const struct tiling *t, walk_fn *fn, void *arg);
/* NULL, or what is broken; counts the free blocks. O(blocks + bytes with side headers / 16). */
const char *tiling_check(const struct tiling *t, struct tally *free_blocks);
void tally_add(struct tally *tally, const struct block *b, size_t size);

/* `p` is no block in use: finds out what it is, O(blocks), and ends the program. */
__attribute__((noreturn, cold)) void tiling_misuse(const struct tiling *t, const void *p);
/* The header, or else the links, size or footer of `b` are not what they were. */
__attribute__((noreturn, cold)) void block_damaged(const struct tiling *t, const struct block *b);

/* The start behind `address` in the table, O(distance / 1024); there is one, at the top at latest.
 */
uintptr_t map_next(const struct region *r, uintptr_t address);
/* The free block that ends where `b` begins, when there is one: from the footer, or from the table
 * in O(size / 1024); NULL with neither. */
struct block *block_before(const struct tiling *t, const struct region *r, const struct block *b);

static inline uintptr_t block_address(const struct block *b)
{
    return (uintptr_t)b;
}

static inline struct block *block_at(uintptr_t address)
{
    return (struct block *)address;
}

static inline struct block *block_of(const struct tiling *t, const void *p)
{
    return block_at((uintptr_t)p - t->overhead);
}

static inline void *block_payload(const struct tiling *t, const struct block *b)
{
    return (void *)((uintptr_t)b + t->overhead);
}

/* Bytes of the block for a request of `size`. */
static inline size_t block_bytes(const struct tiling *t, size_t size)
{
    return size_max(align_up(size + t->overhead, BLOCK_GRANULE), BLOCK_MIN);
}

/* Bytes to leave free before a block at `b` so that its payload is aligned: 0 or a block's size. */
static inline size_t block_lead(const struct tiling *t, uintptr_t b, size_t align)
{
    uintptr_t p = b + t->overhead;
    return is_aligned(p, align) ? 0 : align_up(p + BLOCK_MIN, align) - p;
}

/* The size of a free block, or of any block with an inband header. */
static inline size_t block_word_size(const struct block *b)
{
    return b->word & BLOCK_WORD_MASK & ~(uint64_t)BLOCK_FLAGS;
}

static inline uint64_t word_check(const struct tiling *t, const struct block *b, uint64_t word)
{
    return (((uintptr_t)b ^ word ^ t->key) * UINT64_C(0x9E3779B97F4A7C15)) >> BLOCK_CHECK_SHIFT;
}

static inline void word_write(const struct tiling *t, struct block *b, uint64_t word)
{
    b->word = word | word_check(t, b, word) << BLOCK_CHECK_SHIFT;
}

/* True if the word at `b` is as it was written; side headers have nothing to test here. */
static inline bool block_ok(const struct tiling *t, const struct block *b)
{
    return t->side || b->word >> BLOCK_CHECK_SHIFT == word_check(t, b, b->word & BLOCK_WORD_MASK);
}

static inline uint64_t *map_word(const struct region *r, uintptr_t address, unsigned which)
{
    return &r->map[(address - r->area) / BLOCK_GRANULE / 64 * 2 + which];
}

static inline uint64_t map_bit(const struct region *r, uintptr_t address)
{
    return UINT64_C(1) << ((address - r->area) / BLOCK_GRANULE % 64);
}

static inline bool map_get(const struct region *r, uintptr_t address, unsigned which)
{
    return *map_word(r, address, which) & map_bit(r, address);
}

static inline void map_set(const struct region *r, uintptr_t address, unsigned which)
{
    *map_word(r, address, which) |= map_bit(r, address);
}

static inline void map_clear(const struct region *r, uintptr_t address, unsigned which)
{
    *map_word(r, address, which) &= ~map_bit(r, address);
}

/* O(size / 1024) with side headers. */
static inline size_t block_size(const struct tiling *t, const struct region *r,
                                const struct block *b)
{
    return t->side ? map_next(r, (uintptr_t)b) - (uintptr_t)b : block_word_size(b);
}

/* Of a block, not of the top. */
static inline bool block_is_free(const struct tiling *t, const struct region *r,
                                 const struct block *b)
{
    return t->side ? !map_get(r, (uintptr_t)b, MAP_USED) : !(b->word & BLOCK_LIVE);
}

static inline void block_set_live(const struct tiling *t, const struct region *r, struct block *b,
                                  size_t size, bool prev_free)
{
    if (t->side) {
        map_set(r, (uintptr_t)b, MAP_STARTS);
        map_set(r, (uintptr_t)b, MAP_USED);
        map_set(r, (uintptr_t)b + size - BLOCK_GRANULE, MAP_USED);
    } else {
        word_write(t, b, size | BLOCK_LIVE | (prev_free ? BLOCK_PREV_FREE : 0));
    }
}

/* A block in use is none any more. Its old word says so even if it ends inside another block. */
static inline void block_clear_live(const struct tiling *t, const struct region *r, struct block *b,
                                    size_t size)
{
    if (t->side) {
        map_clear(r, (uintptr_t)b, MAP_USED);
        map_clear(r, (uintptr_t)b + size - BLOCK_GRANULE, MAP_USED);
    } else {
        word_write(t, b, size);
    }
}

/* The block before a free one must be in use, if boundaries are kept. */
static inline void block_set_free(const struct tiling *t, const struct region *r, struct block *b,
                                  size_t size)
{
    if (t->side) {
        b->word = size;
        map_set(r, (uintptr_t)b, MAP_STARTS);
    } else {
        word_write(t, b, size);
    }
    if (t->footers)
        *(uint64_t *)((uintptr_t)b + size - sizeof(uint64_t)) = size;
}

/* The block `b`, not in use, becomes the inner part of the one before it. */
static inline void block_absorb(const struct tiling *t, const struct region *r,
                                const struct block *b)
{
    if (t->side)
        map_clear(r, (uintptr_t)b, MAP_STARTS);
}

/* Tells the block at `address` whether the one before it is free; the side table knows anyway. */
static inline void block_set_prev_free(const struct tiling *t, uintptr_t address, bool prev_free)
{
    struct block *b = block_at(address);
    uint64_t rest = b->word & BLOCK_WORD_MASK & ~(uint64_t)BLOCK_PREV_FREE;
    if (!t->side && t->boundary)
        word_write(t, b, rest | (prev_free ? BLOCK_PREV_FREE : 0));
}

/* True if what a free block says of itself agrees with its header or the table. */
static inline bool block_free_ok(const struct tiling *t, const struct region *r,
                                 const struct block *b)
{
    size_t size = block_word_size(b);
    uintptr_t end = (uintptr_t)b + size;
    if (!t->side)
        return block_ok(t, b);
    return b->word == size && size >= BLOCK_MIN && end > (uintptr_t)b && end <= r->top &&
           map_get(r, (uintptr_t)b, MAP_STARTS) && map_get(r, end, MAP_STARTS) &&
           !map_get(r, end - BLOCK_GRANULE, MAP_USED);
}

/* The size of a block whose header is tested first. */
static inline size_t block_measure(const struct tiling *t, const struct region *r,
                                   const struct block *b)
{
    if (__builtin_expect(!block_ok(t, b), 0))
        block_damaged(t, b);
    return block_size(t, r, b);
}

static inline bool block_prev_is_free(const struct tiling *t, const struct region *r,
                                      const struct block *b)
{
    if (t->side)
        return (uintptr_t)b > r->first && !map_get(r, (uintptr_t)b - BLOCK_GRANULE, MAP_USED);
    return b->word & BLOCK_PREV_FREE;
}

/* The region with a block around `address`, or NULL. O(regions), O(1) for the one used last. */
static inline struct region *region_find(struct tiling *t, uintptr_t address)
{
    struct region *r = &t->regions[t->hint];
    if (__builtin_expect(address - r->first < r->top - r->first, 1))
        return r;
    for (unsigned i = 0; i < t->count; i++) {
        r = &t->regions[i];
        if (address - r->first < r->top - r->first) {
            t->hint = i;
            return r;
        }
    }
    return NULL;
}

/* The block in use at `p`, which is in the region, or the end of the program. */
static inline struct block *block_live(const struct tiling *t, const struct region *r,
                                       const void *p)
{
    struct block *b = block_of(t, p);
    bool live = is_aligned((uintptr_t)p, BLOCK_GRANULE);
    if (t->side)
        live = live && map_get(r, (uintptr_t)b, MAP_STARTS) && map_get(r, (uintptr_t)b, MAP_USED);
    else
        live = live && block_ok(t, b) && b->word & BLOCK_LIVE;
    if (__builtin_expect(!live, 0))
        tiling_misuse(t, p);
    return b;
}

#endif
