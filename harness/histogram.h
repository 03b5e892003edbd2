/*
 * histogram.h - counts of values in log-linear buckets: each doubling is cut into 64 equal parts,
 * so that a bucket is at most 1/64 as wide as the least value in it, and values below 128 have a
 * bucket each. After Tene's HdrHistogram, with a fixed layout: nothing is allocated, and adding a
 * value is a shift and two additions.
 *
 * Error: a quantile is never below the value that it stands for, and less than 1/64 above it; the
 * greatest value and the number of values are exact.
 */
#ifndef ALLOCLAB_HISTOGRAM_H
#define ALLOCLAB_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 6, /* log2 of the parts of a doubling */
    HISTOGRAM_PARTS = 1 << HISTOGRAM_BITS,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS + 1) * HISTOGRAM_PARTS,
};

struct histogram { /* all zero = empty */
    uint64_t total, max;
    uint64_t count[HISTOGRAM_BUCKETS];
};

/*
 * The same with 2^bits parts of a doubling: values below 2^bits have a cell each. A cell's values
 * are from low to high, both included.
 */
static inline unsigned loglinear_cell(uint64_t value, unsigned bits)
{
    unsigned shift = 63 - (unsigned)__builtin_clzll(value | (uint64_t)1 << bits) - bits;
    return (shift << bits) + (unsigned)(value >> shift);
}

static inline uint64_t loglinear_low(unsigned cell, unsigned bits)
{
    unsigned shift = cell >> (bits + 1) ? (cell >> bits) - 1 : 0;
    return (uint64_t)(cell - (shift << bits)) << shift;
}

static inline uint64_t loglinear_high(unsigned cell, unsigned bits)
{
    unsigned shift = cell >> (bits + 1) ? (cell >> bits) - 1 : 0;
    return loglinear_low(cell, bits) + (((uint64_t)1 << shift) - 1);
}

static inline unsigned histogram_bucket(uint64_t value)
{
    return loglinear_cell(value, HISTOGRAM_BITS);
}

/* The values of a bucket: from low to high, both included. */
static inline uint64_t histogram_low(unsigned bucket)
{
    return loglinear_low(bucket, HISTOGRAM_BITS);
}

static inline uint64_t histogram_high(unsigned bucket)
{
    return loglinear_high(bucket, HISTOGRAM_BITS);
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
    h->total++;
    h->count[histogram_bucket(value)]++;
    if (value > h->max)
        h->max = value;
}

/* Adds all of `from`. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/*
 * The least value that at least one_in - 1 of one_in values do not exceed (one_in = 2: the median;
 * 1000: the 99.9th percentile; 2 or more), to the error above. 0 if there are none.
 */
uint64_t histogram_quantile(const struct histogram *h, uint64_t one_in);

#endif
