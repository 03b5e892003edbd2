/*
 * size_class.h - size classes with eight steps a doubling, computed in both directions: shifts and
 * one count of leading zeros, no table, no division, no branch.
 *
 *     sizes    16 32 48 .. 128 | 144 160 .. 256 | 288 320 .. 512 | 576 ..
 *     classes   0  1  2 ..   7 |   8   9 ..  15 |  16  17 ..  23 |  24 ..
 *
 * A class of s bytes serves the sizes above the class before it. From 128 bytes on it wastes less
 * than 1/9 of s (11.2 %); below, less than 16 bytes, which is the alignment's price. Every size is
 * a multiple of 16, and every power of two from 16 on is a class.
 */
#ifndef ALLOCLAB_SIZE_CLASS_H
#define ALLOCLAB_SIZE_CLASS_H

#include "allocators/lib/bits.h"

enum { SIZE_CLASS_SHIFT = 4 }; /* log2 of the smallest size */

/* size > 0 */
static inline unsigned size_class_of(size_t size)
{
    size_t granule = (size - 1) >> SIZE_CLASS_SHIFT;
    unsigned shift = log2_floor(granule | 8) - 3;
    return (shift << 3) + (unsigned)(granule >> shift);
}

/* The largest size of the class, which is what its objects take. */
static inline size_t size_class_bytes(unsigned size_class)
{
    unsigned doubling = size_class >> 3, step = size_class & 7;
    size_t granules = doubling ? (size_t)(step + 9) << (doubling - 1) : step + 1;
    return granules << SIZE_CLASS_SHIFT;
}

/* The first class from the size's on whose size is a multiple of the alignment, a power of two: in
 * a span that is aligned so, its objects are too. */
static inline unsigned size_class_aligned(size_t size, size_t align)
{
    unsigned size_class = size_class_of(size);
    while (!is_aligned(size_class_bytes(size_class), align))
        size_class++;
    return size_class;
}

#endif
