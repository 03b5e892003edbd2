/*
 * gate.c - the system call behind gate.h.
 */
#include "allocators/lib/gate.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

bool gates_open(void)
{
    return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

bool gates_fence(void)
{
    return !syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

void gate_wait(struct gate *gate)
{
    while (atomic_load_explicit(&gate->state, memory_order_acquire) == GATE_INSIDE)
        sched_yield();
}
