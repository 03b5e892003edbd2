/*
 * shadow.c - the oracle's bitmap; see shadow.h. A table of 2^20 entries covers 2^47 bytes of
 * addresses; an entry's map has a bit for each granule of 128 MiB. All memory is mapped, never
 * malloc'd: the heap under test may be malloc.
 */
#include "harness/shadow.h"

#include <sys/mman.h>

#define GRANULE_LOG2  3
#define MAP_LOG2      27 /* bytes of address space a map covers */
#define TABLE_ENTRIES ((size_t)1 << (47 - MAP_LOG2))
#define MAP_GRANULES  ((size_t)1 << (MAP_LOG2 - GRANULE_LOG2))
#define MAP_BYTES     (MAP_GRANULES / 8)

_Static_assert(SHADOW_GRANULE == (size_t)1 << GRANULE_LOG2, "the same granule");

struct shadow {
    uint64_t *maps[TABLE_ENTRIES];
};

enum visit { VISIT_TAKE, VISIT_GIVE, VISIT_FIND };

static void *pages_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

struct shadow *shadow_new(void)
{
    return pages_map(sizeof(struct shadow));
}

void shadow_free(struct shadow *s)
{
    for (size_t i = 0; i < TABLE_ENTRIES; i++)
        if (s->maps[i])
            munmap(s->maps[i], MAP_BYTES);
    munmap(s, sizeof *s);
}

/* Visits granules [first, last) a word at a time; returns the first granule + 1 that was found set,
 * else 0. */
static uintptr_t granules_visit(const struct shadow *s, uintptr_t first, uintptr_t last,
                                enum visit visit)
{
    while (first < last) {
        uint64_t *map = s->maps[first / MAP_GRANULES];
        unsigned bit = first % 64;
        uintptr_t count = 64 - bit < last - first ? 64 - bit : last - first;
        uint64_t mask = (count == 64 ? ~UINT64_C(0) : ((UINT64_C(1) << count) - 1)) << bit;
        if (map) {
            uint64_t *word = &map[first % MAP_GRANULES / 64];
            if (visit == VISIT_FIND && (*word & mask))
                return first - bit + (unsigned)__builtin_ctzll(*word & mask) + 1;
            if (visit == VISIT_TAKE)
                *word |= mask;
            else if (visit == VISIT_GIVE)
                *word &= ~mask;
        }
        first += count;
    }
    return 0;
}

static bool maps_ready(struct shadow *s, uintptr_t first, uintptr_t last)
{
    for (uintptr_t i = first / MAP_GRANULES; i <= (last - 1) / MAP_GRANULES; i++)
        if (!s->maps[i] && !(s->maps[i] = pages_map(MAP_BYTES)))
            return false;
    return true;
}

uintptr_t shadow_take(struct shadow *s, uintptr_t address, size_t bytes)
{
    uintptr_t first = address >> GRANULE_LOG2,
              last = (address + bytes + SHADOW_GRANULE - 1) >> GRANULE_LOG2;
    if ((address + bytes) >> 47 || !maps_ready(s, first, last))
        return UINTPTR_MAX;
    uintptr_t taken = granules_visit(s, first, last, VISIT_FIND);
    if (taken)
        return (taken - 1) << GRANULE_LOG2;
    granules_visit(s, first, last, VISIT_TAKE);
    return 0;
}

void shadow_give(struct shadow *s, uintptr_t address, size_t bytes)
{
    granules_visit(s, address >> GRANULE_LOG2,
                   (address + bytes + SHADOW_GRANULE - 1) >> GRANULE_LOG2, VISIT_GIVE);
}

uintptr_t shadow_find(const struct shadow *s, uintptr_t address, size_t bytes)
{
    uintptr_t first = (address + SHADOW_GRANULE - 1) >> GRANULE_LOG2,
              last = (address + bytes) >> GRANULE_LOG2;
    if (first >= last || last > TABLE_ENTRIES * MAP_GRANULES) /* nothing there, or no address */
        return 0;
    uintptr_t found = granules_visit(s, first, last, VISIT_FIND);
    return found ? (found - 1) << GRANULE_LOG2 : 0;
}
