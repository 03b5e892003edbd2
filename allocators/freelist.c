/*
 * freelist.c - the classic free list as a laboratory: a region of memory tiled by blocks in use and
 * free blocks, the free ones in lists. Every decision of the textbook is an option, so that each
 * can be measured alone: which block serves a request (fit), when neighbours are merged (coalesce),
 * what is cut off (split), how a list is ordered (order), where the bookkeeping lies (header,
 * footer), and how many lists there are (bins). The blocks themselves are lib/tiling.h, objects
 * with pages of their own lib/large.h.
 *
 * header=inband: a word in front of each block. b is the block's address, p what the user gets.
 *
 *      region                b      p                                b'     p'
 *     | heap, pad | ... live |word 8|  user's bytes, up to b' ...... |word 8| ... |fence 8| unused
 *                       free |word 8|next 8|prev 8| ....... |footer 8|
 *
 *     word = check (16 bits) | size in bytes (44 bits) | fence, previous-is-free, live (4 bits)
 *
 * Blocks are multiples of 16 bytes, at least 32; p is a multiple of 16, b = p - 8. Only free blocks
 * have a footer (their size again), so a block in use costs 8 bytes: a request of 2^i - 8 takes
 * 2^i.
 *
 * header=side: b = p, and nothing of ours lies between the user's bytes. Two bits for each 16 bytes
 * of the region, in a table in front of the blocks:
 *
 *     region | heap | table: starts 64, used 64, starts 64, used 64 ... | blocks ..... | unused
 *     starts   1 0 0 0 1 0 0 1 ...       a block begins here; also set at the top
 *     used     1 0 0 1 0 0 0 1 ...       first and last 16 bytes of a block in use
 *
 * A free block keeps size, links and footer in its own bytes, as above; the table tells whether
 * they are true. A request of 2^i bytes takes 2^i (32 at least).
 *
 * The top, above the last block, is in no list. A free block that touches it becomes part of it; it
 * serves what no list can serve (Korn and Vo's wilderness).
 *
 * coalesce=deferred: a freed block goes into its list as it is. All neighbours are merged in one
 * sweep over the regions when a request cannot be served and at least 1/8 of the regions' bytes has
 * been freed since the last sweep (the frees pay for it), when memory runs out, and by trim.
 *
 * Invariants
 *   1. Blocks tile the region from its first block to the top; each size is a multiple of 16, and
 *      at least 32.
 *   2. Immediate: no two neighbours are free, and the last block is not.
 *   3. Inband: every word's check holds, the fence stands at the top; immediate: previous-is-free
 *      is set exactly behind a free block. Side: used is set at both ends of blocks in use only.
 *   4. Footers (footer=yes, immediate): the last word of a free block is its size.
 *   5. The lists hold exactly the free blocks, each in the bin of its size; links point back; a
 *      bin's bit is set exactly if it is not empty.
 *   6. order=address: lists ascend. The rover of fit=next is in its list, or its head.
 *   7. Large objects are sorted and disjoint.
 *
 * Cost. n free blocks, m of them in one bin, s bytes of a block.
 *   alloc  bins: O(m) in the request's own bin, and fit=first takes any block of the next one; m is
 *          small unless many free blocks share 1/16 of a doubling. bins=no: O(n), and fit=best
 *          reads the whole list unless a block fits exactly. Alignments above 16 search
 *          size + align + 32.
 *   free   order=lifo, immediate, footer=yes: O(1). order=address: O(m) or O(n) to find the place,
 *          except with bins=no where a free neighbour gives it. footer=no: a free previous block is
 *          searched in all lists, O(n), inband; read backwards in the table, O(s/1024), side.
 *          Deferred: O(1) with order=lifo; footers are neither kept nor needed.
 *   side   the size of a block in use is a distance in the table, O(s/1024), in free and realloc.
 *   sweep  O(blocks).
 *   Space: 8 bytes a block (inband) or 1/64 of the region (side), what split leaves, and rounding.
 *
 * Source: Knuth, The Art of Computer Programming 1 (1968), 2.5, for fits, rover and boundary tags;
 * Wilson, Johnstone, Neely, Boles, Dynamic Storage Allocation: A Survey and Critical Review (1995);
 * Lea, A Memory Allocator (1996-2000), for footers in free blocks only, and bins.
 *
 * Trade-off: little memory and a simple heap, for times that depend on its state in the pure forms.
 * Holes between live objects stay committed; trim returns the top and empty regions, and a large
 * object's pages go back when it dies. The defaults are for general use: bins with first fit ("good
 * fit") and immediate merging.
 *
 * Detected, in exact words. An address that is no block in use: "double free" if it lies in free
 * memory, else "invalid free". A size given to free that the block cannot have had: "wrong size". A
 * free block whose links, size or footer were written over: "corrupted free block", when they are
 * next used. Inband: a word that was written over, "corrupted header", at the free of the block
 * before or behind it; a write that jumps over the word escapes, and one in 65,536 others. Side: an
 * overrun meets no bookkeeping but that of a free block behind it.
 *
 * Threads: none; a heap belongs to one thread at a time.
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/large.h"
#include "allocators/lib/list.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/tiling.h"

/* ---- options ---- */

