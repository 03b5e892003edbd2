/*
 * goodfit.h - the machine that the real-time designs share: one region tiled by blocks (tiling.h,
 * inband headers, footers in free blocks), and bins of free blocks that are never searched. A
 * request takes the first block of a bin in which every block fits; what is left over is split off,
 * and a freed block merges with its neighbours at once. A design is an index: into which bin a free
 * block goes, and which bin that is not empty certainly serves a request.
 *
 *     struct heap of the design | heads of the bins | live | free | live | ... | top ... | reserved
 *       its first member is struct goodfit                                     committed in steps
 *
 * The top, above the last block, is in no bin; it serves what no bin can. A free block that touches
 * it becomes part of it.
 *
 * Worst case: alloc, free, and realloc in place are straight code, with no loop, whatever the heap
 * holds: at most two removals from bins, two insertions, and one commit. The commit is one door
 * call for at least `commit` bytes, for so many as the request itself needs at most, and when
 * memory is short a second one; the kernel's part of it is a matter of the step, not of the heap.
 * There is one region and no table of large objects, so nothing is looked up. Only a program that
 * is about to be ended for misuse waits for a search.
 *
 * The functions here are inlined into the design's own with a constant index, so that no call goes
 * through a pointer. Threads: none.
 */
#ifndef ALLOCLAB_GOODFIT_H
#define ALLOCLAB_GOODFIT_H

#include <string.h>

#include "allocators/lib/misuse.h"
#include "allocators/lib/tiling.h"

#define GOODFIT_INLINE static inline __attribute__((always_inline))

enum { GOODFIT_NONE = -1 };

struct goodfit {
    struct tiling tiling;
    uint64_t moves;
    unsigned bins;
    struct list *heads; /* one for each bin */
};

/* What a design brings. `need` is a block's size, header included, and so is `size`. */
struct goodfit_index {
    unsigned (*bin_of)(const struct goodfit *g, size_t size); /* where a free block goes */
    int (*find)(const struct goodfit *g, size_t need); /* a bin whose blocks all fit, or NONE */
    void (*fill)(struct goodfit *g, unsigned bin);     /* it is not empty any more, if it was */
    void (*drain)(struct goodfit *g, unsigned bin);    /* it has become empty */
};

struct goodfit_config {
    const char *name;
    size_t pool, commit; /* bytes of addresses, and by which the committed part grows */
    size_t heap_bytes;   /* of the design's struct heap */
    unsigned bins;
};

/* The heap, zeroed but for its struct goodfit; NULL = no memory. */
struct goodfit *goodfit_open(const struct alloc_env *env, const struct goodfit_config *config);
void goodfit_trim(struct goodfit *g);
void goodfit_close(struct goodfit *g);
void goodfit_walk(const struct goodfit *g, walk_fn *fn, void *arg);
void goodfit_stats(const struct goodfit *g, stats_fn *fn, void *arg);
/* NULL, or what is broken of the blocks and of the bins' lists; not the index's own bits. */
const char *goodfit_check(const struct goodfit *g, const struct goodfit_index *index);

/* ---- bins ---- */

/* The options that this machine fixes, so that the compiler drops what belongs to others. */
GOODFIT_INLINE struct tiling *goodfit_tiling(struct goodfit *g)
{
    struct tiling *t = &g->tiling;
    if (t->side || !t->boundary || !t->footers || t->overhead != sizeof(uint64_t))
        __builtin_unreachable();
    return t;
}

static inline struct block *goodfit_block(struct list *link)
{
    return LIST_ENTRY(link, struct block, link);
}

/* False if following the link would read memory that is not ours. */
static inline bool goodfit_link_sane(const struct goodfit *g, const struct list *link)
{
    const struct region *r = &g->tiling.regions[0];
    uintptr_t b = (uintptr_t)link - offsetof(struct block, link);
    if ((uintptr_t)link - (uintptr_t)g->heads < g->bins * sizeof *g->heads)
        return is_aligned((uintptr_t)link, sizeof(void *));
    return is_aligned(b + g->tiling.overhead, BLOCK_GRANULE) && b - r->first < r->top - r->first;
}

GOODFIT_INLINE void goodfit_insert(struct goodfit *g, const struct goodfit_index *index,
                                   struct block *b, size_t size)
{
    unsigned bin = index->bin_of(g, size);
    list_insert_after(&g->heads[bin], &b->link);
    index->fill(g, bin);
}

/* Takes a free block out of its bin, after testing that it is what it should be; its size. */
GOODFIT_INLINE size_t goodfit_remove(struct goodfit *g, const struct goodfit_index *index,
                                     struct block *b)
{
    struct tiling *t = goodfit_tiling(g);
    struct list *link = &b->link, *next = link->next, *prev = link->prev;
    bool ok = goodfit_link_sane(g, next) && goodfit_link_sane(g, prev) && next->prev == link &&
              prev->next == link && block_free_ok(t, &t->regions[0], b);
    if (__builtin_expect(!ok, 0))
        block_damaged(t, b);
    list_remove(link);
    if (next == prev) /* both are the head */
        index->drain(g, (unsigned)(next - g->heads));
    return block_word_size(b);
}

/* ---- alloc ---- */

/* Makes a block of `need` bytes in use out of `total` bytes at `b`, which are in no bin. */
GOODFIT_INLINE void *goodfit_place(struct goodfit *g, const struct goodfit_index *index,
                                   struct block *b, size_t total, size_t need, size_t align)
{
    struct tiling *t = goodfit_tiling(g);
    struct region *r = &t->regions[0];
    size_t lead = block_lead(t, block_address(b), align);
    if (__builtin_expect(lead, 0)) {
        block_set_free(t, r, b, lead);
        goodfit_insert(g, index, b, lead);
        b = block_at(block_address(b) + lead);
        total -= lead;
    }
    if (total - need >= BLOCK_MIN) {
        struct block *rest = block_at(block_address(b) + need);
        block_set_free(t, r, rest, total - need);
        goodfit_insert(g, index, rest, total - need);
    } else {
        need = total;
        block_set_prev_free(t, block_address(b) + total, false);
    }
    block_set_live(t, r, b, need, lead);
    return block_payload(t, b);
}

