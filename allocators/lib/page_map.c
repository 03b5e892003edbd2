/*
 * page_map.c - see page_map.h. A run is found 64 pages at a time.
 */
#include "allocators/lib/page_map.h"

#include "allocators/lib/bitmap.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/os.h"

/* The first page from `i` on, below `end`, that is committed, or that is not; `end` if none is. */
static size_t page_search(const struct page_map *map, size_t i, size_t end, bool committed)
{
    while (i < end) {
        uint64_t word = committed ? map->bits[i / 64] : ~map->bits[i / 64];
        word >>= i % 64;
        if (word)
            return size_min(i + (size_t)__builtin_ctzll(word), end);
        i = (i / 64 + 1) * 64;
    }
    return end;
}

static void *page_at(const struct page_map *map, size_t i)
{
    return (void *)(map->start + i * map->page);
}

bool page_map_commit(struct page_map *map, uintptr_t from, uintptr_t to)
{
    size_t i = (from - map->start) / map->page;
    size_t end = align_up(to - map->start, map->page) / map->page;
    while ((i = page_search(map, i, end, false)) < end) {
        size_t run = page_search(map, i, end, true);
        if (os_commit(map->os, page_at(map, i), (run - i) * map->page))
            return false;
        bitmap_range(map->bits, i, run - i, BITMAP_SET);
        i = run;
    }
    return true;
}

bool page_map_decommit(struct page_map *map, uintptr_t from, uintptr_t to)
{
    size_t i = align_up(from - map->start, map->page) / map->page;
    size_t end = (to - map->start) / map->page;
    while ((i = page_search(map, i, end, true)) < end) {
        size_t run = page_search(map, i, end, false);
        if (os_decommit(map->os, page_at(map, i), (run - i) * map->page))
            return false;
        bitmap_range(map->bits, i, run - i, BITMAP_CLEAR);
        i = run;
    }
    return true;
}

void page_map_walk(const struct page_map *map, uintptr_t from, uintptr_t to, uintptr_t high,
                   size_t class_bytes, walk_fn *fn, void *arg)
{
    size_t end = align_up(to - map->start, map->page) / map->page;
    size_t i = (from - map->start) / map->page, run;
    for (; (i = page_search(map, i, end, true)) < end; i = run) {
        run = page_search(map, i, end, false);
        uintptr_t first = size_max((uintptr_t)page_at(map, i), from);
        uintptr_t last = size_min((uintptr_t)page_at(map, run), to);
        uintptr_t used = size_min(size_max(first, high), last);
        if (first < used)
            fn(arg, &(struct walk_item){.address = first,
                                        .bytes = used - first,
                                        .kind = WALK_FREE,
                                        .class_bytes = class_bytes});
        if (used < last)
            fn(arg, &(struct walk_item){.address = used,
                                        .bytes = last - used,
                                        .kind = WALK_UNUSED,
                                        .class_bytes = class_bytes});
    }
}