enum { FIT_FIRST, FIT_NEXT, FIT_BEST };
enum { COALESCE_IMMEDIATE, COALESCE_DEFERRED };
enum { ORDER_ADDRESS, ORDER_LIFO };
enum { HEADER_INBAND, HEADER_SIDE };

struct freelist_options {
    unsigned fit, coalesce, order, header, footer, bins;
    uint64_t split, region, commit, large;
};

#define OPTION(field, ...) OPTION_ROW(struct freelist_options, #field, field, __VA_ARGS__)

static const struct option freelist_options[] = {
    OPTION(fit, CHOICE, "first", 0, 0, "first|next|best", "which free block serves a request"),
    OPTION(coalesce, CHOICE, "immediate", 0, 0, "immediate|deferred",
           "merge free neighbours at each free, or in a sweep when a request cannot be served"),
    OPTION(order, CHOICE, "lifo", 0, 0, "address|lifo", "how each list is kept"),
    OPTION(header, CHOICE, "inband", 0, 0, "inband|side",
           "sizes and flags in a word before each block, or in a table apart"),
    OPTION(footer, BOOL, "yes", 0, 0, NULL,
           "free blocks repeat their size at the end; no: the previous block is searched for"),
    OPTION(bins, CHOICE, "16", 0, 0, "no|1|2|4|8|16|32",
           "lists for each doubling of the size; no: one list for all sizes"),
    OPTION(split, SIZE, "32", 0, 1 << 30, NULL,
           "a remainder of fewer bytes (or fewer than 32) stays inside the block"),
    OPTION(region, SIZE, "4g", 1 << 16, 1ull << 40, NULL,
           "bytes of addresses reserved first; each further region is twice the one before"),
    OPTION(commit, SIZE, "64k", 1, 1 << 30, NULL, "bytes by which a region's committed part grows"),
    OPTION(large, SIZE, "1m", 0, 1ull << 43, NULL,
           "objects from this many bytes on get pages of their own; 0: none do"),
    {.name = NULL},
};

/* ---- types ---- */

enum { SWEEP_SHARE = 8, BIN_LOG2_MAX = 24, BIN_WORDS = 11 };

struct bin {
    struct list head;
    struct list *rover; /* fit=next: where the next search starts */
};
_Static_assert(((BIN_LOG2_MAX - 5) << 5) + 64 <= BIN_WORDS * 64, "a bit for each bin");

struct heap {
    struct freelist_options opt;
    size_t split_min;
    size_t deferred; /* bytes freed since the last sweep */
    unsigned bin_log2, bin_count;
    uint64_t sweeps, moves;
    struct tiling tiling;
    struct large_table large;
    uint64_t bin_bits[BIN_WORDS];
    struct bin bins[];
};

