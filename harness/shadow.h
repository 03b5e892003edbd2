/*
 * shadow.h - which memory is in use, for the oracle: one bit for every 8 bytes of the address
 * space that was ever handed out, in 1 MiB maps made on first use.
 *
 * Blocks start on multiples of 8 bytes (those of less than 16 that a rival hands out; others on
 * multiples of 16), so two of them overlap exactly if they share a granule: one look finds partial
 * overlap, a block inside another, and one around another alike. Cost O(bytes / 512) a block,
 * independent of how many are live.
 */
#ifndef ALLOCLAB_SHADOW_H
#define ALLOCLAB_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHADOW_GRANULE ((size_t)8)

struct shadow;

struct shadow *shadow_new(void); /* NULL = no memory */
void shadow_free(struct shadow *s);

/* Marks [address, address + bytes) as in use. 0; or the address of the first granule that already
   was (nothing is marked then, unless another thread took it in this moment: of two that meet at
   least one is told). UINTPTR_MAX if memory for the map ran out. Addresses are below 2^47. Threads
   may take and give at the same time. */
uintptr_t shadow_take(struct shadow *s, uintptr_t address, size_t bytes);
void shadow_give(struct shadow *s, uintptr_t address, size_t bytes);

/* The first granule in use that lies whole inside the range, or 0. */
uintptr_t shadow_find(const struct shadow *s, uintptr_t address, size_t bytes);

#endif
