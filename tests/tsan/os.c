/*
 * os.c - the door under ThreadSanitizer: threads reserve, commit, return and release ranges of
 * their own while another one forks, so to speak. A timed door leaves its lock for the kernel;
 * whatever it then touches without the lock is a report, and at the end every count is exact.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allocators/lib/os.h"
#include "workloads/lib/rng.h"

enum { THREADS = 4, ROUNDS = 400, PAGES = 70 };

struct part {
    struct os *os;
    char *shared; /* a part of one reservation that all have */
    uint64_t seed;
    atomic_bool *done;
    bool failed;
};

/* Every kind of call, on pages that are this thread's alone. */
static bool part_step(struct part *part, struct rng *rng, char *p)
{
    size_t page = os_page_bytes(), first = rng_below(rng, PAGES - 8);
    char *at = p + first * page;
    if (os_commit(part->os, at, 8 * page))
        return false;
    at[0] = at[8 * page - 1] = 1;
    if (rng_chance(rng, 0.5) ? os_decommit(part->os, at, 8 * page)
                             : os_decommit_lazy(part->os, at, 8 * page))
        return false;
    return rng_chance(rng, 0.8) || os_guard(part->os, at, page) == 0;
}

static void *part_main(void *arg)
{
    struct part *part = arg;
    struct rng rng = rng_stream(part->seed, 0);
    size_t page = os_page_bytes();
    for (unsigned i = 0; i < ROUNDS && !part->failed; i++) {
        char *own = os_reserve(part->os, PAGES * page, 1);
        part->failed = !own || !part_step(part, &rng, part->shared) || !part_step(part, &rng, own);
        if (own)
            os_release(part->os, own, PAGES * page);
    }
    return NULL;
}

/* Nobody is inside while the door is held for a fork. */
static void *fork_main(void *arg)
{
    struct part *part = arg;
    while (!atomic_load(part->done)) {
        os_fork_before(part->os);
        os_fork_after(part->os);
        (void)os_coverage(part->os);
    }
    return NULL;
}

static void door_try(bool observe)
{
    struct os *os = os_open(&(struct os_config){.observe = observe});
    size_t page = os_page_bytes();
    char *shared = os_reserve(os, THREADS * PAGES * page, 1);
    struct part parts[THREADS + 1];
    pthread_t threads[THREADS + 1];
    atomic_bool done = false;
    assert_non_null(shared);
    for (unsigned i = 0; i <= THREADS; i++) {
        parts[i] = (struct part){
            .os = os, .shared = shared + i * PAGES * page, .seed = 1 + i, .done = &done};
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < THREADS ? part_main : fork_main, &parts[i]), 0);
    }
    for (unsigned i = 0; i <= THREADS; i++) {
        if (i == THREADS)
            atomic_store(&done, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(parts[i].failed);
    }
    assert_int_equal(os_decommit(os, shared, THREADS * PAGES * page), 0);
    assert_int_equal(os_commit(os, shared, THREADS * PAGES * page), 0);
    struct os_counts counts = os_counts(os);
    assert_int_equal(counts.committed_bytes, THREADS * PAGES * page);
    assert_int_equal(counts.reserved_bytes, THREADS * PAGES * page);
    assert_int_equal(counts.lazy_bytes + counts.guard_bytes, 0);
    assert_int_equal(counts.calls[OS_RESERVE], THREADS * ROUNDS + 1);
    assert_int_equal(counts.calls[OS_RELEASE], THREADS * ROUNDS);
    assert_int_equal(counts.calls[OS_COMMIT], 2 * THREADS * ROUNDS + 1);
    os_close(os);
}

static void test_timed(void **state)
{
    (void)state;
    door_try(false);
}

static void test_observing(void **state)
{
    (void)state;
    door_try(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_timed),
                                       cmocka_unit_test(test_observing)};
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