/* ---- free structure ---- */

static inline unsigned bin_of(const struct heap *h, size_t size)
{
    size_t granules = size / BLOCK_GRANULE;
    if (h->bin_count == 1)
        return 0;
    if (granules < (size_t)2 << h->bin_log2)
        return (unsigned)granules;
    unsigned shift = log2_floor(granules) - h->bin_log2;
    size_t i = ((size_t)shift << h->bin_log2) + (granules >> shift);
    return (unsigned)size_min(i, h->bin_count - 1);
}

/* The smallest size in a bin. */
static size_t bin_floor(const struct heap *h, unsigned i)
{
    size_t per_doubling = (size_t)1 << h->bin_log2;
    if (h->bin_count == 1 || i < per_doubling)
        return i * BLOCK_GRANULE;
    size_t granules = ((i & (per_doubling - 1)) | per_doubling) << ((i >> h->bin_log2) - 1);
    return granules * BLOCK_GRANULE;
}

static inline struct block *link_block(struct list *link)
{
    return LIST_ENTRY(link, struct block, link);
}

/* False if following the link would read memory that is not ours. */
static inline bool link_sane(struct heap *h, struct list *link)
{
    uintptr_t b = (uintptr_t)link - offsetof(struct block, link);
    if ((uintptr_t)link - (uintptr_t)h->bins < h->bin_count * sizeof *h->bins)
        return is_aligned((uintptr_t)link, sizeof(void *));
    return is_aligned(b + h->tiling.overhead, BLOCK_GRANULE) && region_find(&h->tiling, b);
}

/* The next node; a list whose links do not point back ends the program. */
static inline struct list *link_next(struct heap *h, struct list *link)
{
    struct list *next = link->next;
    bool sane = link_sane(h, next);
    if (__builtin_expect(!sane || next->prev != link, 0))
        block_damaged(&h->tiling, link_block(sane ? next : link));
    return next;
}

/* `after`: the node to stand behind, where the caller knows the place in the right list. */
static void bin_insert(struct heap *h, struct block *b, size_t size, struct list *after)
{
    unsigned i = bin_of(h, size);
    struct list *head = &h->bins[i].head, *next;
    if (!after) {
        after = head;
        if (h->opt.order == ORDER_ADDRESS)
            while ((next = link_next(h, after)) != head && next < &b->link)
                after = next;
    }
    list_insert_after(after, &b->link);
    h->bin_bits[i / 64] |= UINT64_C(1) << (i % 64);
}

/* Takes a free block out of its list, after testing that it is what it should be. Returns the node
 * before it. */
