/*
 * handover.c - parallel replay under ThreadSanitizer: recorded workloads on real threads, over the
 * C library's malloc. Objects cross threads only through their slots, so a missing release or
 * acquire is a data race that the sanitizer reports; and who frees reads what the others wrote.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/parallel.h"
#include "harness/registry.h"
#include "harness/target.h"

/* libc, until its budget of allocs is used up; what is freed was written by the touch. */

static _Atomic long allocs_left;
static _Atomic long touched;

static void *scarce_alloc(struct heap *view, size_t size, size_t align)
{
    return allocs_left-- > 0 ? allocator_find("libc")->alloc(view, size, align) : NULL;
}

static void touched_free(struct heap *view, void *p, size_t size)
{
    touched += *(volatile unsigned char *)p == 1;
    allocator_find("libc")->free(view, p, size);
}

/* With a budget, every thread must end: those that wait for an object that is never made, too. */
static void plan_parallel(const char *workload, unsigned copies, unsigned lanes, long budget)
{
    struct error err;
    struct target target;
    const struct allocator *libc = allocator_find("libc");
    const struct parallel_config config = {.copies = copies, .affinity = AFFINITY_SPREAD};
    assert_int_equal(target_open(&target, workload, 7, &err), 0);
    const struct plan *plan =
        plan_map(target_plan(&target, PLAN_RELEASE_FREE, PLAN_PARALLEL, &err), &err);
    assert_non_null(plan);
    assert_true(plan->shared_objects > 100);
    const struct alloc_env env = {.design = libc};
    struct heap *heap = libc->create(&env);
    struct allocator scarce = *libc;
    scarce.free = touched_free;
    if (budget)
        scarce.alloc = scarce_alloc;
    allocs_left = budget;
    struct parallel *p = parallel_open(plan, &scarce, heap, TOUCH_LINE, &config, &err);
    assert_non_null(p);
    assert_int_equal(parallel_lanes(p), lanes);
    for (int pass = 0; pass < (budget ? 1 : 2); pass++) { /* a plan loops */
        touched = 0;
        assert_true(parallel_begin(p));
        assert_int_equal(parallel_run(p) > 0, !budget);
        if (!budget) {
            assert_true(parallel_end(p));
            assert_int_equal(touched, plan->objects * copies);
        }
    }
    parallel_close(p);
    libc->destroy(heap);
    plan_unmap(plan);
    target_close(&target);
}

static void two_threads_hand_over(void **state)
{
    (void)state;
    plan_parallel("prodcons:ops=20k,producers=1,consumers=1", 1, 3, 0);
}

static void many_threads_hand_over(void **state)
{
    (void)state;
    plan_parallel("prodcons:ops=20k,producers=2,consumers=2", 1, 5, 0);
}

static void copies_do_not_meet(void **state)
{
    (void)state;
    plan_parallel("prodcons:ops=5k,producers=1,consumers=1", 3, 9, 0);
}

/* 5 generations of 3 threads, and main: whoever starts after the end of another takes its lane. */
static void lanes_are_used_again(void **state)
{
    (void)state;
    plan_parallel("mstress:generations=5,threads=3,steps=300", 1, 4, 0);
}

static void larson_hands_its_arrays_on(void **state)
{
    (void)state;
    plan_parallel("larson:ops=20k,threads=3,life=1000", 1, 4, 0);
}

static void all_threads_end_when_memory_does(void **state)
{
    (void)state;
    plan_parallel("prodcons:ops=20k,producers=1,consumers=1", 2, 6, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_threads_hand_over),
                                       cmocka_unit_test(many_threads_hand_over),
                                       cmocka_unit_test(copies_do_not_meet),
                                       cmocka_unit_test(lanes_are_used_again),
                                       cmocka_unit_test(larson_hands_its_arrays_on),
                                       cmocka_unit_test(all_threads_end_when_memory_does)};
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
