/*
 * atomic_step.h - the atomic operations of the lock-free parts, each of them a step that a model
 * check can schedule. In a program they are exactly C11's. Compiled with ATOMIC_STEP_MODEL (only
 * tests/lib/interleave.h does so) every operation first tells the scheduler what it is about to do,
 * and lets it run other threads before; so the interleavings of the real code are enumerated, not
 * those of a copy of it.
 *
 * The model executes the steps one at a time, so it explores sequential consistency. What weaker
 * orders allow beside that is argued in the headers that use these operations, and looked for by
 * ThreadSanitizer. For the same reason nobody uses fences here: ThreadSanitizer does not know them.
 */
#ifndef ALLOCLAB_ATOMIC_STEP_H
#define ALLOCLAB_ATOMIC_STEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef ATOMIC_STEP_MODEL

/* before: other threads may run now. seen: what was loaded; a planted fault may change it. */
void atomic_step_before(const volatile void *address, bool writes);
void atomic_step_seen(const volatile void *address, void *value, size_t bytes);

#else

static inline void atomic_step_before(const volatile void *address, bool writes)
{
    (void)address;
    (void)writes;
}

static inline void atomic_step_seen(const volatile void *address, void *value, size_t bytes)
{
    (void)address;
    (void)value;
    (void)bytes;
}

#endif

#define step_load(place, order)                                                                    \
    __extension__({                                                                                \
        atomic_step_before(place, false);                                                          \
        __auto_type seen_ = atomic_load_explicit(place, order);                                    \
        atomic_step_seen(place, &seen_, sizeof seen_);                                             \
        seen_;                                                                                     \
    })

#define step_store(place, value, order)                                                            \
    (atomic_step_before(place, true), atomic_store_explicit(place, value, order))

#define step_exchange(place, value, order)                                                         \
    (atomic_step_before(place, true), atomic_exchange_explicit(place, value, order))

/* Strong; *expected is what was there if it fails. */
#define step_cas(place, expected, value, order, order_failed)                                      \
    (atomic_step_before(place, true),                                                              \
     atomic_compare_exchange_strong_explicit(place, expected, value, order, order_failed))

#endif
