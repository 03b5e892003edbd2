/*
 * heapmap.h - where in the address space the heap's bytes are: committed ranges, seen over a whole
 * replay, put side by side (gaps that were never committed are left out) and cut into equal
 * buckets.
 */
#ifndef ALLOCLAB_HEAPMAP_H
#define ALLOCLAB_HEAPMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/outcome.h"

#define HEAPMAP_GRAIN ((uintptr_t)65536) /* ranges are widened to multiples of it */

struct heapmap_range {
    uintptr_t start, end;
    uint64_t offset; /* of start, with the gaps left out; set by heapmap_finish */
};

struct heapmap {
    struct heapmap_range *ranges; /* sorted, apart */
    size_t count, room;
    uint64_t bucket_bytes, buckets;
    bool failed; /* memory for the ranges ran out: the map is incomplete and not shown */
};

void heapmap_cover(struct heapmap *map, uintptr_t address, size_t bytes); /* O(ranges) */
void heapmap_finish(struct heapmap *map);                                 /* after the last cover */
/* Adds bytes of a kind to a sample's buckets. */
void heapmap_add(const struct heapmap *map, struct heapmap_sample *sample, uintptr_t address,
                 size_t bytes, unsigned kind);
void heapmap_free(struct heapmap *map);

#endif
