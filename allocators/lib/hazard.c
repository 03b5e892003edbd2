/*
 * hazard.c - see hazard.h.
 */
#include "allocators/lib/hazard.h"

static bool node_is_announced(struct hazard_domain *domain, const void *node)
{
    for (struct record *r = records_first(&domain->records); r; r = r->next)
        if (step_load(&((struct hazard_record *)r)->slot, memory_order_seq_cst) == node)
            return true;
    return false;
}

/* Those to be reclaimed are sorted to the end first, so that the list is whole in reclaim(). */
void hazard_scan(struct hazard_domain *domain, struct hazard_record *r)
{
    uint32_t kept = 0, count = r->count;
    for (uint32_t i = 0; i < count; i++) {
        void *node = r->retired[i];
        if (node_is_announced(domain, node)) {
            r->retired[i] = r->retired[kept];
            r->retired[kept++] = node;
        }
    }
    r->count = kept;
    for (uint32_t i = kept; i < count; i++)
        domain->reclaim(r->arg, r->retired[i]);
}
