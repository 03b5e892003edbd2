/*
 * lock.c - the waiting side of lock.h. errno stays as it was: a program's free must keep it.
 */
#include "allocators/lib/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 200 }; /* about as long as a sleep and its wake-up cost */

static void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

void lock_wait(struct lock *lock)
{
    for (unsigned i = 0; i < SPINS; i++) {
        uint32_t seen = LOCK_FREE;
        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == LOCK_FREE &&
            atomic_compare_exchange_weak_explicit(&lock->state, &seen, LOCK_TAKEN,
                                                  memory_order_acquire, memory_order_relaxed)) {
            lock->waits++;
            return;
        }
        cpu_relax();
    }
    int error = errno;
    while (atomic_exchange_explicit(&lock->state, LOCK_SLEEPERS, memory_order_acquire) != LOCK_FREE)
        syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, LOCK_SLEEPERS, NULL, NULL, 0);
    errno = error;
    lock->waits++;
}

void lock_wake(struct lock *lock)
{
    syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
