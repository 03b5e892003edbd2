/*
 * epoch.c - epochs: nothing is reclaimed while a thread that may have seen it is inside, and one
 * that stands still there keeps no more than the limit waiting in each record. Real threads on a
 * shared stack whose nodes are poisoned when reclaimed (tests/lib/pile.h); all interleavings of
 * small cases are in interleavings.c. A seed is drawn and printed; ALLOCLAB_SEED=N repeats it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "tests/lib/pile.h"

static uint64_t seed;

static void run(unsigned threads, uint32_t limit, bool stalls)
{
    pile_run(&(struct pile){.method = RECLAIM_EPOCH,
                            .threads = threads,
                            .steps = 300000,
                            .limit = limit,
                            .seed = seed,
                            .stalls = stalls});
}

static void test_threads(void **state)
{
    (void)state;
    run(4, 8, false);
    run(2, 16, false);
}

/* Scans at every retirement, and limits below what is announced at a time. */
static void test_small_limit(void **state)
{
    (void)state;
    run(4, 1, false);
    run(3, 2, false);
}

static void test_stalled(void **state)
{
    (void)state;
    run(3, 4, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_small_limit),
        cmocka_unit_test(test_stalled),
    };
    const char *text = getenv("ALLOCLAB_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests_name("epoch", tests, NULL, NULL);
}
