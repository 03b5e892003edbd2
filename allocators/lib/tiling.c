/*
 * tiling.c - the slow paths of tiling.h: growth, the table's searches, diagnosis, walk and check.
 *
 * A region reserves far more than it uses and commits it from the bottom in steps, the table in
 * front of it in proportion, so that a region never moves and neighbours merge across growth.
 */
#include "allocators/lib/tiling.h"

#include "allocators/lib/misuse.h"
#include "allocators/lib/os.h"

#define FENCE_ROOM BLOCK_GRANULE /* committed above every top */

/* ---- the table ---- */

uintptr_t map_next(const struct region *r, uintptr_t address)
{
    size_t granule = (address - r->area) / BLOCK_GRANULE + 1;
    size_t i = granule / 64;
    uint64_t word = r->map[i * 2 + MAP_STARTS] & ~UINT64_C(0) << (granule % 64);
    while (!word)
        word = r->map[++i * 2 + MAP_STARTS];
    return r->area + (i * 64 + (size_t)__builtin_ctzll(word)) * BLOCK_GRANULE;
}

/* The start before `address`, which is not the first one. */
static uintptr_t map_previous(const struct region *r, uintptr_t address)
{
    size_t granule = (address - r->area) / BLOCK_GRANULE - 1;
    size_t i = granule / 64;
    uint64_t word = r->map[i * 2 + MAP_STARTS] & ~UINT64_C(0) >> (63 - granule % 64);
    while (!word)
        word = r->map[--i * 2 + MAP_STARTS];
    return r->area + (i * 64 + log2_floor(word)) * BLOCK_GRANULE;
}

/* ---- diagnosis ---- */

void block_damaged(const struct tiling *t, const struct block *b)
{
    const char *what = block_ok(t, b) ? "corrupted free block" : "corrupted header";
    misuse_abort(t->name, what, block_payload(t, b));
}

void tiling_misuse(const struct tiling *t, const void *p)
{
    uintptr_t b = (uintptr_t)p - t->overhead;
    for (unsigned i = 0; is_aligned((uintptr_t)p, BLOCK_GRANULE) && i < t->count; i++) {
        const struct region *r = &t->regions[i];
        if (b >= r->top && b < r->high)
            misuse_abort(t->name, "double free", p);
        if (b < r->first || b >= r->top)
            continue;
        for (uintptr_t a = r->first, end; a <= b; a = end) {
            if (!block_ok(t, block_at(a)))
                block_damaged(t, block_at(a));
            end = a + block_size(t, r, block_at(a));
            if (b < end && block_is_free(t, r, block_at(a)))
                misuse_abort(t->name, "double free", p);
        }
    }
    misuse_abort(t->name, "invalid free", p);
}

struct block *block_before(const struct tiling *t, const struct region *r, const struct block *b)
{
    uintptr_t end = block_address(b), a = r->first;
    if (!t->footers)
        return t->side ? block_at(map_previous(r, end)) : NULL;
    size_t size = *(uint64_t *)(end - sizeof(uint64_t));
    struct block *prev = block_at(end - size);
    if (size >= BLOCK_MIN && size <= end - r->first && is_aligned(size, BLOCK_GRANULE) &&
        block_word_size(prev) == size && block_is_free(t, r, prev))
        return prev;
    while (block_ok(t, block_at(a)) && a + block_size(t, r, block_at(a)) < end)
        a += block_size(t, r, block_at(a));
    block_damaged(t, block_at(a));
}

/* ---- growth ---- */

void region_set_top(struct tiling *t, struct region *r, uintptr_t top)
{
    if (t->side) {
        map_clear(r, r->top, MAP_STARTS);
        map_set(r, top, MAP_STARTS);
    } else {
        word_write(t, block_at(top), BLOCK_FENCE);
    }
    r->top = top;
    r->high = size_max(r->high, top);
}

