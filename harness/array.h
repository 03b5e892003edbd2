/*
 * array.h - arrays that grow by doubling, so that adding an element is O(1) amortised.
 */
#ifndef ALLOCLAB_ARRAY_H
#define ALLOCLAB_ARRAY_H

#include <stdint.h>
#include <stdlib.h>

/* Makes room for one more element of `size` bytes in an array that holds `count`; the array,
   perhaps moved, or NULL if memory is short: the old one then stays as it was. */
static inline void *array_room(void *array, uint64_t count, uint64_t *room, size_t size)
{
    if (count < *room)
        return array;
    uint64_t more = *room ? *room * 2 : 64;
    void *grown = realloc(array, more * size);
    if (grown)
        *room = more;
    return grown;
}

#endif