static struct list *bin_remove(struct heap *h, const struct region *r, struct block *b)
{
    struct list *link = &b->link, *next = link->next, *prev = link->prev;
    size_t size = block_word_size(b);
    bool ok = link_sane(h, next) && link_sane(h, prev) && next->prev == link &&
              prev->next == link && block_free_ok(&h->tiling, r, b);
    if (__builtin_expect(!ok, 0))
        block_damaged(&h->tiling, b);
    if (h->opt.fit == FIT_NEXT) {
        struct bin *bin = &h->bins[bin_of(h, size)];
        if (bin->rover == link)
            bin->rover = next;
    }
    list_remove(link);
    if (next == prev) { /* both are the head */
        size_t i = (size_t)((struct bin *)(void *)next - h->bins);
        h->bin_bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
    return prev;
}

static struct block *bin_search(struct heap *h, unsigned i, size_t need)
{
    struct bin *bin = &h->bins[i];
    struct list *start = h->opt.fit == FIT_NEXT ? bin->rover : &bin->head, *link = start;
    struct block *best = NULL;
    size_t best_size = SIZE_MAX, enough = size_max(need, bin_floor(h, i));
    do {
        size_t size = link == &bin->head ? 0 : block_word_size(link_block(link));
        if (size >= need && size < best_size) {
            best = link_block(link);
            best_size = size;
            if (h->opt.fit != FIT_BEST || size == enough)
                break;
        }
        link = link_next(h, link);
    } while (link != start);
    return best;
}

/* A free block of at least `need` bytes, still in its list, or NULL. */
static struct block *bins_search(struct heap *h, size_t need)
{
    unsigned i = bin_of(h, need), w = i / 64, last = (h->bin_count - 1) / 64;
    uint64_t bits = h->bin_bits[w] & ~UINT64_C(0) << (i % 64);
    if (bits & UINT64_C(1) << (i % 64)) {
        struct block *b = bin_search(h, i, need);
        if (b)
            return b;
        bits &= bits - 1;
    }
    while (!bits && w < last)
        bits = h->bin_bits[++w];
    return bits ? bin_search(h, w * 64 + (unsigned)__builtin_ctzll(bits), need) : NULL;
}

static void bins_clear(struct heap *h)
{
    for (unsigned i = 0; i < h->bin_count; i++) {
        list_init(&h->bins[i].head);
        h->bins[i].rover = &h->bins[i].head;
    }
    memset(h->bin_bits, 0, sizeof h->bin_bits);
}

/* The free block that ends where `b` begins, searched in all lists. */
static struct block *bins_search_before(struct heap *h, const struct block *b)
{
    for (unsigned i = 0; i < h->bin_count; i++) {
        struct list *head = &h->bins[i].head;
        for (struct list *link = link_next(h, head); link != head; link = link_next(h, link)) {
            struct block *prev = link_block(link);
            if (block_address(prev) + block_word_size(prev) == block_address(b))
                return prev;
        }
    }
    block_damaged(&h->tiling, b); /* its header says that there is one */
}

/* Merges all free neighbours and builds the lists anew. */
static void heap_sweep(struct heap *h)
{
    struct tiling *t = &h->tiling;
    bins_clear(h);
    for (unsigned i = 0; i < t->count; i++) {
        struct region *r = &t->regions[i];
        for (uintptr_t a = r->first, end; a < r->top; a = end) {
            struct block *b = block_at(a);
            end = a + block_measure(t, r, b);
            if (!block_is_free(t, r, b))
                continue;
            while (end < r->top && block_is_free(t, r, block_at(end))) {
                size_t size = block_measure(t, r, block_at(end));
                block_absorb(t, r, block_at(end));
                end += size;
            }
            if (end == r->top) {
                region_set_top(t, r, a);
                break;
            }
            struct list *head = &h->bins[bin_of(h, end - a)].head;
            block_set_free(t, r, b, end - a);
            bin_insert(h, b, end - a, h->opt.order == ORDER_ADDRESS ? head->prev : head);
        }
    }
    h->deferred = 0;
    h->sweeps++;
}

/* ---- alloc, free, realloc ---- */

/* Makes a block of `need` bytes in use out of `total` bytes at `b`, which are in no list, and puts
 * what is left before and behind it into the lists. `after`: where `b` was in the only list. */
static void *block_place(struct heap *h, struct region *r, struct block *b, size_t total,
                         size_t need, size_t align, struct list *after)
{
    struct tiling *t = &h->tiling;
    size_t lead = block_lead(t, block_address(b), align);
    after = h->bin_count == 1 ? after : NULL;
    if (lead) {
        block_set_free(t, r, b, lead);
        bin_insert(h, b, lead, after);
        after = after ? &b->link : NULL;
        b = block_at(block_address(b) + lead);
        total -= lead;
    }
    if (total - need >= h->split_min) {
        struct block *rest = block_at(block_address(b) + need);
        block_set_free(t, r, rest, total - need);
        bin_insert(h, rest, total - need, after);
        if (after && h->opt.fit == FIT_NEXT)
            h->bins[0].rover = &rest->link;
    } else {
        need = total;
        block_set_prev_free(t, block_address(b) + total, false);
    }
    block_set_live(t, r, b, need, lead && t->boundary);
    return block_payload(t, b);
}

static void *alloc_top(struct heap *h, size_t need, size_t align)
{
    for (unsigned i = 0; i < h->tiling.count; i++) {
        struct region *r = &h->tiling.regions[i];
        size_t total = need + block_lead(&h->tiling, r->top, align);
        if (region_commit(&h->tiling, r, total)) {
            struct block *b = block_at(r->top);
            region_set_top(&h->tiling, r, r->top + total);
            return block_place(h, r, b, total, need, align, NULL);
        }
    }
    return NULL;
}

static void *alloc_listed(struct heap *h, size_t need, size_t align)
{
    size_t padded = align <= BLOCK_GRANULE ? need : need + align + BLOCK_MIN;
    struct block *b = bins_search(h, padded);
    if (!b)
        return NULL;
    struct region *r = region_find(&h->tiling, block_address(b));
    struct list *after = bin_remove(h, r, b);
    return block_place(h, r, b, block_word_size(b), need, align, after);
}

/* No list can serve the request: sweep, if it is paid for; else the top; else whatever there is. */
static void *alloc_slow(struct heap *h, size_t need, size_t align)
{
    size_t used = 0;
    void *p = NULL;
    for (unsigned i = 0; i < h->tiling.count; i++)
        used += h->tiling.regions[i].top - h->tiling.regions[i].first;
    if (h->deferred && h->deferred >= used / SWEEP_SHARE) {
        heap_sweep(h);
        p = alloc_listed(h, need, align);
    }
    p = p ? p : alloc_top(h, need, align);
    if (!p && h->deferred) {
        heap_sweep(h);
        p = alloc_listed(h, need, align);
        p = p ? p : alloc_top(h, need, align);
    }
    if (!p && tiling_grow(&h->tiling, need + align + BLOCK_MIN))
        p = alloc_top(h, need, align);
    return p;
}

static void *freelist_alloc(struct heap *h, size_t size, size_t align)
{
    void *p = NULL;
    if (size > BLOCK_MAX || align > BLOCK_MAX / 2)
        return NULL;
    if (h->opt.large && size >= h->opt.large)
        p = large_alloc(&h->large, h->tiling.os, size, align);
    if (!p) {
        size_t need = block_bytes(&h->tiling, size);
        p = alloc_listed(h, need, align);
        p = p ? p : alloc_slow(h, need, align);
    }
    return p;
}

/* Gives the `size` bytes at `b`, no block in use any more, back to the lists or the top. */
static void block_release(struct heap *h, struct region *r, struct block *b, size_t size,
                          bool prev_free)
{
    struct tiling *t = &h->tiling;
    struct list *after = NULL;
    struct block *next = block_at(block_address(b) + size);
    if (!t->boundary) {
        block_set_free(t, r, b, size);
        bin_insert(h, b, size, NULL);
        h->deferred += size;
        return;
    }
    if (block_address(next) != r->top && block_is_free(t, r, next)) {
        after = bin_remove(h, r, next);
        block_absorb(t, r, next);
        size += block_word_size(next);
    }
    if (prev_free) {
        struct block *prev = block_before(t, r, b);
        prev = prev ? prev : bins_search_before(h, b);
        after = bin_remove(h, r, prev);
        block_absorb(t, r, b);
        size += block_word_size(prev);
        b = prev;
    }
    if (block_address(b) + size == r->top) {
        region_set_top(t, r, block_address(b));
        return;
    }
    block_set_free(t, r, b, size);
    block_set_prev_free(t, block_address(b) + size, true);
    bool place_known = h->opt.order == ORDER_ADDRESS && h->bin_count == 1;
    bin_insert(h, b, size, place_known ? after : NULL);
}

static void freelist_free(struct heap *h, void *p, size_t size)
{
    struct tiling *t = &h->tiling;
    struct region *r = region_find(t, (uintptr_t)p - t->overhead);
    if (!r) {
        struct large *large = large_find(&h->large, p);
        if (!large)
            tiling_misuse(t, p);
        if (size && align_up(size, t->page) != large->committed)
            misuse_abort(t->name, "wrong size", p);
        large_free(&h->large, t->os, large);
        return;
    }
    struct block *b = block_live(t, r, p);
    size_t bytes = block_size(t, r, b);
    struct block *next = block_at(block_address(b) + bytes);
    if (__builtin_expect(!block_ok(t, next), 0))
        block_damaged(t, next);
    if (size && bytes - block_bytes(t, size) >= h->split_min) /* wraps if size is too large */
        misuse_abort(t->name, "wrong size", p);
    bool prev_free = block_prev_is_free(t, r, b);
    block_clear_live(t, r, b, bytes);
    block_release(h, r, b, bytes, prev_free);
}

/* Makes the block in use at `b` one of `need` bytes where it is, if what follows it allows that. */
static bool block_resize(struct heap *h, struct region *r, struct block *b, size_t now, size_t need)
{
    struct tiling *t = &h->tiling;
    struct block *next = block_at(block_address(b) + now);
    bool prev_free = block_prev_is_free(t, r, b);
    size_t total = now;
    if (__builtin_expect(!block_ok(t, next), 0))
        block_damaged(t, next);
    if (need > now && block_address(next) == r->top) {
        if (!region_commit(t, r, need - now))
            return false;
        total = need;
        region_set_top(t, r, block_address(b) + need);
    } else if (need > now) {
        if (!block_is_free(t, r, next) || now + block_word_size(next) < need)
            return false;
        bin_remove(h, r, next);
        block_absorb(t, r, next);
        total = now + block_word_size(next);
        block_set_prev_free(t, block_address(b) + total, false);
    }
    size_t kept = total - need >= h->split_min ? need : total;
    block_clear_live(t, r, b, now);
    block_set_live(t, r, b, kept, prev_free);
    if (kept < total) {
        struct block *rest = block_at(block_address(b) + kept);
        block_set_free(t, r, rest, total - kept);
        block_release(h, r, rest, total - kept, false);
    }
    return true;
}

static void *freelist_realloc(struct heap *h, void *p, size_t old, size_t size, size_t align)
{
    struct tiling *t = &h->tiling;
    struct region *r = region_find(t, (uintptr_t)p - t->overhead);
    bool stays = is_aligned((uintptr_t)p, align) && size <= BLOCK_MAX;
    bool is_large = h->opt.large && size >= h->opt.large;
    if (r) {
        struct block *b = block_live(t, r, p);
        size_t now = block_size(t, r, b);
        if (stays && !is_large && block_resize(h, r, b, now, block_bytes(t, size)))
            return p;
        old = size_min(old, now - t->overhead);
    } else {
        struct large *large = large_find(&h->large, p);
        if (!large)
            tiling_misuse(t, p);
        if (stays && is_large && large_resize(large, t->os, size))
            return p;
        old = size_min(old, large->committed);
    }
    void *moved = freelist_alloc(h, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, old));
        freelist_free(h, p, 0);
        h->moves++;
    }
    return moved;
}

