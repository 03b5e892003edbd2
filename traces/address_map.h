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

struct address_entry *address_map_find(const struct address_map *map, uint64_t key); /* or NULL */

/* Says that the key will be asked for soon, so that its slot is on the way from memory. */
void address_map_expect(const struct address_map *map, uint64_t key);

/* Adds a key that is not there; false if there is no memory. */
bool address_map_add(struct address_map *map, uint64_t key, uint64_t id, uint64_t size);

/* Removes an entry that address_map_find gave; other entries may move. */
void address_map_remove(struct address_map *map, struct address_entry *entry);
void address_map_free(struct address_map *map);

static inline uint64_t address_entry_id(const struct address_entry *entry)
{
    return entry->id_and_one - 1;
}

#endif
