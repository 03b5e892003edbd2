/*
 * gate.h - an asymmetric lock between the owner of something and a rare visitor: the owner enters
 * and leaves with plain loads and stores, and the visitor pays for both with membarrier(2), which
 * makes every running thread of the process execute a full fence.
 *
 *     owner                            visitor
 *     state = INSIDE                   closed = 1
 *     closed?  yes: go and wait        membarrier
 *     ... works ...                    state == INSIDE?  yes: leave it alone
 *     state = USED                     ... works ...
 *                                      closed = 0
 *
 * This is Dekker's handshake. Without fences the owner's load of `closed` may pass its store to
 * `state`, so that both go ahead; the membarrier forbids that: an owner that comes to its load
 * before the fence has its store visible after it, and one that comes later sees `closed`. The
 * compiler is kept from reordering by a signal fence. Further orders: the owner's store of USED is
 * a release and the visitor's load of `state` an acquire, so the visitor sees the owner's work;
 * `closed` goes back to 0 by a release and the owner loads it with acquire, so the owner sees the
 * visitor's. All of them are plain moves on x86-64.
 *
 * Visitors exclude each other by a lock of their own, which a turned away owner takes too, to wait.
 * Where the kernel has no expedited membarrier (before 4.14, or forbidden), gates_open() says so
 * and nobody may visit; a program may also forbid it itself later, and gates_fence() says that.
 */
#ifndef ALLOCLAB_GATE_H
#define ALLOCLAB_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum gate_state { GATE_IDLE, GATE_INSIDE, GATE_USED };

struct gate {
    _Atomic uint32_t state;  /* enum gate_state: written by the owner; by a visitor while closed */
    _Atomic uint32_t closed; /* written by visitors */
};

bool gates_open(void); /* once, before the first visit: false = visits are not possible here */
/* Between closing gates and looking at their states; false = it was forbidden meanwhile: the gates
 * are to be opened again, and visits are not possible any more. */
bool gates_fence(void);

void gate_wait(struct gate *gate); /* visitor, after gates_fence(): until the owner is outside */

/* Owner: false = a visitor is there; nothing was entered. */
static inline bool gate_enter(struct gate *gate)
{
    atomic_store_explicit(&gate->state, GATE_INSIDE, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    return __builtin_expect(!atomic_load_explicit(&gate->closed, memory_order_acquire), 1);
}

static inline void gate_leave(struct gate *gate)
{
    atomic_store_explicit(&gate->state, GATE_USED, memory_order_release);
}

/* Visitor: closes; after gates_fence() gate_look() tells who is there; then opens again. */
static inline void gate_close(struct gate *gate)
{
    atomic_store_explicit(&gate->closed, 1, memory_order_relaxed);
}

static inline enum gate_state gate_look(struct gate *gate)
{
    return atomic_load_explicit(&gate->state, memory_order_acquire);
}

static inline void gate_reopen(struct gate *gate)
{
    atomic_store_explicit(&gate->closed, 0, memory_order_release);
}

#endif
