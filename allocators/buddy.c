/*
 * buddy.c - the binary buddy system: every block has 2^k bytes and lies at a multiple of 2^k, so
 * that the one other half which it may ever merge with, its buddy, is found by one XOR.
 *
 *     arena: reserved, at a multiple of its own size               beside it: the table
 *     | 1 | 1 |  2  |   4 free   | live, 8 ........... | above     one byte for each smallest block
 *     start                                           top    end   committed as the top rises
 *
 *     address of the buddy = address XOR 2^k      blocks of 4 at 8 and 12 are buddies, not 4 and 8
 *
 *     table byte = partial (1 bit) | live (1 bit) | order + 1 (5 bits); 0: no block begins here
 *     a block of an order has smallest << order bytes
 *
 * Nothing lies in front of or between the user's bytes: a request of 2^i bytes takes 2^i, and has
 * that alignment; larger alignments take a larger block. Free blocks are linked through their first
 * 16 bytes, one list for each order, last freed first; a word of bits says which lists are not
 * empty.
 *
 * A request takes the smallest block that fits from the lists and splits off upper halves; if there
 * is none it takes what lies at the top, rounded up to the block's multiple. The gap becomes free
 * blocks. A free block at the top is given back to it. When an arena is full, another is reserved,
 * twice as large. Objects larger than the first arena get pages of their own (lib/large.h).
 *
 * Which pages are committed is known page by page (lib/page_map.h). A free block of more than a
 * page may be partial: only its first page, where the links are, is committed for certain. Gaps
 * start that way, and trim makes all free blocks so; a partial block is committed before it is
 * handed out.
 *
 * Invariants
 *   1. Blocks tile an arena from its start to the top, each at a multiple of its size; the bytes
 *      between their starts, and from the top on, are 0.
 *   2. No two buddies of one order are free, and the last block below the top is not.
 *   3. The lists hold exactly the free blocks, each in the list of its order; links point back; a
 *      list's bit is set exactly if it is not empty.
 *   4. Every page of a block is committed, except that of partial free ones only the first must be.
 *   5. Large objects are sorted and disjoint.
 *
 * Cost: alloc, free and realloc in place O(log(arena / smallest)): at most one split or merge for
 * each order, 22 in the first arena by default. Finding the arena: O(1) for the one used last, else
 * O(arenas), at most 32. Space: less than half of a block in use is rounding (a quarter on average
 * for sizes spread evenly), and the table takes 1/smallest of the blocks.
 *
 * Source: Knowlton, A Fast Storage Allocator (CACM 1965); Knuth, The Art of Computer Programming 1
 * (1968), 2.5, algorithms R and S; Robson, Worst Case Fragmentation of First Fit and Best Fit
 * Storage Allocation Strategies (1977), for its worst case.
 *
 * Trade-off: splitting and merging cost a few instructions and never search; but rounding wastes
 * more than any other design here, and two free neighbours that are no buddies never merge. Best
 * for requests that are powers of two.
 *
 * Detected, in exact words. An address that is no block in use: "double free" if it lies in free
 * memory, else "invalid free". A size given to free that is larger than the block, or not a large
 * object's: "wrong size"; too small a one is not seen, since alignment may have asked for the rest.
 * A free block whose links were written over: "corrupted free block", when it is next used. There
 * are no headers to meet an overrun.
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
#include "allocators/lib/page_map.h"

/* ---- options ---- */

struct buddy_options {
    uint64_t min, arena, commit;
};

