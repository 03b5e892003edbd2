/*
 * large.h - objects that get a reservation of their own, so that their memory goes back to the
 * kernel at once when they die: a table by address, in memory of its own, where a program's writes
 * cannot reach it.
 *
 * Owns the table and all objects in it. Cost: one or two door calls, O(log n) to find an object,
 * O(n) moved bytes to add or remove one (24 bytes each; far less than the door call takes).
 * Threads: none. Misuse is the caller's to name: what is not found is not an object.
 */
#ifndef ALLOCLAB_LARGE_H
#define ALLOCLAB_LARGE_H

#include <stdbool.h>

#include "allocators/lib/allocator.h"

struct large {
    uintptr_t address;
    size_t committed, reserved; /* bytes; the user may use what is committed */
};

struct large_table {
    struct large *rows; /* by address; NULL until the first object */
    size_t count, committed;
};

/* NULL = no memory, or LARGE_MAX objects live. Size and address are multiples of a page. */
void *large_alloc(struct large_table *table, struct os *os, size_t size, size_t align);
struct large *large_find(const struct large_table *table,
                         const void *p); /* NULL: none begins there */
void large_free(struct large_table *table, struct os *os, struct large *large);
/* Grows within the reservation, or shrinks; false = it cannot, and nothing has changed. */
bool large_resize(struct large *large, struct os *os, size_t size);
void large_release(struct large_table *table, struct os *os); /* all objects and the table */

void large_walk(const struct large_table *table, walk_fn *fn, void *arg);
const char *
large_check(const struct large_table *table); /* sorted, disjoint, committed <= reserved */

#endif
