/*
 * handover.c - the plan's hand-over under ThreadSanitizer: a producer and a consumer of a recorded
 * prodcons workload, each on a real thread, over the C library's malloc. The objects cross threads
 * only through their slots, so a missing release or acquire is a data race that the sanitizer
 * reports; and the consumer reads what the producer wrote.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "harness/replay.h"
#include "harness/target.h"

struct job {
    struct replay *replay;
    uint32_t thread;
    bool done;
};

static void *job_main(void *arg)
{
    struct job *job = arg;
    job->done = replay_thread(job->replay, job->thread);
    return NULL;
}

/* libc, until its budget of allocs is used up. */

static _Atomic long allocs_left;

static void *scarce_alloc(struct heap *view, size_t size, size_t align)
{
    return allocs_left-- > 0 ? allocator_find("libc")->alloc(view, size, align) : NULL;
}

/* With a budget, every thread must end: those that wait for an object that is never made, too. */
static void plan_parallel(const char *workload, long budget)
{
    struct error err;
    struct target target;
    struct replay replay;
    const struct allocator *libc = allocator_find("libc");
    struct job jobs[16];
    pthread_t threads[16];
    assert_int_equal(target_open(&target, workload, 7, &err), 0);
    const struct plan *plan = plan_map(target_plan(&target, PLAN_RELEASE_FREE, false, &err), &err);
    assert_non_null(plan);
    assert_in_range(plan->threads, 2, 16);
    assert_true(plan->shared_objects > 1000);
    const struct alloc_env env = {.design = libc};
    struct heap *heap = libc->create(&env);
    struct allocator scarce = *libc;
    if (budget)
        scarce.alloc = scarce_alloc;
    allocs_left = budget;
    assert_int_equal(replay_open(&replay, plan, &scarce, heap, TOUCH_LINE, &err), 0);
    for (int pass = 0; pass < (budget ? 1 : 2); pass++) { /* a plan loops */
        assert_true(replay_pass_begin(&replay));
        for (uint32_t i = 0; i < plan->threads; i++) {
            jobs[i] = (struct job){.replay = &replay, .thread = i};
            assert_int_equal(pthread_create(&threads[i], NULL, job_main, &jobs[i]), 0);
        }
        for (uint32_t i = 0; i < plan->threads; i++)
            pthread_join(threads[i], NULL);
        uint32_t done = 0;
        for (uint32_t i = 0; i < plan->threads; i++)
            done += jobs[i].done;
        assert_true(budget ? done < plan->threads : done == plan->threads);
        if (!budget) /* the epilogue, serially */
            assert_true(replay_runs(&replay, plan->main_runs, plan->runs));
        replay_pass_end(&replay);
    }
    replay_close(&replay);
    libc->destroy(heap);
    plan_unmap(plan);
    target_close(&target);
}

static void two_threads_hand_over(void **state)
{
    (void)state;
    plan_parallel("prodcons:ops=20k,producers=1,consumers=1", 0);
}

static void many_threads_hand_over(void **state)
{
    (void)state;
    plan_parallel("prodcons:ops=20k,producers=2,consumers=2", 0);
}

static void all_threads_end_when_memory_does(void **state)
{
    (void)state;
    plan_parallel("prodcons:ops=20k,producers=1,consumers=1", 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_threads_hand_over),
                                       cmocka_unit_test(many_threads_hand_over),
                                       cmocka_unit_test(all_threads_end_when_memory_does)};
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