#define OPTION(field, fallback_text, low, high, text)                                              \
    OPTION_ROW(struct buddy_options, #field, field, SIZE, fallback_text, low, high, NULL, text)

static const struct option buddy_options[] = {
    OPTION(min, "16", 16, 4096, "bytes of the smallest block, rounded up to a power of two"),
    OPTION(arena, "64m", 1 << 16, (double)((uint64_t)1 << 34),
           "bytes of the first arena, a power of two; each further one is twice the one before"),
    OPTION(commit, "64k", 1, 1 << 30, "bytes by which the committed part grows, a power of two"),
    {.name = NULL},
};

/* ---- types ---- */

enum { ORDERS = 31, ARENAS = 32 };
enum { TAG_ORDER = 31, TAG_LIVE = 32, TAG_PARTIAL = 64 };
_Static_assert(ORDERS <= 31, "order + 1 fits the tag");

struct arena {
    uintptr_t start, end; /* a multiple of its own size */
    uintptr_t top, high;  /* end of the last block, and the highest so far */
    uint8_t *table;       /* at `end` */
    size_t table_committed, reserved;
    struct page_map pages; /* its bits lie behind the table */
};

struct heap {
    struct os *os;
    size_t page, commit_bytes, heap_bytes, arena_bytes; /* of the first arena */
    unsigned min_log2, count, hint;
    uint64_t ready; /* bit k: list k is not empty */
    uint64_t moves;
    struct list lists[ORDERS]; /* the free blocks themselves are struct list */
    struct arena arenas[ARENAS];
    struct large_table large;
};
_Static_assert(sizeof(struct list) <= 16, "the links fit the smallest block");

/* ---- block geometry ---- */

static inline size_t order_bytes(const struct heap *h, unsigned order)
{
    return (size_t)1 << (order + h->min_log2);
}

/* The order of the smallest block that holds `bytes` > 0. */
static inline unsigned order_of(const struct heap *h, size_t bytes)
{
    size_t units = (bytes - 1) >> h->min_log2;
    return units ? log2_floor(units) + 1 : 0;
}

/* The arena with a block around `address`, or NULL. */
static inline struct arena *arena_find(struct heap *h, uintptr_t address)
{
    struct arena *a = &h->arenas[h->hint];
    if (__builtin_expect(address - a->start < a->top - a->start, 1))
        return a;
    for (unsigned i = 0; i < h->count; i++) {
        a = &h->arenas[i];
        if (address - a->start < a->top - a->start) {
            h->hint = i;
            return a;
        }
    }
    return NULL;
}

static inline uint8_t *tag_at(const struct heap *h, const struct arena *a, uintptr_t address)
{
    return &a->table[(address - a->start) >> h->min_log2];
}

static inline unsigned tag_get(const struct heap *h, const struct arena *a, uintptr_t address)
{
    return *tag_at(h, a, address);
}

static inline void tag_set(const struct heap *h, const struct arena *a, uintptr_t address,
                           unsigned tag)
{
    *tag_at(h, a, address) = (uint8_t)tag;
}

static inline unsigned tag_order(unsigned tag)
{
    return (tag & TAG_ORDER) - 1;
}

static inline bool tag_is_free(unsigned tag, unsigned order)
{
    return (tag & (TAG_LIVE | TAG_ORDER)) == order + 1;
}

/* What is at `p`, if it is no block in use: the block around it begins at one of its multiples. */
__attribute__((noreturn, cold)) static void buddy_misuse(struct heap *h, const void *p)
{
    uintptr_t at = (uintptr_t)p;
    for (unsigned i = 0; i < h->count && is_aligned(at, order_bytes(h, 0)); i++) {
        const struct arena *a = &h->arenas[i];
        if (at >= a->top && at < a->high)
            misuse_abort("buddy", "double free", p);
        for (unsigned k = 0; at >= a->start && at < a->top && k <= order_of(h, a->end - a->start);
             k++)
            if (tag_is_free(tag_get(h, a, align_down(at, order_bytes(h, k))), k))
                misuse_abort("buddy", "double free", p);
    }
    misuse_abort("buddy", "invalid free", p);
}

/* The block in use at `p`, which lies in the arena: its order, or the end of the program. */
static inline unsigned block_live_order(struct heap *h, const struct arena *a, const void *p)
{
    unsigned tag = tag_get(h, a, (uintptr_t)p);
    if (__builtin_expect(!(tag & TAG_LIVE) || !is_aligned((uintptr_t)p, order_bytes(h, 0)), 0))
        buddy_misuse(h, p);
    return tag_order(tag);
}

/* ---- free structure ---- */

static inline void order_insert(struct heap *h, struct arena *a, uintptr_t b, unsigned order,
                                unsigned partial)
{
    tag_set(h, a, b, (order + 1) | partial);
    list_insert_after(&h->lists[order], (struct list *)b);
    h->ready |= UINT64_C(1) << order;
}

/* False if the link is not what stands in a list of this order; then it must not be followed. */
static inline bool link_sane(struct heap *h, const struct list *link, unsigned order)
{
    uintptr_t b = (uintptr_t)link;
    if (link == &h->lists[order])
        return true;
    const struct arena *a = arena_find(h, b);
    return a && is_aligned(b, order_bytes(h, order)) && tag_is_free(tag_get(h, a, b), order);
}

/* Takes a free block out of its list, after testing its links. The tag is the caller's. */
static inline void order_remove(struct heap *h, uintptr_t b, unsigned order)
{
    struct list *link = (struct list *)b, *next = link->next, *prev = link->prev;
    bool ok = link_sane(h, next, order) && link_sane(h, prev, order) && next->prev == link &&
              prev->next == link;
    if (__builtin_expect(!ok, 0))
        misuse_abort("buddy", "corrupted free block", link);
    list_remove(link);
    if (next == prev && next == &h->lists[order])
        h->ready &= ~(UINT64_C(1) << order);
}

/* ---- growth ---- */

/* Makes the table long enough for blocks up to `to`, and for the question what lies there. */
static bool table_reach(struct heap *h, struct arena *a, uintptr_t to)
{
    size_t need = align_up(((to - a->start) >> h->min_log2) + 1, h->page);
    if (need <= a->table_committed)
        return true;
    if (os_commit(h->os, a->table + a->table_committed, need - a->table_committed))
        return false;
    a->table_committed = need;
    return true;
}

/* Commits [from, to), and on to the next step or the limit if memory allows. */
static bool range_commit(struct heap *h, struct arena *a, uintptr_t from, uintptr_t to,
                         uintptr_t limit)
{
    uintptr_t step = size_min(align_up(to, h->commit_bytes), limit);
    return page_map_commit(&a->pages, from, step) || page_map_commit(&a->pages, from, to);
}

/* Gives the free blocks below the top back to it. */
static void top_settle(struct heap *h, struct arena *a)
{
    for (unsigned k = 0; a->top > a->start && is_aligned(a->top - a->start, order_bytes(h, k));) {
        uintptr_t b = a->top - order_bytes(h, k);
        if (tag_is_free(tag_get(h, a, b), k)) {
            order_remove(h, b, k);
            tag_set(h, a, b, 0);
            a->top = b;
            k = 0;
        } else {
            k++;
        }
    }
}

/* A block at the top; what lies before its multiple becomes free blocks. */
static void *alloc_top(struct heap *h, struct arena *a, unsigned order)
{
    uintptr_t b = align_up(a->top, order_bytes(h, order)), end = b + order_bytes(h, order);
    bool ready = table_reach(h, a, end);
    while (ready && a->top < b) {
        unsigned k = (unsigned)__builtin_ctzll(a->top - a->start) - h->min_log2;
        ready = page_map_commit(&a->pages, a->top, a->top + 1);
        if (ready) {
            order_insert(h, a, a->top, k, order_bytes(h, k) > h->page ? TAG_PARTIAL : 0);
            a->top += order_bytes(h, k);
        }
    }
    if (!ready || !range_commit(h, a, b, end, a->end)) {
        top_settle(h, a);
        return NULL;
    }
    a->top = end;
    a->high = size_max(a->high, end);
    tag_set(h, a, b, (order + 1) | TAG_LIVE);
    return (void *)b;
}

static struct arena *arena_open(struct heap *h)
{
    size_t most = order_bytes(h, ORDERS - 1), table, map, reserved;
    size_t bytes = size_min(h->arena_bytes << size_min(h->count, 16), most) * 2;
    char *start = NULL;
    while (!start && h->count < ARENAS && bytes > h->arena_bytes) {
        bytes /= 2;
        table = align_up((bytes >> h->min_log2) + 1, h->page);
        map = align_up(bytes / h->page / 8, h->page);
        reserved = bytes + table + map;
        start = os_reserve(h->os, reserved, bytes);
    }
    if (!start)
        return NULL;
    if (os_commit(h->os, start + bytes + table, map)) {
        os_release(h->os, start, reserved);
        return NULL;
    }
    h->hint = h->count++;
    struct arena *a = &h->arenas[h->hint];
    *a = (struct arena){.start = (uintptr_t)start,
                        .end = (uintptr_t)start + bytes,
                        .top = (uintptr_t)start,
                        .high = (uintptr_t)start,
                        .table = (uint8_t *)start + bytes,
                        .reserved = reserved};
    a->pages = (struct page_map){.os = h->os,
                                 .start = a->start,
                                 .page = h->page,
                                 .bits = (uint64_t *)(void *)(a->table + table)};
    return a;
}

/* No list can serve the request. An arena with room that cannot grow means that memory is out. */
__attribute__((noinline)) static void *alloc_slow(struct heap *h, unsigned order)
{
    for (unsigned i = 0; i < h->count; i++) {
        struct arena *a = &h->arenas[i];
        if (a->end - size_min(align_up(a->top, order_bytes(h, order)), a->end) >=
            order_bytes(h, order))
            return alloc_top(h, a, order);
    }
    struct arena *a = arena_open(h);
    return a ? alloc_top(h, a, order) : NULL;
}

/* ---- alloc, free, realloc ---- */

/* Commits so much of a partial free block that a block of `order` can be cut from it: that block,
 * and the pages with the other parts' links. */
static bool partial_commit(struct heap *h, struct arena *a, uintptr_t b, unsigned from,
                           unsigned order)
{
    bool ready = range_commit(h, a, b, b + order_bytes(h, order), b + order_bytes(h, from));
    for (unsigned k = order; k < from && ready; k++)
        ready = page_map_commit(&a->pages, b + order_bytes(h, k), b + order_bytes(h, k) + 1);
    return ready;
}

static inline void *alloc_listed(struct heap *h, unsigned order)
{
    uint64_t ready = h->ready >> order;
    if (!ready)
        return alloc_slow(h, order);
    unsigned from = order + (unsigned)__builtin_ctzll(ready);
    uintptr_t b = (uintptr_t)h->lists[from].next;
    struct arena *a = arena_find(h, b);
    unsigned partial = tag_get(h, a, b) & TAG_PARTIAL;
    if (__builtin_expect(partial && !partial_commit(h, a, b, from, order), 0))
        return NULL;
    order_remove(h, b, from);
    while (from > order) {
        from--;
        order_insert(h, a, b + order_bytes(h, from), from,
                     order_bytes(h, from) > h->page ? partial : 0);
    }
    tag_set(h, a, b, (order + 1) | TAG_LIVE);
    return (void *)b;
}

static void *buddy_alloc(struct heap *h, size_t size, size_t align)
{
    size_t bytes = size_max(size, align);
    if (__builtin_expect(bytes <= h->arena_bytes, 1))
        return alloc_listed(h, order_of(h, bytes));
    if (bytes > (size_t)1 << 46)
        return NULL;
    return large_alloc(&h->large, h->os, size, align);
}

/* Merges the block of `order` at `b`, not in use any more, with its buddies as long as they are
 * free, and puts what results into its list or gives it back to the top. */
static inline void block_release(struct heap *h, struct arena *a, uintptr_t b, unsigned order)
{
    unsigned partial = 0;
    for (;; order++) {
        uintptr_t buddy = b ^ order_bytes(h, order);
        if (buddy - a->start >= a->top - a->start)
            break;
        unsigned tag = tag_get(h, a, buddy);
        if (!tag_is_free(tag, order))
            break;
        order_remove(h, buddy, order);
        partial |= tag & TAG_PARTIAL;
        tag_set(h, a, b | order_bytes(h, order), 0);
        b &= ~order_bytes(h, order);
    }
    if (b + order_bytes(h, order) == a->top) {
        tag_set(h, a, b, 0);
        a->top = b;
        top_settle(h, a);
    } else {
        order_insert(h, a, b, order, partial);
    }
}

static struct large *large_at(struct heap *h, const void *p)
{
    struct large *large = large_find(&h->large, p);
    if (!large)
        buddy_misuse(h, p);
    return large;
}

static void buddy_free(struct heap *h, void *p, size_t size)
{
    struct arena *a = arena_find(h, (uintptr_t)p);
    if (__builtin_expect(!a, 0)) {
        struct large *large = large_at(h, p);
        if (size && align_up(size, h->page) != large->committed)
            misuse_abort("buddy", "wrong size", p);
        large_free(&h->large, h->os, large);
        return;
    }
    unsigned order = block_live_order(h, a, p);
    if (__builtin_expect(size > order_bytes(h, order), 0))
        misuse_abort("buddy", "wrong size", p);
    block_release(h, a, (uintptr_t)p, order);
}

/* Grows a block in use over its upper buddies, if all of them are free or lie above the top. */
static bool block_grow(struct heap *h, struct arena *a, uintptr_t b, unsigned now, unsigned order)
{
    uintptr_t end = b + order_bytes(h, order);
    if (!is_aligned(b, order_bytes(h, order)) || end > a->end)
        return false;
    for (unsigned k = now; k < order && b + order_bytes(h, k) < a->top; k++)
        if (!tag_is_free(tag_get(h, a, b + order_bytes(h, k)), k))
            return false;
    if (!table_reach(h, a, end) || !page_map_commit(&a->pages, b, end))
        return false;
    for (unsigned k = now; k < order && b + order_bytes(h, k) < a->top; k++) {
        order_remove(h, b + order_bytes(h, k), k);
        tag_set(h, a, b + order_bytes(h, k), 0);
    }
    a->top = size_max(a->top, end);
    a->high = size_max(a->high, end);
    tag_set(h, a, b, (order + 1) | TAG_LIVE);
    return true;
}

static void block_shrink(struct heap *h, struct arena *a, uintptr_t b, unsigned now, unsigned order)
{
    tag_set(h, a, b, (order + 1) | TAG_LIVE);
    while (now-- > order)
        block_release(h, a, b + order_bytes(h, now), now);
}

static bool block_resize(struct heap *h, struct arena *a, uintptr_t b, unsigned now, size_t size)
{
    if (size > h->arena_bytes)
        return false;
    unsigned order = order_of(h, size);
    if (order > now)
        return block_grow(h, a, b, now, order);
    if (order < now)
        block_shrink(h, a, b, now, order);
    return true;
}

static void *buddy_realloc(struct heap *h, void *p, size_t old, size_t size, size_t align)
{
    struct arena *a = arena_find(h, (uintptr_t)p);
    bool stays = is_aligned((uintptr_t)p, align);
    if (a) {
        unsigned order = block_live_order(h, a, p);
        if (stays && block_resize(h, a, (uintptr_t)p, order, size))
            return p;
        old = size_min(old, order_bytes(h, order));
    } else {
        struct large *large = large_at(h, p);
        if (stays && size > h->arena_bytes && large_resize(large, h->os, size))
            return p;
        old = size_min(old, large->committed);
    }
    void *moved = buddy_alloc(h, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, old));
        buddy_free(h, p, 0);
        h->moves++;
    }
    return moved;
}

