/*
 * dropin.h - which designs can serve a whole program in place of the C library's malloc. The rule
 * is what a program may do without telling: free what others allocated, in any order, by address
 * alone, with any alignment, and go on for days.
 *
 * Threads are no condition: a design that does not promise them gets a lock around its heap.
 */
#ifndef ALLOCLAB_DROPIN_H
#define ALLOCLAB_DROPIN_H

#include <stdbool.h>

#include "allocators/lib/allocator.h"

/* The largest alignment that ALLOCATOR_ANY_ALIGN promises. */
#define DROPIN_ALIGN_MAX ((size_t)1 << 20)

/* How a program's environment tells the library what to do; docs/dropin.md. */
#define DROPIN_ENV_OPTIONS "ALLOCLAB_OPTIONS"
#define DROPIN_ENV_DOOR    "ALLOCLAB_DOOR"
#define DROPIN_ENV_TICK    "ALLOCLAB_TICK_MS"
#define DROPIN_ENV_STATS   "ALLOCLAB_STATS"

/* A longest time between ticks that nobody means. */
#define DROPIN_TICK_MAX_MS 86400000

/* NULL, or why the design has no drop-in library. */
static inline const char *dropin_refusal(const struct allocator *design)
{
    unsigned traits = design->traits;
    return traits & ALLOCATOR_FAKE           ? "it hands out memory that it does not manage"
           : traits & ALLOCATOR_FOREIGN      ? "it is the malloc that the program has anyway"
           : traits & ALLOCATOR_WRAPS        ? "it is only a layer over another design"
           : traits & ALLOCATOR_NEEDS_SIZE   ? "it must be told the size at each free"
           : !(traits & ALLOCATOR_REUSES)    ? "it does not reuse what is freed"
           : !(traits & ALLOCATOR_ANY_ALIGN) ? "it aligns to 16 bytes at most"
           : !design->usable                 ? "it does not know the size of an object"
                                             : NULL;
}

/* Whether several threads may be in its heap at once, and free each other's objects. */
static inline bool dropin_is_shared(const struct allocator *design)
{
    unsigned both = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE;
    return (design->traits & both) == both;
}

#endif
