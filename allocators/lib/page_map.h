/*
 * page_map.h - which pages of a reservation are committed, one bit a page, for designs that commit
 * and decommit in the middle. The door knows too, but is not to be asked; with this a design knows
 * for itself what it may touch, and what its walk has to tell.
 *
 * The bits lie where the design puts them, zeroed and committed: (pages + 63) / 64 words. Cost: a
 * test a word of 64 pages where all are committed, else one door call for each run that is not.
 * Threads: none.
 */
#ifndef ALLOCLAB_PAGE_MAP_H
#define ALLOCLAB_PAGE_MAP_H

#include <stdbool.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bitmap.h"

struct page_map {
    struct os *os;
    uintptr_t start; /* of the first page */
    size_t page;
    uint64_t *bits;
};

/* True if the page around `address` is committed. */
static inline bool page_map_has(const struct page_map *map, uintptr_t address)
{
    size_t i = (address - map->start) / map->page;
    return bitmap_get(map->bits, i);
}

/* Commits every page that [from, to) touches; false = no memory, and some may be committed. */
bool page_map_commit(struct page_map *map, uintptr_t from, uintptr_t to);
/* Decommits every page that lies in [from, to) as a whole; false = the door refused. */
bool page_map_decommit(struct page_map *map, uintptr_t from, uintptr_t to);
/* Tells the committed parts of [from, to): free below `high`, never handed out from there on. */
void page_map_walk(const struct page_map *map, uintptr_t from, uintptr_t to, uintptr_t high,
                   size_t class_bytes, walk_fn *fn, void *arg);

#endif
