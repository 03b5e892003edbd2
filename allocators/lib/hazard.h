/*
 * hazard.h - hazard pointers: a thread that is about to look into a shared node says so first, and
 * nobody reuses a node of which somebody has said so. After Michael, "Hazard Pointers: Safe Memory
 * Reclamation for Lock-Free Objects" (2004).
 *
 *     reader                            remover
 *     p = source                        takes p out of the structure       (U)
 *     slot = p                    (W)   retires p: its own list, no sharing
 *     source still p?  no: again  (R)   list full: looks at all slots      (S)
 *     ... looks into p ...              reclaims what stands in none
 *     slot = NULL
 *
 * Protects against both dangers of a shared structure: a node's memory going away under a reader,
 * and ABA, a compare-and-swap that succeeds because a node that was removed is back in the same
 * place. A node that a reader has announced is not reclaimed, and one that was not reclaimed must
 * not be put back.
 *
 * Memory order. W, R, U and S are sequentially consistent, so all threads agree on one order of
 * them. If S does not see what W wrote, S came before W; U came before S in the remover, and R
 * after W in the reader: so U came before R, R finds another value in the source, and the reader
 * begins again. The same holds for a record that S does not find in the list, since the record was
 * added before W and S loads the list's head after U. The end of protection is a release, which S
 * reads with acquire: all looks into the node happen before it is reclaimed. Retired lists belong
 * to the record's user, and pass to the next one with the record. Weaker orders would do with a
 * full fence between W and R; on x86-64 W is that fence, and nothing else here costs anything.
 *
 * Garbage. A record holds at most `limit` retired nodes; when they are that many, hazard_room()
 * scans, and says no if it could not reclaim any. So never more than records * limit nodes wait,
 * and a reader that stops for good keeps one node a slot from being reclaimed, no more. With limit
 * above the number of records a scan always finds one: then retiring never fails. Cost: a scan
 * looks at records * limit pairs; spread over the nodes that it reclaims that is O(records).
 *
 * Threads: a record's functions are its user's; the domain does not change but for its list.
 */
#ifndef ALLOCLAB_HAZARD_H
#define ALLOCLAB_HAZARD_H

#include "allocators/lib/record.h"

enum { HAZARD_LIMIT_MAX = 128 };

struct hazard_record {
    struct record record; /* first */
    _Atomic(void *) slot; /* written by the user, read by all */
    void *arg;            /* the user's, for reclaim() */
    uint32_t count, peak; /* nodes that wait, now and at most */
    void *retired[HAZARD_LIMIT_MAX];
};

struct hazard_domain {
    struct records records;
    uint32_t limit; /* 1 .. HAZARD_LIMIT_MAX */
    /* Nobody looks into the node any more. Called by scans of the record with this `arg`; must not
     * retire or protect. */
    void (*reclaim)(void *arg, void *node);
};

/* Reclaims what no slot names. */
void hazard_scan(struct hazard_domain *domain, struct hazard_record *r);

/* Whether one more may be retired, after a scan if need be. */
static inline bool hazard_room(struct hazard_domain *domain, struct hazard_record *r)
{
    if (r->count == domain->limit)
        hazard_scan(domain, r);
    return r->count < domain->limit;
}

/* The caller has asked for room, and has taken the node out of the structure by a sequentially
 * consistent operation. */
static inline void hazard_retire(struct hazard_record *r, void *node)
{
    r->retired[r->count++] = node;
    r->peak = r->count > r->peak ? r->count : r->peak;
}

/* What the source holds, announced; NULL if it holds nothing. */
static inline void *hazard_protect(struct hazard_record *r, _Atomic(void *) *source)
{
    void *node = step_load(source, memory_order_relaxed);
    while (node) {
        step_store(&r->slot, node, memory_order_seq_cst);
        void *again = step_load(source, memory_order_seq_cst);
        if (again == node)
            break;
        node = again;
    }
    return node;
}

static inline void hazard_clear(struct hazard_record *r)
{
    step_store(&r->slot, NULL, memory_order_release);
}

#endif
