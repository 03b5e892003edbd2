/*
 * shared_stack.h - a stack that many threads push to and pop from without locks (Treiber, "Systems
 * Programming: Coping with Parallelism", 1986), with its pops protected by hazard pointers or by
 * epochs, as the user chooses when it is made.
 *
 *     head -> link -> link -> NULL        a node is known by the address of its link
 *
 * pop reads the link of a node that another thread may pop at the same time: so a node's link must
 * stay readable, and the node must not be pushed again, until reclaim() was called for it. The user
 * retires each node that it has popped (reclaimer_room, reclaimer_retire), and may use everything
 * in it but the link at once.
 *
 * No ABA: a pop's compare-and-swap replaces `head == node` by the node's link as it was read under
 * protection. For it to succeed wrongly, the node would have to be popped and pushed again in
 * between, and then it was reclaimed under protection, which hazard.h and epoch.h rule out. A push
 * needs no protection: it does not look into the node that it puts its own on.
 *
 * Memory order. push: the compare-and-swap is a release, so that what the pusher wrote to the node
 * is there for whoever pops it. pop: all loads of head that protection rests on and the
 * compare-and-swap are sequentially consistent (R and U of hazard.h and epoch.h), which includes
 * the acquire. A link is written and read with relaxed order: the value that matters was written
 * before the push that head was read from. Reading an outdated link is possible only if the
 * compare-and-swap fails.
 *
 * Lock-free: a loop is repeated only if another thread's operation has succeeded. No backoff: who
 * shares a stack so much that it would help should share less.
 */
#ifndef ALLOCLAB_SHARED_STACK_H
#define ALLOCLAB_SHARED_STACK_H

#include "allocators/lib/epoch.h"
#include "allocators/lib/hazard.h"

enum reclaim_method { RECLAIM_HAZARD, RECLAIM_EPOCH };

struct reclaim { /* a domain of either method */
    enum reclaim_method method;
    union {
        struct hazard_domain hazard;
        struct epoch_domain epoch;
    };
};

struct reclaimer { /* a thread's record of it */
    union {
        struct record record; /* first in both */
        struct hazard_record hazard;
        struct epoch_record epoch;
    };
};

struct shared_stack {
    _Atomic(void *) head;
};

/* In zeroed memory, as are the records that are added. */
static inline void reclaim_open(struct reclaim *reclaim, enum reclaim_method method, uint32_t limit,
                                void (*callback)(void *arg, void *node))
{
    reclaim->method = method;
    if (method == RECLAIM_HAZARD) {
        reclaim->hazard.limit = limit;
        reclaim->hazard.reclaim = callback;
    } else {
        atomic_store_explicit(&reclaim->epoch.epoch, 1, memory_order_relaxed);
        reclaim->epoch.limit = limit;
        reclaim->epoch.reclaim = callback;
    }
}

static inline struct records *reclaim_records(struct reclaim *reclaim)
{
    return reclaim->method == RECLAIM_HAZARD ? &reclaim->hazard.records : &reclaim->epoch.records;
}

static inline void reclaimer_add(struct reclaim *reclaim, struct reclaimer *r, void *arg)
{
    if (reclaim->method == RECLAIM_HAZARD)
        r->hazard.arg = arg;
    else
        r->epoch.arg = arg;
    records_add(reclaim_records(reclaim), &r->record);
}

/* Nodes that wait: now, and the most ever. */
static inline uint32_t reclaimer_count(const struct reclaim *reclaim, const struct reclaimer *r)
{
    return reclaim->method == RECLAIM_HAZARD ? r->hazard.count : r->epoch.count;
}

static inline uint32_t reclaimer_peak(const struct reclaim *reclaim, const struct reclaimer *r)
{
    return reclaim->method == RECLAIM_HAZARD ? r->hazard.peak : r->epoch.peak;
}

static inline void *reclaimer_node(const struct reclaim *reclaim, const struct reclaimer *r,
                                   uint32_t i)
{
    return reclaim->method == RECLAIM_HAZARD ? r->hazard.retired[i] : r->epoch.retired[i].node;
}

static inline bool reclaimer_room(struct reclaim *reclaim, struct reclaimer *r)
{
    return reclaim->method == RECLAIM_HAZARD ? hazard_room(&reclaim->hazard, &r->hazard)
                                             : epoch_room(&reclaim->epoch, &r->epoch);
}

static inline void reclaimer_retire(struct reclaim *reclaim, struct reclaimer *r, void *node)
{
    if (reclaim->method == RECLAIM_HAZARD)
        hazard_retire(&r->hazard, node);
    else
        epoch_retire(&reclaim->epoch, &r->epoch, node);
}

static inline void reclaimer_scan(struct reclaim *reclaim, struct reclaimer *r)
{
    if (reclaim->method == RECLAIM_HAZARD)
        hazard_scan(&reclaim->hazard, &r->hazard);
    else
        epoch_scan(&reclaim->epoch, &r->epoch);
}

/* The user is gone for good, in the middle of a pop: after fork(), in the child. */
static inline void reclaimer_forget(struct reclaim *reclaim, struct reclaimer *r)
{
    if (reclaim->method == RECLAIM_HAZARD)
        hazard_clear(&r->hazard);
    else
        epoch_leave(&r->epoch);
}

static inline void stack_push(struct shared_stack *stack, _Atomic(void *) *link)
{
    void *head = step_load(&stack->head, memory_order_relaxed);
    do
        step_store(link, head, memory_order_relaxed);
    while (!step_cas(&stack->head, &head, link, memory_order_release, memory_order_relaxed));
}

static inline bool stack_is_empty(struct shared_stack *stack)
{
    return !step_load(&stack->head, memory_order_relaxed);
}

static inline _Atomic(void *) *stack_pop_hazard(struct shared_stack *stack, struct hazard_record *r)
{
    _Atomic(void *) *link;
    void *head, *next;
    do {
        head = link = hazard_protect(r, &stack->head);
        if (!link)
            break;
        next = step_load(link, memory_order_relaxed);
    } while (!step_cas(&stack->head, &head, next, memory_order_seq_cst, memory_order_relaxed));
    hazard_clear(r);
    return link;
}

static inline _Atomic(void *) *stack_pop_epoch(struct shared_stack *stack,
                                               struct epoch_domain *domain, struct epoch_record *r)
{
    void *next;
    epoch_enter(domain, r);
    void *head = step_load(&stack->head, memory_order_seq_cst);
    while (head) {
        next = step_load((_Atomic(void *) *)head, memory_order_relaxed);
        if (step_cas(&stack->head, &head, next, memory_order_seq_cst, memory_order_seq_cst))
            break;
    }
    epoch_leave(r);
    return head;
}

/* NULL = it was empty. The node is to be retired. */
static inline _Atomic(void *) *stack_pop(struct shared_stack *stack, struct reclaim *reclaim,
                                         struct reclaimer *r)
{
    if (stack_is_empty(stack))
        return NULL;
    return reclaim->method == RECLAIM_HAZARD ? stack_pop_hazard(stack, &r->hazard)
                                             : stack_pop_epoch(stack, &reclaim->epoch, &r->epoch);
}

/* Observation: nobody pushes or pops. */
static inline size_t stack_length(struct shared_stack *stack)
{
    size_t n = 0;
    for (void *link = atomic_load(&stack->head); link; link = atomic_load((_Atomic(void *) *)link))
        n++;
    return n;
}

#endif
