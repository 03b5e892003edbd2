/*
 * shadow.c - the oracle's bitmap; see shadow.h. A table of 2^20 entries covers 2^47 bytes of
 * addresses; an entry's map has a bit for each granule of 128 MiB. All memory is mapped, never
 * malloc'd: the heap under test may be malloc. Bits are atomic, but relaxed: what orders two
 * threads' uses of the same memory must be the design under test, and no look of the oracle's may
 * stand in for it.
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
        uint64_t *map = __atomic_load_n(&s->maps[first / MAP_GRANULES], __ATOMIC_ACQUIRE);
        unsigned bit = first % 64;
        uintptr_t count = 64 - bit < last - first ? 64 - bit : last - first;
        uint64_t mask = (count == 64 ? ~UINT64_C(0) : ((UINT64_C(1) << count) - 1)) << bit;
        if (map) {
            uint64_t *word = &map[first % MAP_GRANULES / 64], set = 0;
            if (visit == VISIT_GIVE)
                __atomic_fetch_and(word, ~mask, __ATOMIC_RELAXED);
            else if (visit == VISIT_TAKE)
                set = __atomic_fetch_or(word, mask, __ATOMIC_RELAXED) & mask;
            else
                set = __atomic_load_n(word, __ATOMIC_RELAXED) & mask;
            if (set)
                return first - bit + (unsigned)__builtin_ctzll(set) + 1;
        }
        first += count;
    }
    return 0;
}

/* Two threads may make the same map: the first one's stays. */
static bool map_make(uint64_t **map)
{
    uint64_t *made = pages_map(MAP_BYTES), *none = NULL;
    if (made &&
        !__atomic_compare_exchange_n(map, &none, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        munmap(made, MAP_BYTES);
    return made;
}

static bool maps_ready(struct shadow *s, uintptr_t first, uintptr_t last)
{
    for (uintptr_t i = first / MAP_GRANULES; i <= (last - 1) / MAP_GRANULES; i++)
        if (!__atomic_load_n(&s->maps[i], __ATOMIC_ACQUIRE) && !map_make(&s->maps[i]))
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
    if (!taken)
        taken = granules_visit(s, first, last, VISIT_TAKE);
    return taken ? (taken - 1) << GRANULE_LOG2 : 0;
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