static size_t buddy_usable(struct heap *h, const void *p)
{
    struct arena *a = arena_find(h, (uintptr_t)p);
    return a ? order_bytes(h, block_live_order(h, a, p)) : large_at(h, p)->committed;
}

/* ---- trim ---- */

/* All pages above the top, and all of free blocks but the first of each. */
static void arena_trim(struct heap *h, struct arena *a)
{
    for (uintptr_t b = a->start, end; b < a->top; b = end) {
        unsigned tag = tag_get(h, a, b), order = tag_order(tag);
        end = b + order_bytes(h, order);
        if (!tag_is_free(tag, order) || order_bytes(h, order) <= h->page)
            continue;
        tag_set(h, a, b, tag | TAG_PARTIAL);
        page_map_decommit(&a->pages, b + h->page, end);
    }
    if (page_map_decommit(&a->pages, a->top, a->end))
        a->high = size_min(a->high, align_up(a->top, h->page));
    size_t kept = align_up(((a->top - a->start) >> h->min_log2) + 1, h->page);
    if (kept < a->table_committed &&
        !os_decommit(h->os, a->table + kept, a->table_committed - kept))
        a->table_committed = kept;
}

static void arena_release(struct heap *h, struct arena *a)
{
    os_release(h->os, (void *)a->start, a->reserved);
}

