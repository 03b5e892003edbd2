/*
 * address_map.h - a hash table from a 64-bit key, an address as a rule, to an object's id and size.
 * For turning recordings that name objects by address into traces that name them by id.
 *
 * Open addressing with linear probing, at most half full; removal shifts the followers back, so
 * that there are no tombstones and a table that churns does not slow down. O(1) expected; 24 bytes
 * a slot. Any key is allowed.
 */
#ifndef ALLOCLAB_ADDRESS_MAP_H
#define ALLOCLAB_ADDRESS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address_entry {
    uint64_t key;
    uint64_t id_and_one; /* 0: the slot is empty */
    uint64_t size;
};

struct address_map { /* zeroed memory is an empty map */
    struct address_entry *slots;
    size_t room, used; /* room: a power of two, or 0 */
};

static inline size_t address_map_home(const struct address_map *map, uint64_t key)
{
    uint64_t mixed = (key ^ key >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(mixed >> (64 - __builtin_ctzll(map->room)));
}

/* NULL: it is not there. */
static inline struct address_entry *address_map_find(const struct address_map *map, uint64_t key)
{
    if (map->room == 0)
        return NULL;
    for (size_t i = address_map_home(map, key);; i = (i + 1) & (map->room - 1)) {
        struct address_entry *e = &map->slots[i];
        if (e->id_and_one == 0)
            return NULL;
        if (e->key == key)
            return e;
    }
}

/* Field by field: an entry that is copied just after its fields were written waits for these. */
static inline void address_map_place(struct address_map *map, uint64_t key, uint64_t id_and_one,
                                     uint64_t size)
{
    size_t i = address_map_home(map, key);
    while (map->slots[i].id_and_one)
        i = (i + 1) & (map->room - 1);
    struct address_entry *e = &map->slots[i];
    e->key = key;
    e->id_and_one = id_and_one;
    e->size = size;
}

bool address_map_grow(struct address_map *map); /* private, like place */

/* Adds a key that is not there; false if there is no memory. */
static inline bool address_map_add(struct address_map *map, uint64_t key, uint64_t id,
                                   uint64_t size)
{
    if (2 * (map->used + 1) > map->room && !address_map_grow(map))
        return false;
    address_map_place(map, key, id + 1, size);
    map->used++;
    return true;
}

/* Removes an entry that address_map_find gave; other entries may move. */
void address_map_remove(struct address_map *map, struct address_entry *entry);
void address_map_free(struct address_map *map);

static inline uint64_t address_entry_id(const struct address_entry *entry)
{
    return entry->id_and_one - 1;
}

#endif
