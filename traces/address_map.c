/*
 * address_map.c - the table of address_map.h. Keys are spread by a multiplication with a 64-bit odd
 * constant whose high bits index the table, because addresses differ in their middle bits only.
 */
#include "traces/address_map.h"

#include <stdlib.h>

enum { FIRST_ROOM = 1024 };

bool address_map_grow(struct address_map *map)
{
    size_t room = map->room ? 2 * map->room : FIRST_ROOM;
    struct address_map larger = {calloc(room, sizeof *larger.slots), room, map->used};
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < map->room; i++) {
        const struct address_entry *e = &map->slots[i];
        if (e->id_and_one)
            address_map_place(&larger, e->key, e->id_and_one, e->size);
    }
    free(map->slots);
    *map = larger;
    return true;
}

void address_map_remove(struct address_map *map, struct address_entry *entry)
{
    size_t mask = map->room - 1, hole = (size_t)(entry - map->slots);
    for (size_t i = (hole + 1) & mask; map->slots[i].id_and_one; i = (i + 1) & mask) {
        size_t home = address_map_home(map, map->slots[i].key);
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
