/*
 * heapmap.c - see heapmap.h. Ranges are few (the door hands out large ones), so a sorted array and
 * a linear insert do; its memory is mapped, since the heap under test may be the process's own.
 */
#include "harness/heapmap.h"

#include <string.h>
#include <sys/mman.h>

#define ROOM ((size_t)1 << 20) /* ranges; untouched pages cost nothing */

static bool ranges_ready(struct heapmap *map)
{
    if (map->ranges)
        return true;
    map->room = ROOM;
    map->ranges = mmap(NULL, map->room * sizeof *map->ranges, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    map->failed = map->ranges == MAP_FAILED;
    return !map->failed;
}

/* The first range that ends at or after the address. */
static size_t range_find(const struct heapmap *map, uintptr_t address)
{
    size_t low = 0, high = map->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (map->ranges[middle].end < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void heapmap_cover(struct heapmap *map, uintptr_t address, size_t bytes)
{
    uintptr_t start = address & ~(HEAPMAP_GRAIN - 1);
    uintptr_t end = (address + bytes + HEAPMAP_GRAIN - 1) & ~(HEAPMAP_GRAIN - 1);
    if (map->failed || !ranges_ready(map))
        return;
    size_t at = range_find(map, start), last = at;
    while (last < map->count && map->ranges[last].start <= end)
        last++;
    if (last > at) { /* merge with those it touches */
        struct heapmap_range *first = &map->ranges[at];
        first->end = map->ranges[last - 1].end > end ? map->ranges[last - 1].end : end;
        first->start = first->start < start ? first->start : start;
        memmove(first + 1, &map->ranges[last], (map->count - last) * sizeof *first);
        map->count -= last - at - 1;
        return;
    }
    if (map->count == map->room) {
        map->failed = true;
        return;
    }
    memmove(&map->ranges[at + 1], &map->ranges[at], (map->count - at) * sizeof *map->ranges);
    map->ranges[at] = (struct heapmap_range){.start = start, .end = end};
    map->count++;
}

void heapmap_finish(struct heapmap *map)
{
    uint64_t total = 0;
    for (size_t i = 0; i < map->count; i++) {
        map->ranges[i].offset = total;
        total += map->ranges[i].end - map->ranges[i].start;
    }
    uint64_t bucket = (total + HEAPMAP_BUCKETS - 1) / HEAPMAP_BUCKETS;
    map->bucket_bytes = (bucket + 4095) & ~UINT64_C(4095);
    map->buckets = map->bucket_bytes ? (total + map->bucket_bytes - 1) / map->bucket_bytes : 0;
}

void heapmap_add(const struct heapmap *map, struct heapmap_sample *sample, uintptr_t address,
                 size_t bytes, unsigned kind)
{
    size_t i = range_find(map, address + 1);
    if (map->failed || i == map->count || address < map->ranges[i].start)
        return;
    uint64_t offset = map->ranges[i].offset + (address - map->ranges[i].start);
    while (bytes) {
        uint64_t bucket = offset / map->bucket_bytes;
        uint64_t here = (bucket + 1) * map->bucket_bytes - offset;
        if (here > bytes)
            here = bytes;
        if (bucket >= HEAPMAP_BUCKETS)
            return;
        sample->bytes[bucket][kind] += here;
        offset += here;
        bytes -= here;
    }
}

void heapmap_free(struct heapmap *map)
{
    if (map->ranges && map->ranges != MAP_FAILED)
        munmap(map->ranges, map->room * sizeof *map->ranges);
}
