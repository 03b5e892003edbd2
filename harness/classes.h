/*
 * classes.h - the size classes of the per-class table: the same for all designs, eight steps a
 * doubling (allocators/lib/size_class.h), so that their rows stand side by side, and few enough to
 * be counted in an array. A block is put into a class by what it can hold, as the design tells; a
 * block of a design that cannot tell, by what was asked for.
 */
#ifndef ALLOCLAB_CLASSES_H
#define ALLOCLAB_CLASSES_H

#include <stdint.h>

#include "allocators/lib/size_class.h"

#define CLASS_ROWS 384 /* row 0 is for bytes of no class; sizes of 2^48 have still a row */

struct class_share {                  /* one row of classes.csv */
    uint64_t requests;                /* blocks handed out over the whole replay */
    uint64_t live, requested, usable; /* objects and their bytes, at the peak */
    uint64_t walk[4];                 /* bytes by enum walk_kind, at the peak */
};

/* The row of a block of so many bytes; 0 bytes: of no class. */
static inline unsigned class_row(size_t bytes)
{
    unsigned row = bytes ? size_class_of(bytes) + 1 : 0;
    return row < CLASS_ROWS ? row : CLASS_ROWS - 1;
}

/* The most that a block of the row holds. */
static inline uint64_t class_row_bytes(unsigned row)
{
    return row ? size_class_bytes(row - 1) : 0;
}

#endif