static size_t freelist_usable(struct heap *h, const void *p)
{
    struct tiling *t = &h->tiling;
    struct region *r = region_find(t, (uintptr_t)p - t->overhead);
    if (r)
        return block_size(t, r, block_live(t, r, p)) - t->overhead;
    struct large *large = large_find(&h->large, p);
    if (!large)
        tiling_misuse(t, p);
    return large->committed;
}

/* ---- trim ---- */

static void freelist_trim(struct heap *h)
{
    if (h->deferred)
        heap_sweep(h);
    tiling_trim(&h->tiling);
}

/* ---- create, destroy ---- */

static struct heap *freelist_create(const struct alloc_env *env)
{
    const struct freelist_options *opt = env->options;
    unsigned log2 = opt->bins ? opt->bins - 1 : 0;
    unsigned count = opt->bins ? ((BIN_LOG2_MAX - log2) << log2) + (2u << log2) : 1;
    bool immediate = opt->coalesce == COALESCE_IMMEDIATE;
    struct tiling t = {
        .name = "freelist",
        .os = env->os,
        .key = (env->seed + 1) * UINT64_C(0xD1342543DE82EF95),
        .commit_bytes = opt->commit,
        .region_bytes = opt->region,
        .side = opt->header == HEADER_SIDE,
        .boundary = immediate,
        .footers = immediate && opt->footer,
    };
    struct heap *h = tiling_open(&t, sizeof *h + count * sizeof *h->bins);
    if (!h)
        return NULL;
    h->opt = *opt;
    h->split_min = size_max(align_up(opt->split, BLOCK_GRANULE), BLOCK_MIN);
    h->bin_log2 = log2;
    h->bin_count = count;
    h->tiling = t;
    bins_clear(h);
    return h;
}

