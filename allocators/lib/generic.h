/*
 * generic.h - what a caller does where a design leaves an optional function out: zeroed memory by
 * alloc and memset, realloc by alloc, copy and free. One place, so that every pass does the same.
 */
#ifndef ALLOCLAB_GENERIC_H
#define ALLOCLAB_GENERIC_H

#include <string.h>

#include "allocators/lib/allocator.h"

static inline void *generic_zalloc(const struct allocator *design, struct heap *view, size_t size,
                                   size_t align)
{
    if (design->zalloc)
        return design->zalloc(view, size, align);
    void *p = design->alloc(view, size, align);
    return p ? memset(p, 0, size) : NULL;
}

/* `view` is the object's scope's view or the thread's, as the contract says of realloc; `place` is
   where a new block for it must come from: its scope's view. */
static inline void *generic_realloc(const struct allocator *design, struct heap *view,
                                    struct heap *place, void *p, size_t old, size_t size,
                                    size_t align)
{
    if (design->realloc)
        return design->realloc(view, p, old, size, align);
    void *moved = design->alloc(place, size, align);
    if (!moved)
        return NULL;
    memcpy(moved, p, old < size ? old : size);
    design->free(view, p, design->traits & ALLOCATOR_NEEDS_SIZE ? old : 0);
    return moved;
}

#endif
