/*
 * pool.c - a shared heap and an object cache under ThreadSanitizer, through api/alloclab.h: objects
 * wander between threads, which free what others made, and the heap is ticked meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "api/alloclab.h"

enum { THREADS = 3, STEPS = 6000, PLACES = 32, SIZE = 200 };

static struct {
    struct alloclab_heap *heap;
    struct alloclab_cache *cache;
    void *_Atomic objects[PLACES], *_Atomic cached[PLACES];
    atomic_uint wrong;
} shared;

static void *work(void *arg)
{
    uintptr_t number = (uintptr_t)arg;
    struct alloclab_heap *view = alloclab_thread_enter(shared.heap);
    shared.wrong += !view;
    for (uintptr_t n = 0; view && n < STEPS; n++) {
        size_t place = (n * 7 + number) % PLACES;
        unsigned char *object = alloclab_alloc(view, SIZE, 0);
        unsigned *cached = alloclab_cache_get(shared.cache);
        shared.wrong += !object || !cached || *cached != 77;
        if (object)
            object[SIZE - 1] = 1;
        object = atomic_exchange(&shared.objects[place], object);
        cached = atomic_exchange(&shared.cached[place], cached);
        shared.wrong += (object && object[SIZE - 1] != 1) || (cached && *cached != 77);
        alloclab_free(view, object, SIZE);
        alloclab_cache_put(shared.cache, cached);
        if (number == 0 && n % 500 == 0)
            alloclab_tick(view);
    }
    if (view)
        alloclab_thread_leave(view);
    return NULL;
}

static void construct(void *object, void *arg)
{
    *(unsigned *)object = *(unsigned *)arg;
}

static void run(const char *spec)
{
    static unsigned stamp = 77;
    pthread_t threads[THREADS];
    shared.wrong = 0;
    shared.heap = alloclab_open(spec, NULL, NULL, 0);
    shared.cache = alloclab_cache_create("stamps", 50, 0, construct, NULL, &stamp, NULL);
    assert_true(shared.heap && shared.cache);
    for (uintptr_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, work, (void *)t), 0);
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (unsigned i = 0; i < PLACES; i++) {
        alloclab_free(shared.heap, atomic_exchange(&shared.objects[i], NULL), SIZE);
        alloclab_cache_put(shared.cache, atomic_exchange(&shared.cached[i], NULL));
    }
    assert_int_equal(shared.wrong, 0);
    assert_null(alloclab_check(shared.heap));
    assert_null(alloclab_cache_check(shared.cache));
    assert_int_equal(alloclab_cache_destroy(shared.cache), 0);
    alloclab_destroy(shared.heap);
}

static void every_shared_design(void **state)
{
    (void)state;
    struct alloclab_design design;
    unsigned wanted = ALLOCLAB_SHARED | ALLOCLAB_REMOTE_FREE, ran = 0;
    for (unsigned i = 0; alloclab_design_at(i, &design); i++) {
        if ((design.promises & wanted) != wanted || design.promises & ALLOCLAB_WRAPS)
            continue;
        run(design.name);
        ran++;
    }
    assert_true(ran >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_shared_design)};
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
