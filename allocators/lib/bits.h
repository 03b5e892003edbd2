/*
 * bits.h - arithmetic on sizes and addresses that nearly every design needs: powers of two and
 * rounding to them.
 */
#ifndef ALLOCLAB_BITS_H
#define ALLOCLAB_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool is_pow2(size_t n)
{
    return n && !(n & (n - 1));
}

/* `align` is a power of two. Wraps to a smaller value when n is within align of SIZE_MAX: test
 * before. */
static inline size_t align_up(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}

static inline size_t align_down(size_t n, size_t align)
{
    return n & ~(align - 1);
}

static inline bool is_aligned(uintptr_t n, size_t align)
{
    return !(n & (align - 1));
}

/* n > 0 in the two below. */
static inline unsigned log2_floor(size_t n)
{
    return 63u - (unsigned)__builtin_clzll(n);
}

static inline unsigned log2_ceil(size_t n)
{
    return log2_floor(n) + !is_pow2(n);
}

static inline size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

#endif
