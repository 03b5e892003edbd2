/*
 * address_map.c - the table of address_map.h. Keys are spread by a multiplication with a 64-bit odd
 * constant whose high bits index the table, because addresses differ in their middle bits only.
 */
#include "traces/address_map.h"

#include <stdlib.h>

enum { FIRST_ROOM = 1024 };

static size_t home_of(const struct address_map *map, uint64_t key)
{
    uint64_t mixed = (key ^ key >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(mixed >> (64 - __builtin_ctzll(map->room)));
}

struct address_entry *address_map_find(const struct address_map *map, uint64_t key)
{
    if (map->room == 0)
        return NULL;
    for (size_t i = home_of(map, key);; i = (i + 1) & (map->room - 1)) {
        struct address_entry *e = &map->slots[i];
        if (e->id_and_one == 0)
            return NULL;
        if (e->key == key)
            return e;
    }
}

void address_map_expect(const struct address_map *map, uint64_t key)
{
    if (map->room)
        __builtin_prefetch(&map->slots[home_of(map, key)]);
}

/* Field by field: an entry that is copied just after its fields were written waits for these. */
static void place(struct address_map *map, uint64_t key, uint64_t id_and_one, uint64_t size)
{
    size_t i = home_of(map, key);
    while (map->slots[i].id_and_one)
        i = (i + 1) & (map->room - 1);
    struct address_entry *e = &map->slots[i];
    e->key = key;
    e->id_and_one = id_and_one;
    e->size = size;
}

static bool grow(struct address_map *map)
{
    size_t room = map->room ? 2 * map->room : FIRST_ROOM;
    struct address_map larger = {calloc(room, sizeof *larger.slots), room, map->used};
    if (!larger.slots)
        return false;
    for (const struct address_entry *e = map->slots; e < map->slots + map->room; e++)
        if (e->id_and_one)
            place(&larger, e->key, e->id_and_one, e->size);
    free(map->slots);
    *map = larger;
    return true;
}

bool address_map_add(struct address_map *map, uint64_t key, uint64_t id, uint64_t size)
{
    if (2 * (map->used + 1) > map->room && !grow(map))
        return false;
    place(map, key, id + 1, size);
    map->used++;
    return true;
}

void address_map_remove(struct address_map *map, struct address_entry *entry)
{
    size_t mask = map->room - 1, hole = (size_t)(entry - map->slots);
    for (size_t i = (hole + 1) & mask; map->slots[i].id_and_one; i = (i + 1) & mask) {
        size_t home = home_of(map, map->slots[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) { /* its home is not behind the hole */
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].id_and_one = 0;
    map->used--;
}

void address_map_free(struct address_map *map)
{
    free(map->slots);
    *map = (struct address_map){0};
}