static void buddy_trim(struct heap *h)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < h->count; i++) {
        struct arena *a = &h->arenas[i];
        if (a->top == a->start) {
            arena_release(h, a);
            continue;
        }
        arena_trim(h, a);
        h->arenas[kept++] = *a;
    }
    for (unsigned i = kept; i < h->count; i++)
        h->arenas[i] = (struct arena){0};
    h->count = kept;
    h->hint = 0;
}

/* ---- create, destroy ---- */

static struct heap *buddy_create(const struct alloc_env *env)
{
    const struct buddy_options *opt = env->options;
    size_t page = os_page_bytes(), bytes = align_up(sizeof(struct heap), page);
    struct heap *h = os_map(env->os, bytes, page);
    if (!h)
        return NULL;
    h->os = env->os;
    h->page = page;
    h->heap_bytes = bytes;
    h->min_log2 = log2_ceil(opt->min);
    h->arena_bytes = (size_t)1 << log2_ceil(opt->arena);
    h->commit_bytes = (size_t)1 << log2_ceil(size_max(opt->commit, page));
    for (unsigned i = 0; i < ORDERS; i++)
        list_init(&h->lists[i]);
    return h;
}

static void buddy_destroy(struct heap *h)
{
    large_release(&h->large, h->os);
    for (unsigned i = 0; i < h->count; i++)
        arena_release(h, &h->arenas[i]);
    os_release(h->os, h, h->heap_bytes);
}

