/*
 * record.h - the threads' records of a lock-free domain: a list that only grows, whose entries are
 * used by one thread after another.
 *
 *     head -> record (in use) -> record (free) -> record (in use)
 *
 * Taking a free record is one compare-and-swap; if there is none, the caller makes one and adds it,
 * by a loop that repeats only when another thread has added one meanwhile. Nobody removes a record
 * before the whole domain goes, so the list can be followed at any time and knows no ABA. There are
 * never more records than threads had one at the same time.
 *
 * Memory order. Giving back is a release and taking an acquire: who takes a record sees all that
 * its former users left in it. Adding is sequentially consistent, and so is the load of the head:
 * hazard.h and epoch.h argue why a scan that misses a new record may do so.
 */
#ifndef ALLOCLAB_RECORD_H
#define ALLOCLAB_RECORD_H

#include <stdint.h>

#include "allocators/lib/atomic_step.h"

struct record {
    struct record *next; /* does not change once it is added */
    _Atomic uint32_t used;
};

struct records {
    _Atomic(struct record *) head;
};

static inline struct record *records_first(struct records *records)
{
    return step_load(&records->head, memory_order_seq_cst);
}

static inline bool record_is_used(struct record *r)
{
    return step_load(&r->used, memory_order_relaxed);
}

/* Whether the record is the caller's now. */
static inline bool record_take(struct record *r)
{
    uint32_t no = 0;
    return !record_is_used(r) &&
           step_cas(&r->used, &no, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void record_give(struct record *r)
{
    step_store(&r->used, 0, memory_order_release);
}

/* Any that is free; NULL = none. */
static inline struct record *records_take(struct records *records)
{
    struct record *r = records_first(records);
    while (r && !record_take(r))
        r = r->next;
    return r;
}

/* A new one, in use by the caller from the start. */
static inline void records_add(struct records *records, struct record *r)
{
    struct record *head = step_load(&records->head, memory_order_relaxed);
    atomic_store_explicit(&r->used, 1, memory_order_relaxed);
    do
        r->next = head;
    while (!step_cas(&records->head, &head, r, memory_order_seq_cst, memory_order_relaxed));
}

#endif
