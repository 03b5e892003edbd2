/*
 * batch.c - see batch.h.
 */
#include "workloads/lib/batch.h"

void batch_alloc(struct emit *e, struct ids *ids, uint64_t n, uint64_t size, unsigned site)
{
    for (uint64_t i = 0; i < n && !e->failed; i++)
        ids_push(e, ids, emit_alloc(e, 0, size, site));
}

static void ids_swap(struct ids *ids, uint64_t i, uint64_t j)
{
    uint64_t id = ids->items[i];
    ids->items[i] = ids->items[j];
    ids->items[j] = id;
}

void batch_free(struct emit *e, unsigned thread, struct ids *ids, unsigned order, struct rng *rng)
{
    if (order == BATCH_LIFO)
        for (uint64_t i = 0; i < ids->n / 2; i++)
            ids_swap(ids, i, ids->n - 1 - i);
    if (order == BATCH_RANDOM)
        for (uint64_t i = ids->n; i > 1; i--)
            ids_swap(ids, i - 1, rng_below(rng, i));
    emit_free_all(e, thread, ids);
}
