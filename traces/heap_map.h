/*
 * heap_map.h - what lives at which address, for captures, where each event asks. Objects begin at
 * multiples of 16 bytes as a rule, and what a program uses in turn lies close together in its heap.
 * So there is a slot for each 16 bytes, in leaves of 64 slots, found by a small hash table: the
 * slots lie as the objects lie, nothing is searched in a leaf, and the table of leaves stays in a
 * near cache. A hash of addresses (address_map.h) would scatter the slots.
 *
 * Addresses that are no multiples of 16 are in leaves of their own, one for each remainder.
 *
 * Memory: about 600 bytes for each 1 KiB of addresses in which a live object begins, so at most
 * that for each object and little more than half of the program's heap; with sizes twice as much. Leaves
 * without an object are let go when there are twice as many leaves as after the last look. O(1)
 * amortised.
 */
#ifndef ALLOCLAB_HEAP_MAP_H
#define ALLOCLAB_HEAP_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_LEAF_SLOTS 64
#define HEAP_LEAF_SHIFT 10 /* log2 of the bytes of addresses of a leaf */

struct heap_leaf { /* of the hash table */
    uint64_t key;
    uint64_t
        *slots; /* id and one each, 0: nothing lives there; then sizes. NULL: the place is free */
};

struct heap_map { /* zeroed memory is an empty map */
    struct heap_leaf *leaves;
    size_t room, used; /* room: a power of two, or 0 */
    uint64_t
        *spare; /* leaves that are not in use, each with the next one's address in its first slot */
    struct heap_slab *slabs; /* what leaves are cut from */
    size_t sweep_at;         /* leaves */
    bool sized;              /* sizes are kept, too; set before the first object */
};

static inline uint64_t heap_map_key(uint64_t address)
{
    return address >> HEAP_LEAF_SHIFT | (address & 15) << (64 - HEAP_LEAF_SHIFT);
}

/* Where the key's leaf is, or the free place where it would be. */
static inline struct heap_leaf *heap_map_place(const struct heap_map *map, uint64_t key)
{
    size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - __builtin_ctzll(map->room)));
    while (map->leaves[i].slots && map->leaves[i].key != key)
        i = (i + 1) & (map->room - 1);
    return &map->leaves[i];
}

static inline uint64_t *heap_leaf_slot(const struct heap_leaf *leaf, uint64_t address)
{
    return &leaf->slots[address >> 4 & (HEAP_LEAF_SLOTS - 1)];
}

/* Adds the leaf of an address that has none, and gives its slot; private. */
uint64_t *heap_map_add(struct heap_map *map, uint64_t address);

/* The slot of an address, until heap_map_trim(). NULL: no memory. */
static inline uint64_t *heap_map_slot(struct heap_map *map, uint64_t address)
{
    const struct heap_leaf *leaf = map->room ? heap_map_place(map, heap_map_key(address)) : NULL;
    return leaf && leaf->slots ? heap_leaf_slot(leaf, address) : heap_map_add(map, address);
}

/* True if something lives there; adds no leaf. */
bool heap_map_has(const struct heap_map *map, uint64_t address);

/* Lets go of leaves without objects, if it is time to. To be called now and then. */
void heap_map_trim(struct heap_map *map);

/* All slots of what lives, `count` of them, oldest first, for free(); NULL: no memory. */
uint64_t **heap_map_live(const struct heap_map *map, size_t *count);

void heap_map_free(struct heap_map *map);

/* The size beside a slot of a map that keeps sizes. */
static inline uint64_t *heap_slot_size(uint64_t *slot)
{
    return slot + HEAP_LEAF_SLOTS;
}

#endif
