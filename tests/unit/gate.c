/*
 * gate.c - the gate and the lock between real threads: a counter that both sides change with plain
 * loads and stores comes out right only if they exclude each other.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/lib/gate.h"
#include "allocators/lib/lock.h"

enum { VISITS = 20000, TURNS = 300000 };

struct shared {
    struct gate gate;
    struct lock lock;
    _Atomic uint32_t done;
    volatile uint64_t counter;
};

static void owner_enter(struct shared *s)
{
    while (!gate_enter(&s->gate)) {
        gate_leave(&s->gate);
        lock_take(&s->lock);
        lock_give(&s->lock);
    }
}

static void *owner_main(void *arg)
{
    struct shared *s = arg;
    uint64_t added = 0;
    for (; !atomic_load_explicit(&s->done, memory_order_relaxed); added++) {
        owner_enter(s);
        s->counter = s->counter + 1;
        gate_leave(&s->gate);
    }
    return (void *)(uintptr_t)added;
}

static void gate_excludes(void **state)
{
    (void)state;
    struct shared s = {.counter = 0};
    pthread_t owner;
    void *added;
    uint64_t visited = 0;
    if (!gates_open())
        skip(); /* the kernel has no membarrier */
    assert_int_equal(pthread_create(&owner, NULL, owner_main, &s), 0);
    for (unsigned i = 0; i < VISITS; i++) {
        lock_take(&s.lock);
        gate_close(&s.gate);
        assert_true(gates_fence());
        for (unsigned n = 0; gate_look(&s.gate) != GATE_INSIDE && n < 100; n++, visited++)
            s.counter = s.counter + 1;
        gate_reopen(&s.gate);
        lock_give(&s.lock);
    }
    atomic_store(&s.done, 1);
    assert_int_equal(pthread_join(owner, &added), 0);
    assert_true(visited > 0);
    assert_int_equal(s.counter, visited + (uintptr_t)added);
}

static void *locker_main(void *arg)
{
    struct shared *s = arg;
    for (unsigned i = 0; i < TURNS; i++) {
        lock_take(&s->lock);
        s->counter = s->counter + 1;
        lock_give(&s->lock);
    }
    return NULL;
}

static void lock_excludes(void **state)
{
    (void)state;
    struct shared s = {.counter = 0};
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, locker_main, &s), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(s.counter, 4 * TURNS);
    assert_int_equal(atomic_load(&s.lock.state), LOCK_FREE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gate_excludes),
                                       cmocka_unit_test(lock_excludes)};
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