/* Commits from *committed up to `to` and on to the next step, but not beyond `limit`. */
static bool range_commit(struct tiling *t, uintptr_t *committed, uintptr_t base, uintptr_t to,
                         uintptr_t limit)
{
    if (to <= *committed)
        return true;
    uintptr_t least = align_up(to, t->page);
    uintptr_t step = size_min(base + align_up(to - base, t->commit_bytes), limit);
    if (least > limit)
        return false;
    if (os_commit(t->os, (void *)*committed, step - *committed)) {
        step = least;
        if (os_commit(t->os, (void *)*committed, step - *committed))
            return false;
    }
    t->commits++;
    *committed = step;
    return true;
}

bool region_commit(struct tiling *t, struct region *r, size_t bytes)
{
    if (bytes > r->end - r->top)
        return false;
    uintptr_t to = r->top + bytes + FENCE_ROOM;
    if (t->side) {
        uintptr_t map = (uintptr_t)r->map;
        uintptr_t map_to = map + ((to - r->area) / BLOCK_GRANULE / 64 + 1) * 2 * sizeof(uint64_t);
        if (!range_commit(t, &r->map_committed, map, map_to, r->area))
            return false;
    }
    return range_commit(t, &r->committed, r->area, to, r->end);
}

/* A region with `head` committed bytes in front and room for a block of `need`. */
static bool region_open(struct tiling *t, size_t head, size_t need, struct region *r)
{
    size_t least = align_up(head + need + need / 32 + 8 * t->page, t->page);
    size_t bytes = size_max(align_up(t->region_bytes << size_min(t->count, 16), t->page), least);
    void *start;
    while (!(start = os_reserve(t->os, bytes, t->page))) {
        if (bytes == least)
            return false;
        bytes = size_max(align_up(bytes / 2, t->page), least);
    }
    *r = (struct region){.start = (uintptr_t)start, .end = (uintptr_t)start + bytes};
    r->map_committed = r->start + head;
    r->map = (uint64_t *)r->map_committed;
    r->area = r->map_committed + (t->side ? align_up(bytes / 64 + BLOCK_GRANULE, t->page) : 0);
    r->first = r->area + t->overhead;
    r->top = r->high = r->first;
    r->committed = r->area;
    if ((head && os_commit(t->os, start, head)) || !region_commit(t, r, 0)) {
        os_release(t->os, start, bytes);
        return false;
    }
    region_set_top(t, r, r->top);
    return true;
}

void *tiling_open(struct tiling *t, size_t head)
{
    t->page = os_page_bytes();
    t->overhead = t->side ? 0 : sizeof(uint64_t);
    t->commit_bytes = align_up(t->commit_bytes, t->page);
    t->count = t->hint = 0;
    if (!region_open(t, align_up(head, t->page), 0, &t->regions[0]))
        return NULL;
    t->count = 1;
    return (void *)t->regions[0].start;
}

struct region *tiling_grow(struct tiling *t, size_t need)
{
    struct region r;
    if (t->count == TILING_REGIONS || !region_open(t, 0, need, &r))
        return NULL;
    unsigned i = t->count++;
    for (; i > 0 && t->regions[i - 1].start > r.start; i--)
        t->regions[i] = t->regions[i - 1];
    t->regions[i] = r;
    t->hint = i;
    return &t->regions[i];
}

static bool region_has_head(const struct region *r)
{
    return (uintptr_t)r->map != r->start;
}

void tiling_trim(struct tiling *t)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < t->count; i++) {
        struct region *r = &t->regions[i];
        uintptr_t to = align_up(r->top + FENCE_ROOM, t->page);
        if (r->top == r->first && !region_has_head(r)) {
            os_release(t->os, (void *)r->start, r->end - r->start);
            continue;
        }
        if (to < r->committed && !os_decommit(t->os, (void *)to, r->committed - to))
            r->committed = to;
        r->high = r->top;
        t->regions[kept++] = *r;
    }
    t->count = kept;
    t->hint = 0;
}

void tiling_close(struct tiling *t)
{
    struct os *os = t->os;
    struct region head = t->regions[0];
    for (unsigned i = 0; i < t->count; i++) {
        struct region *r = &t->regions[i];
        if (region_has_head(r))
            head = *r;
        else
            os_release(os, (void *)r->start, r->end - r->start);
    }
    os_release(os, (void *)head.start, head.end - head.start);
}

/* ---- walk, check ---- */

