/*
 * lock.h - a lock of eight bytes that lies in the heap it guards: free, taken, or taken with
 * sleepers. Taking a free lock is one compare-and-swap, giving it back one exchange; who has to
 * wait spins for a while and then sleeps in the kernel (futex), so that a preempted holder costs no
 * more than its own time. After Drepper, "Futexes Are Tricky" (2011), mutex 2.
 *
 * Memory order: acquire when taken, release when given back, so that whoever holds the lock sees
 * all that its former holders did. A zeroed lock is free. Not recursive, not fair.
 */
#ifndef ALLOCLAB_LOCK_H
#define ALLOCLAB_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

enum { LOCK_FREE, LOCK_TAKEN, LOCK_SLEEPERS };

struct lock {
    _Atomic uint32_t state;
    uint32_t waits; /* how often it was not free; guarded by the lock itself */
};

void lock_wait(struct lock *lock); /* takes it, however long that lasts */
void lock_wake(struct lock *lock); /* wakes one sleeper */

static inline void lock_take(struct lock *lock)
{
    uint32_t seen = LOCK_FREE;
    if (__builtin_expect(!atomic_compare_exchange_strong_explicit(&lock->state, &seen, LOCK_TAKEN,
                                                                  memory_order_acquire,
                                                                  memory_order_relaxed),
                         0))
        lock_wait(lock);
}

static inline void lock_give(struct lock *lock)
{
    if (__builtin_expect(atomic_exchange_explicit(&lock->state, LOCK_FREE, memory_order_release) ==
                             LOCK_SLEEPERS,
                         0))
        lock_wake(lock);
}

#endif
