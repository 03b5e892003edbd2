/*
 * bitmap.h - ranges of bits in an array of 64-bit words, a word at a time.
 */
#ifndef ALLOCLAB_BITMAP_H
#define ALLOCLAB_BITMAP_H

#include "allocators/lib/bits.h"

enum bitmap_change { BITMAP_LOOK, BITMAP_SET, BITMAP_CLEAR };

/* How many of the bits were set before the change. */
static inline size_t bitmap_range(uint64_t *bitmap, size_t first, size_t count,
                                  enum bitmap_change change)
{
    size_t set = 0;
    for (size_t end = first + count; first < end;) {
        unsigned low = first % 64;
        size_t n = size_min(64 - low, end - first);
        uint64_t mask = (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << low;
        uint64_t *word = &bitmap[first / 64];
        set += (size_t)__builtin_popcountll(*word & mask);
        if (change == BITMAP_SET)
            *word |= mask;
        else if (change == BITMAP_CLEAR)
            *word &= ~mask;
        first += n;
    }
    return set;
}

/* Sets the bits of the range that are set in `from`. */
static inline void bitmap_range_or(uint64_t *bitmap, const uint64_t *from, size_t first,
                                   size_t count)
{
    for (size_t end = first + count; first < end;) {
        unsigned low = first % 64;
        size_t n = size_min(64 - low, end - first);
        uint64_t mask = (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << low;
        bitmap[first / 64] |= from[first / 64] & mask;
        first += n;
    }
}

static inline bool bitmap_get(const uint64_t *bitmap, size_t i)
{
    return bitmap[i / 64] >> (i % 64) & 1;
}

#endif
