/*
 * heap_map.c - see heap_map.h. The table of leaves is at most half full, so that its first look
 * is mostly the last one; when leaves go, it is made anew.
 */
#include "traces/heap_map.h"

#include <stdlib.h>

enum { FIRST_ROOM = 256, AT_LEAST = 8192, SLAB_LEAVES = 256 };

struct heap_slab {
    struct heap_slab *next;
    uint64_t words[];
};

/* Makes spare leaves; large pieces of memory do not come and go with them. */
static bool spares_make(struct heap_map *map)
{
    size_t leaf = map->sized ? 2 * HEAP_LEAF_SLOTS : HEAP_LEAF_SLOTS;
    struct heap_slab *slab = calloc(1, sizeof *slab + SLAB_LEAVES * leaf * sizeof *slab->words);
    if (!slab)
        return false;
    slab->next = map->slabs;
    map->slabs = slab;
    for (size_t i = SLAB_LEAVES; i-- > 0;) {
        slab->words[i * leaf] = (uintptr_t)map->spare;
        map->spare = &slab->words[i * leaf];
    }
    return true;
}

/* A table of so many places with the leaves that there are. */
static bool leaves_move(struct heap_map *map, size_t room)
{
    struct heap_map moved = {.leaves = calloc(room, sizeof *moved.leaves), .room = room};
    if (!moved.leaves)
        return false;
    for (size_t i = 0; i < map->room; i++)
        if (map->leaves[i].slots)
            *heap_map_place(&moved, map->leaves[i].key) = map->leaves[i];
    free(map->leaves);
    map->leaves = moved.leaves;
    map->room = room;
    return true;
}

uint64_t *heap_map_add(struct heap_map *map, uint64_t address)
{
    if (2 * (map->used + 1) > map->room &&
        !leaves_move(map, map->room ? 2 * map->room : FIRST_ROOM))
        return NULL;
    if (!map->spare && !spares_make(map))
        return NULL;
    uint64_t *slots = map->spare;
    map->spare = (uint64_t *)(uintptr_t)slots[0];
    slots[0] = 0;
    uint64_t key = heap_map_key(address);
    struct heap_leaf *leaf = heap_map_place(map, key);
    *leaf = (struct heap_leaf){.key = key, .slots = slots};
    map->used++;
    return heap_leaf_slot(leaf, address);
}

bool heap_map_has(const struct heap_map *map, uint64_t address)
{
    const struct heap_leaf *leaf = map->room ? heap_map_place(map, heap_map_key(address)) : NULL;
    return leaf && leaf->slots && *heap_leaf_slot(leaf, address);
}

static bool leaf_is_empty(const struct heap_leaf *leaf)
{
    uint64_t any = 0;
    for (size_t i = 0; i < HEAP_LEAF_SLOTS; i++)
        any |= leaf->slots[i];
    return any == 0;
}

void heap_map_trim(struct heap_map *map)
{
    if (map->used < map->sweep_at + AT_LEAST)
        return;
    struct heap_map kept = *map;
    kept.used = 0;
    kept.leaves = calloc(map->room, sizeof *kept.leaves);
    if (!kept.leaves)
        return;
    for (const struct heap_leaf *l = map->leaves; l < map->leaves + map->room; l++) {
        if (l->slots && leaf_is_empty(l)) {
            l->slots[0] = (uintptr_t)kept.spare;
            kept.spare = l->slots;
        } else if (l->slots) {
            *heap_map_place(&kept, l->key) = *l;
            kept.used++;
        }
    }
    free(map->leaves);
    kept.sweep_at = 2 * kept.used;
    *map = kept;
}

static int slots_compare(const void *a, const void *b)
{
    const uint64_t *const *x = a, *const *y = b;
    return (**x > **y) - (**x < **y);
}

uint64_t **heap_map_live(const struct heap_map *map, size_t *count)
{
    uint64_t **live = malloc((map->used * HEAP_LEAF_SLOTS + 1) * sizeof *live);
    size_t n = 0;
    for (size_t i = 0; live && i < map->room; i++)
        for (size_t k = 0; map->leaves[i].slots && k < HEAP_LEAF_SLOTS; k++) {
            live[n] = &map->leaves[i].slots[k];
            n += *live[n] != 0;
        }
    if (n)
        qsort(live, n, sizeof *live, slots_compare);
    *count = n;
    return live;
}

void heap_map_free(struct heap_map *map)
{
    for (struct heap_slab *slab = map->slabs, *next; slab; slab = next) {
        next = slab->next;
        free(slab);
    }
    free(map->leaves);
    *map = (struct heap_map){0};
}
