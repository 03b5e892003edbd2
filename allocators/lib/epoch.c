/*
 * epoch.c - see epoch.h.
 */
#include "allocators/lib/epoch.h"

/* One step, if all readers have seen this epoch; another thread may make it at the same time. */
static void epoch_advance(struct epoch_domain *domain)
{
    uint64_t epoch = step_load(&domain->epoch, memory_order_seq_cst);
    for (struct record *r = records_first(&domain->records); r; r = r->next) {
        uint64_t announced =
            step_load(&((struct epoch_record *)r)->announced, memory_order_seq_cst);
        if (announced && announced != epoch)
            return;
    }
    step_cas(&domain->epoch, &epoch, epoch + 1, memory_order_seq_cst, memory_order_relaxed);
}

void epoch_scan(struct epoch_domain *domain, struct epoch_record *r)
{
    struct epoch_retired *ripe = r->retired;
    uint32_t count = r->count, ripe_count = 0;
    if (!count)
        return;
    uint64_t epoch = step_load(&domain->epoch, memory_order_seq_cst);
    for (unsigned i = 0; i < 2 && epoch < ripe[count - 1].stamp + 2; i++) {
        epoch_advance(domain);
        epoch = step_load(&domain->epoch, memory_order_seq_cst);
    }
    while (ripe_count < count && ripe[ripe_count].stamp + 2 <= epoch)
        ripe_count++;
    for (uint32_t i = 0; i < ripe_count; i++)
        domain->reclaim(r->arg, ripe[i].node);
    r->count = count - ripe_count;
    for (uint32_t i = 0; i < r->count; i++)
        ripe[i] = ripe[i + ripe_count];
}