/* ---- walk, check, stats ---- */

static void range_emit(walk_fn *fn, void *arg, uintptr_t from, uintptr_t to, enum walk_kind kind,
                       size_t class_bytes)
{
    fn(arg, &(struct walk_item){
                .address = from, .bytes = to - from, .kind = kind, .class_bytes = class_bytes});
}

static void arena_walk(const struct heap *h, const struct arena *a, walk_fn *fn, void *arg)
{
    uintptr_t table = (uintptr_t)a->table, map = (uintptr_t)a->pages.bits;
    if (a->table_committed)
        range_emit(fn, arg, table, table + a->table_committed, WALK_META, 0);
    range_emit(fn, arg, map, a->start + a->reserved, WALK_META, 0);
    for (uintptr_t b = a->start, end; b < a->top; b = end) {
        unsigned tag = tag_get(h, a, b);
        size_t class_bytes = order_bytes(h, tag_order(tag));
        end = b + class_bytes;
        if (tag & TAG_LIVE)
            range_emit(fn, arg, b, end, WALK_LIVE, class_bytes);
        else
            page_map_walk(&a->pages, b, end, a->high, class_bytes, fn, arg);
    }
    page_map_walk(&a->pages, a->top, a->end, a->high, 0, fn, arg);
}

static void buddy_walk(struct heap *h, walk_fn *fn, void *arg)
{
    range_emit(fn, arg, (uintptr_t)h, (uintptr_t)h + h->heap_bytes, WALK_META, 0);
    for (unsigned i = 0; i < h->count; i++)
        arena_walk(h, &h->arenas[i], fn, arg);
    large_walk(&h->large, fn, arg);
}

