/*
 * object_cache.c - one object cache under ThreadSanitizer: constructors and destructors, which run
 * outside of all locks, against threads that take, write, hand over and give back, while the main
 * thread ticks and reaps. What a constructor wrote must be seen by whoever takes the object,
 * whichever thread constructed it.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/lib/object_cache.h"

enum { THREADS = 4, STEPS = 3000, HELD = 50, MADE = 12345 };

struct object {
    uint64_t made, written;
    char rest[200];
};

static struct object_cache *cache;
static struct object *_Atomic place;
static _Atomic unsigned running, made, ended, wrong;

static void object_make(void *p, void *arg)
{
    (void)arg;
    ((struct object *)p)->made = MADE;
    atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
}

static void object_end(void *p, void *arg)
{
    (void)arg;
    ((struct object *)p)->made = 0;
    atomic_fetch_add_explicit(&ended, 1, memory_order_relaxed);
}

static void *work(void *arg)
{
    struct object *held[HELD];
    (void)arg;
    for (unsigned step = 0; step < STEPS / HELD; step++) {
        for (unsigned i = 0; i < HELD; i++) {
            held[i] = object_cache_take(cache);
            if (!held[i] || held[i]->made != MADE)
                atomic_store(&wrong, 1);
            else
                held[i]->written = i;
        }
        struct object *other = atomic_exchange_explicit(&place, held[0], memory_order_acq_rel);
        if (other) {
            other->written = step;
            object_cache_give(cache, other);
        }
        for (unsigned i = 1; i < HELD; i++)
            object_cache_give(cache, held[i]);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void test_constructed_and_reaped(void **state)
{
    (void)state;
    static const enum percpu_choice choices[] = {PERCPU_LOCKS, PERCPU_OFF};
    for (unsigned mode = 0; mode < 2; mode++) {
        pthread_t threads[THREADS];
        const struct object_caches_config config = {.percpu = choices[mode],
                                                    .colour = true,
                                                    .rounds = 4,
                                                    .objects = 8,
                                                    .empties = 1,
                                                    .limit_bytes = 1 << 20};
        struct os *os = os_open(&(const struct os_config){.observe = false});
        cache = object_cache_open_as(os, &config, "tsan", sizeof(struct object), 8, object_make,
                                     object_end, NULL);
        assert_non_null(cache);
        atomic_store(&running, THREADS);
        for (unsigned i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
        for (uint64_t now_ns = 1; atomic_load(&running); now_ns++) {
            object_cache_tick(cache, now_ns);
            object_cache_reap(cache);
        }
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&wrong), 0);
        object_cache_give(cache, atomic_exchange(&place, NULL));
        assert_null(object_cache_check(cache));
        assert_int_equal(object_cache_close(cache), 0);
        assert_int_equal(atomic_load(&made), atomic_load(&ended));
        os_close(os);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_constructed_and_reaped)};
    return cmocka_run_group_tests_name("object_cache", tests, NULL, NULL);
}
