/*
 * table_grow.h - tables that double when they are full; private to traces/.
 */
#ifndef ALLOCLAB_TABLE_GROW_H
#define ALLOCLAB_TABLE_GROW_H

#include <stddef.h>
#include <stdlib.h>

/* Doubles a table that is full; *room counts items, and the new ones are not cleared. NULL and nothing
 * has changed if there is no memory. O(1) amortised an item. */
__attribute__((noinline)) static void *table_grow(void *table, size_t *room, size_t item_bytes)
{
    size_t more = *room ? 2 * *room : 256;
    void *grown = realloc(table, more * item_bytes);
    if (grown)
        *room = more;
    return grown;
}

#endif
