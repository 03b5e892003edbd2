/*
 * histogram.c - sums and quantiles of a histogram. See histogram.h.
 */
#include "harness/histogram.h"

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->total += from->total;
    if (from->max > into->max)
        into->max = from->max;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->count[i] += from->count[i];
}

/* Ranks are whole numbers, so that no rounding moves a quantile by a value. */
uint64_t histogram_quantile(const struct histogram *h, uint64_t one_in)
{
    uint64_t rank = h->total - h->total / one_in, seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && h->total; i++) {
        seen += h->count[i];
        if (seen >= rank)
            return histogram_high(i) < h->max ? histogram_high(i) : h->max;
    }
    return h->max;
}
