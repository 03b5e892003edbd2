/*
 * batch.h - many objects of one size at once: how many fill so many pages, allocating them, and the
 * order in which they are freed.
 */
#ifndef ALLOCLAB_BATCH_H
#define ALLOCLAB_BATCH_H

#include "workloads/lib/emit.h"
#include "workloads/lib/rng.h"

#define BATCH_PAGE_BYTES 4096

enum batch_order { BATCH_FIFO, BATCH_LIFO, BATCH_RANDOM };
#define BATCH_ORDERS "fifo|lifo|random" /* choices of an option */

/* Objects of `size` bytes in `pages` pages, floor(pages * 4096 / size), but at least one. */
static inline uint64_t batch_count(uint64_t pages, uint64_t size)
{
    uint64_t n = pages * BATCH_PAGE_BYTES / size;
    return n ? n : 1;
}

/* Thread 0 allocates n objects and appends them to `ids`. */
void batch_alloc(struct emit *e, struct ids *ids, uint64_t n, uint64_t size, unsigned site);

/* Thread `thread` frees all of `ids`, which is empty then. Random: each order alike (Fisher and
 * Yates); only this draws from `rng`. */
void batch_free(struct emit *e, unsigned thread, struct ids *ids, unsigned order, struct rng *rng);

#endif