static void range_emit(walk_fn *fn, void *arg, uintptr_t from, uintptr_t to, enum walk_kind kind)
{
    if (from < to)
        fn(arg, &(struct walk_item){.address = from, .bytes = to - from, .kind = kind});
}

/* A block: what goes before its bytes, and these, whose class is the block's own size. */
static void block_emit(const struct tiling *t, uintptr_t from, uintptr_t to, bool is_free,
                       walk_fn *fn, void *arg)
{
    uintptr_t inside = from + t->overhead;
    range_emit(fn, arg, from, inside, WALK_META);
    fn(arg, &(struct walk_item){.address = inside,
                                .bytes = to - inside,
                                .kind = is_free ? WALK_FREE : WALK_LIVE,
                                .class_bytes = to - inside});
}

void tiling_walk(const struct tiling *t, walk_fn *fn, void *arg)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct region *r = &t->regions[i];
        range_emit(fn, arg, r->start, r->map_committed, WALK_META);
        range_emit(fn, arg, r->area, r->first, WALK_META);
        for (uintptr_t a = r->first, end; a < r->top; a = end) {
            bool is_free = block_is_free(t, r, block_at(a));
            end = a + block_size(t, r, block_at(a));
            block_emit(t, a, end, is_free, fn, arg);
        }
        uintptr_t fence_end = r->top + t->overhead, fresh = size_max(r->high, fence_end);
        range_emit(fn, arg, r->top, fence_end, WALK_META);
        range_emit(fn, arg, fence_end, fresh, WALK_FREE);
        range_emit(fn, arg, fresh, r->committed, WALK_UNUSED);
    }
}

void tally_add(struct tally *tally, const struct block *b, size_t size)
{
    tally->blocks++;
    tally->bytes += size;
    tally->hash += ((uintptr_t)b ^ (uintptr_t)b >> 21) * UINT64_C(0x9E3779B97F4A7C15);
}

static bool used_bits_ok(const struct region *r, uintptr_t a, uintptr_t end, bool is_free)
{
    for (uintptr_t g = a; g < end; g += BLOCK_GRANULE) {
        bool edge = g == a || g == end - BLOCK_GRANULE;
        if (map_get(r, g, MAP_USED) != (edge && !is_free))
            return false;
    }
    return true;
}

static const char *region_check(const struct tiling *t, const struct region *r, struct tally *tally)
{
    bool was_free = false;
    if (r->top > r->high || r->top + FENCE_ROOM > r->committed || r->committed > r->end)
        return "region: top <= high, and committed beyond the top";
    for (uintptr_t a = r->first, end; a < r->top; a = end) {
        const struct block *b = block_at(a);
        if (!block_ok(t, b))
            return "header: a word's check does not hold";
        bool is_free = block_is_free(t, r, b);
        size_t size = block_size(t, r, b);
        if (size < BLOCK_MIN || !is_aligned(size, BLOCK_GRANULE) || size > r->top - a)
            return "tiling: a block's size is not possible";
        end = a + size;
        if (t->boundary && is_free && (was_free || end == r->top))
            return "merged: two neighbours, or a block and the top, are free";
        if (t->boundary && block_prev_is_free(t, r, b) != was_free)
            return "header: previous-is-free is wrong";
        if (t->side && !used_bits_ok(r, a, end, is_free))
            return "table: used bits are wrong";
        if (is_free && block_word_size(b) != size)
            return "table: a free block's word is not its size";
        if (is_free && t->footers && *(uint64_t *)(end - sizeof(uint64_t)) != size)
            return "footer: is not the size";
        if (is_free)
            tally_add(tally, b, size);
        was_free = is_free;
    }
    const struct block *top = block_at(r->top);
    bool fence = t->side ? map_get(r, r->top, MAP_STARTS)
                         : block_ok(t, top) && (top->word & BLOCK_WORD_MASK) == BLOCK_FENCE;
    return fence ? NULL : "fence: there is none at the top";
}

const char *tiling_check(const struct tiling *t, struct tally *free_blocks)
{
    const char *broken = NULL;
    for (unsigned i = 0; i < t->count && !broken; i++)
        broken = region_check(t, &t->regions[i], free_blocks);
    return broken;
}
