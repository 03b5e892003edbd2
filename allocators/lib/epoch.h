/*
 * epoch.h - epoch-based reclamation: readers announce only when they are inside, with one store for
 * any number of nodes, and a node that was removed waits until everybody has been outside. After
 * Fraser, "Practical Lock-Freedom" (2004), and Hart et al., "Performance of Memory Reclamation for
 * Lockless Synchronization" (2007).
 *
 *     epoch            e               e + 1             e + 2
 *     reader       |--inside, e--|
 *     remover        U, stamp e                           reclaims: stamp + 2 <= epoch
 *     advance                     ^ all inside say e  ^ all inside say e + 1
 *
 *     reader                        remover                       advance (anyone)
 *     announced = epoch     (W)     takes p out           (U)     e = epoch
 *     p = source            (R)     stamp = epoch         (T)     all announced 0 or e?  (S)
 *     ... looks into p ...          retires p with it             epoch: e -> e + 1      (A)
 *     announced = 0                 later: stamp + 2 <= epoch?
 *
 * Memory order. W, R, U, T, S and A are sequentially consistent, so all threads agree on one order
 * of them. Let the epoch be e when W takes place; the reader may have announced less, if it was
 * slow. A node that R still finds was taken out after W, so its stamp T is at least e. Until the
 * reader leaves, the epoch gets no further than e + 1: an advance from e may have looked at the
 * reader's record before W; but one from e + 1 looks after that, sees W, and finds less than e + 1.
 * So stamp + 2 is not reached while the reader is inside. A record that S does not find in the list
 * is one that S came too early for, as above. Leaving is a release, S an acquire, and so are A and
 * the load of the epoch before reclaiming: all looks into the node happen before its reuse. This
 * also rules out ABA: what a reader may have seen is not put back before it has left.
 *
 * Garbage. A record holds at most `limit` retired nodes; epoch_room() scans when they are that
 * many, and says no if it could not reclaim any. So never more than records * limit nodes wait. But
 * one reader that stops inside keeps *all* of them waiting, those of others too, for as long as it
 * stops: the user must go on without retiring then, as lockfree.c says it does. That is the price
 * for readers that announce once; hazard.h has the other one.
 *
 * Threads: a record's functions are its user's; the epoch is anyone's.
 */
#ifndef ALLOCLAB_EPOCH_H
#define ALLOCLAB_EPOCH_H

#include "allocators/lib/record.h"

enum { EPOCH_LIMIT_MAX = 128 };

struct epoch_retired {
    void *node;
    uint64_t stamp;
};

struct epoch_record {
    struct record record;       /* first */
    _Atomic uint64_t announced; /* 0 = outside; written by the user, read by all */
    void *arg;                  /* the user's, for reclaim() */
    uint32_t count, peak;       /* nodes that wait, now and at most */
    struct epoch_retired retired[EPOCH_LIMIT_MAX]; /* stamps rise */
};

struct epoch_domain {
    struct records records;
    _Atomic uint64_t epoch; /* from 1 */
    uint32_t limit;         /* 1 .. EPOCH_LIMIT_MAX */
    /* Nobody looks into the node any more. Called by scans of the record with this `arg`; must not
     * retire or enter. */
    void (*reclaim)(void *arg, void *node);
};

/* Advances the epoch as far as that helps, and reclaims. The caller is outside. */
void epoch_scan(struct epoch_domain *domain, struct epoch_record *r);

/* Whether one more may be retired, after a scan if need be. */
static inline bool epoch_room(struct epoch_domain *domain, struct epoch_record *r)
{
    if (r->count == domain->limit)
        epoch_scan(domain, r);
    return r->count < domain->limit;
}

/* The caller has asked for room, and has taken the node out of the structure by a sequentially
 * consistent operation. */
static inline void epoch_retire(struct epoch_domain *domain, struct epoch_record *r, void *node)
{
    uint64_t stamp = step_load(&domain->epoch, memory_order_seq_cst);
    r->retired[r->count++] = (struct epoch_retired){node, stamp};
    r->peak = r->count > r->peak ? r->count : r->peak;
}

/* Not nested. */
static inline void epoch_enter(struct epoch_domain *domain, struct epoch_record *r)
{
    uint64_t epoch = step_load(&domain->epoch, memory_order_relaxed);
    step_store(&r->announced, epoch, memory_order_seq_cst);
}

static inline void epoch_leave(struct epoch_record *r)
{
    step_store(&r->announced, 0, memory_order_release);
}

#endif