static void freelist_destroy(struct heap *h)
{
    large_release(&h->large, h->tiling.os);
    tiling_close(&h->tiling);
}

/* ---- walk, check, stats ---- */

static void freelist_walk(struct heap *h, walk_fn *fn, void *arg)
{
    tiling_walk(&h->tiling, fn, arg);
    large_walk(&h->large, fn, arg);
}

static const char *bin_check(struct heap *h, unsigned i, struct tally *listed)
{
    struct bin *bin = &h->bins[i];
    bool rover_seen = bin->rover == &bin->head;
    if ((h->bin_bits[i / 64] >> (i % 64) & 1) == list_empty(&bin->head))
        return "bins: a bin's bit is wrong";
    for (struct list *prev = &bin->head, *link = prev->next; link != &bin->head;
         prev = link, link = link->next) {
        if (!link_sane(h, link) || link->prev != prev)
            return "lists: a link does not point back";
        size_t size = block_word_size(link_block(link));
        if (bin_of(h, size) != i)
            return "bins: a block is in the wrong one";
        if (h->opt.order == ORDER_ADDRESS && prev != &bin->head && prev > link)
            return "lists: one is not in address order";
        rover_seen |= link == bin->rover;
        tally_add(listed, link_block(link), size);
    }
    return rover_seen ? NULL : "rover: is not in its list";
}