static const char *block_check(const struct heap *h, const struct arena *a, uintptr_t b)
{
    unsigned tag = tag_get(h, a, b), order = tag_order(tag);
    if (!(tag & TAG_ORDER) || order >= ORDERS || !is_aligned(b, order_bytes(h, order)) ||
        order_bytes(h, order) > a->top - b)
        return "tiling: a block's order is not possible";
    uintptr_t end = b + order_bytes(h, order), buddy = b ^ order_bytes(h, order);
    for (uintptr_t at = b + order_bytes(h, 0); at < end; at += order_bytes(h, 0))
        if (tag_get(h, a, at))
            return "table: a block begins inside another";
    for (uintptr_t at = align_down(b, h->page); at < end; at += h->page) {
        if (!page_map_has(&a->pages, at))
            return "pages: one that must be committed is not";
        if (tag & TAG_PARTIAL)
            break;
    }
    if (tag & TAG_PARTIAL && (tag & TAG_LIVE || end - b <= h->page))
        return "table: a block cannot be partial";
    if (tag & TAG_LIVE)
        return NULL;
    if (end == a->top ||
        (buddy - a->start < a->top - a->start && tag_is_free(tag_get(h, a, buddy), order)))
        return "merged: two buddies, or a block and the top, are free";
    return NULL;
}

