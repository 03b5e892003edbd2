/*
 * huge.h - where pages.h keeps free runs when it packs spans into huge pages: each huge page (2
 * MiB, 256 units) has a list of the free runs in it, and those with room are indexed by their
 * longest run. Runs that are whole huge pages are not here; nothing is taken from them as long as a
 * huge page that is in use anyway has room.
 *
 *     places[3]   -> huge page -> huge page         longest run: 3 units
 *     places[40]  -> huge page: run 40, run 7, run 12
 *     bits        1 where a place is not empty
 *
 * A request takes from the place with the shortest longest run that is enough, there from the
 * fullest of the first HUGE_LOOK huge pages, and there from the smallest run that is enough. A huge
 * page with short runs only is one that is nearly full of objects: filling it up leaves the emptier
 * ones alone, so that some of them become empty as a whole, which is the only state in which a huge
 * page can go back to the kernel without being broken up.
 *
 * Source: Hunter, Kennelly, Turner, Gove, Moseley, Ranganathan, Beyond malloc efficiency to fleet
 * efficiency: a hugepage-aware memory allocator, OSDI 2021, section 4.4: longest free range first,
 * then the number of objects.
 *
 * Invariants (huge_check): free and longest are what the runs say; a huge page is in its place
 * exactly if it has a run; a bit tells whether its place is empty. Cost: O(HUGE_LOOK) and the runs
 * of one huge page, at most 128. Threads: the pages' lock.
 */
#ifndef ALLOCLAB_HUGE_H
#define ALLOCLAB_HUGE_H

#include <stdint.h>

#include "allocators/lib/list.h"

enum { HUGE_SHIFT = 21, HUGE_UNITS = 256, HUGE_LOOK = 16 };

struct span;

struct huge_page {
    struct list link;       /* in its place; alone without runs */
    struct list runs;       /* struct span, by their link */
    uint32_t free, longest; /* units: in all runs, in the longest */
};

struct huge_index {
    uint64_t bits[HUGE_UNITS / 64];
    struct list places[HUGE_UNITS]; /* by longest; [0] is not used */
};

void huge_open(struct huge_index *index);
void huge_page_open(struct huge_page *huge);
void huge_insert(struct huge_index *index, struct huge_page *huge, struct span *run);
void huge_remove(struct huge_index *index, struct huge_page *huge, struct span *run);
/* A run of at least so many units, still in its list; NULL = no huge page in use has one. */
struct span *huge_find(const struct huge_index *index, size_t units);
const char *huge_check(const struct huge_index *index, const struct huge_page *huge);

#endif