GOODFIT_INLINE void *goodfit_alloc(struct goodfit *g, const struct goodfit_index *index,
                                   size_t size, size_t align)
{
    struct tiling *t = goodfit_tiling(g);
    struct region *r = &t->regions[0];
    if (size > BLOCK_MAX || align > BLOCK_MAX / 2)
        return NULL;
    size_t need = block_bytes(t, size);
    int bin = index->find(g, align <= BLOCK_GRANULE ? need : need + align + BLOCK_MIN);
    struct block *b;
    size_t total;
    if (bin != GOODFIT_NONE) {
        b = goodfit_block(g->heads[bin].next);
        total = goodfit_remove(g, index, b);
    } else {
        b = block_at(r->top);
        total = need + block_lead(t, r->top, align);
        if (!region_commit(t, r, total))
            return NULL;
        region_set_top(t, r, r->top + total);
    }
    return goodfit_place(g, index, b, total, need, align);
}

/* ---- free, realloc ---- */

/* Gives the `size` bytes at `b`, no block in use any more, back to a bin or to the top. */
GOODFIT_INLINE void goodfit_release(struct goodfit *g, const struct goodfit_index *index,
                                    struct block *b, size_t size, bool prev_free)
{
    struct tiling *t = goodfit_tiling(g);
    struct region *r = &t->regions[0];
    struct block *next = block_at(block_address(b) + size);
    if (block_address(next) != r->top && block_is_free(t, r, next))
        size += goodfit_remove(g, index, next);
    if (prev_free) {
        b = block_before(t, r, b);
        size += goodfit_remove(g, index, b);
    }
    if (block_address(b) + size == r->top) {
        region_set_top(t, r, block_address(b));
        return;
    }
    block_set_free(t, r, b, size);
    block_set_prev_free(t, block_address(b) + size, true);
    goodfit_insert(g, index, b, size);
}

/* The block in use at `p`, or the end of the program; tests the header behind it as well. */
GOODFIT_INLINE struct block *goodfit_live(struct goodfit *g, const void *p)
{
    struct tiling *t = goodfit_tiling(g);
    struct region *r = &t->regions[0];
    if (__builtin_expect((uintptr_t)p - t->overhead - r->first >= r->top - r->first, 0))
        tiling_misuse(t, p);
    struct block *b = block_live(t, r, p);
    struct block *next = block_at(block_address(b) + block_word_size(b));
    if (__builtin_expect(!block_ok(t, next), 0))
        block_damaged(t, next);
    return b;
}

GOODFIT_INLINE void goodfit_free(struct goodfit *g, const struct goodfit_index *index, void *p,
                                 size_t size)
{
    struct tiling *t = goodfit_tiling(g);
    struct block *b = goodfit_live(g, p);
    size_t bytes = block_word_size(b);
    if (size && bytes - block_bytes(t, size) >= BLOCK_MIN) /* wraps if size is too large */
        misuse_abort(t->name, "wrong size", p);
    bool prev_free = block_prev_is_free(t, &t->regions[0], b);
    block_clear_live(t, &t->regions[0], b, bytes);
    goodfit_release(g, index, b, bytes, prev_free);
}

/* Makes the block in use at `b` one of `need` bytes where it is, if what follows it allows that. */
GOODFIT_INLINE bool goodfit_resize(struct goodfit *g, const struct goodfit_index *index,
                                   struct block *b, size_t need)
{
    struct tiling *t = goodfit_tiling(g);
    struct region *r = &t->regions[0];
    size_t now = block_word_size(b), total = now;
    struct block *next = block_at(block_address(b) + now);
    bool prev_free = block_prev_is_free(t, r, b);
    if (need > now && block_address(next) == r->top) {
        if (!region_commit(t, r, need - now))
            return false;
        total = need;
        region_set_top(t, r, block_address(b) + need);
    } else if (need > now) {
        if (!block_is_free(t, r, next) || now + block_word_size(next) < need)
            return false;
        total += goodfit_remove(g, index, next);
        block_set_prev_free(t, block_address(b) + total, false);
    }
    size_t kept = total - need >= BLOCK_MIN ? need : total;
    block_set_live(t, r, b, kept, prev_free);
    if (kept < total) {
        struct block *rest = block_at(block_address(b) + kept);
        block_set_free(t, r, rest, total - kept);
        goodfit_release(g, index, rest, total - kept, false);
    }
    return true;
}

GOODFIT_INLINE void *goodfit_realloc(struct goodfit *g, const struct goodfit_index *index, void *p,
                                     size_t old, size_t size, size_t align)
{
    struct tiling *t = goodfit_tiling(g);
    struct block *b = goodfit_live(g, p);
    old = size_min(old, block_word_size(b) - t->overhead);
    if (is_aligned((uintptr_t)p, align) && size <= BLOCK_MAX &&
        goodfit_resize(g, index, b, block_bytes(t, size)))
        return p;
    void *moved = goodfit_alloc(g, index, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, old));
        goodfit_free(g, index, p, 0);
        g->moves++;
    }
    return moved;
}

GOODFIT_INLINE size_t goodfit_usable(struct goodfit *g, const void *p)
{
    return block_word_size(goodfit_live(g, p)) - g->tiling.overhead;
}

#endif