static const char *freelist_check(struct heap *h)
{
    struct tally tiled = {0}, listed = {0};
    const char *broken = tiling_check(&h->tiling, &tiled);
    for (unsigned i = 0; i < h->bin_count && !broken; i++)
        broken = bin_check(h, i, &listed);
    if (!broken && memcmp(&tiled, &listed, sizeof tiled))
        broken = "lists: they do not hold exactly the free blocks";
    return broken ? broken : large_check(&h->large);
}

static void freelist_stats(struct heap *h, stats_fn *fn, void *arg)
{
    fn(arg, "commits", h->tiling.commits);
    fn(arg, "regions", h->tiling.count);
    fn(arg, "sweeps", h->sweeps);
    fn(arg, "moves", h->moves);
    fn(arg, "large_objects", h->large.count);
}

ALLOCATOR(freelist) = {
    .name = "freelist",
    .summary = "free lists: first, next or best fit, and every other choice of the textbook",
    .source = "Knuth 1968; Wilson, Johnstone, Neely, Boles 1995; Lea 1996",
    .traits = ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN | ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct freelist_options),
    .options = freelist_options,
    .create = freelist_create,
    .destroy = freelist_destroy,
    .alloc = freelist_alloc,
    .free = freelist_free,
    .realloc = freelist_realloc,
    .usable = freelist_usable,
    .trim = freelist_trim,
    .walk = freelist_walk,
    .check = freelist_check,
    .stats = freelist_stats,
};