static const char *arena_check(const struct heap *h, const struct arena *a, size_t *free_blocks)
{
    size_t reach = ((a->top - a->start) >> h->min_log2) + (a->top > a->start);
    if (!is_aligned(a->start, a->end - a->start) || a->top > a->high || a->high > a->end ||
        reach > a->table_committed)
        return "arena: at a multiple of its size, top <= high <= end, the table reaches the top";
    for (uintptr_t b = a->start; b < a->top; b += order_bytes(h, tag_order(tag_get(h, a, b)))) {
        const char *broken = block_check(h, a, b);
        if (broken)
            return broken;
        *free_blocks += !(tag_get(h, a, b) & TAG_LIVE);
    }
    for (size_t i = (a->top - a->start) >> h->min_log2; i < a->table_committed; i++)
        if (a->table[i])
            return "table: a block begins above the top";
    return NULL;
}

static const char *buddy_check(struct heap *h)
{
    size_t tiled = 0, listed = 0;
    for (unsigned i = 0; i < h->count; i++) {
        const char *broken = arena_check(h, &h->arenas[i], &tiled);
        if (broken)
            return broken;
    }
    for (unsigned k = 0; k < ORDERS; k++) {
        struct list *head = &h->lists[k];
        if ((h->ready >> k & 1) == list_empty(head))
            return "lists: a list's bit is wrong";
        for (struct list *prev = head, *link = head->next; link != head;
             prev = link, link = link->next, listed++)
            if (!link_sane(h, link, k) || link->prev != prev)
                return "lists: a link does not point back, or to no free block of this order";
    }
    if (tiled != listed)
        return "lists: they do not hold exactly the free blocks";
    return large_check(&h->large);
}

static void buddy_stats(struct heap *h, stats_fn *fn, void *arg)
{
    fn(arg, "arenas", h->count);
    fn(arg, "moves", h->moves);
    fn(arg, "large_objects", h->large.count);
}

ALLOCATOR(buddy) = {
    .name = "buddy",
    .summary = "binary buddies: blocks of 2^k bytes, split and merged by one XOR",
    .source = "Knowlton 1965; Knuth 1968",
    .traits = ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN | ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct buddy_options),
    .options = buddy_options,
    .create = buddy_create,
    .destroy = buddy_destroy,
    .alloc = buddy_alloc,
    .free = buddy_free,
    .realloc = buddy_realloc,
    .usable = buddy_usable,
    .trim = buddy_trim,
    .walk = buddy_walk,
    .check = buddy_check,
    .stats = buddy_stats,
};
