/*
 * reclaim.c - hazard pointers and epochs, each alone: a node that a thread has announced, or that
 * it may have seen while it is inside, is not reclaimed while it looks, whatever the others do; and
 * one that stands still keeps no more than the stated number from being reclaimed: one node, or the
 * limit of each record. Real threads on a shared stack whose nodes are poisoned when reclaimed
 * (tests/lib/pile.h); all interleavings of small cases are in interleavings.c. A seed is drawn and
 * printed; ALLOCLAB_SEED=N repeats it.
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

static void run(void **state, unsigned threads, uint32_t limit, bool stalls)
{
    const enum reclaim_method *method = *state;
    pile_run(&(struct pile){.method = *method,
                            .threads = threads,
                            .steps = 300000,
                            .limit = limit,
                            .seed = seed,
                            .stalls = stalls});
}

static void test_threads(void **state)
{
    run(state, 4, 8, false);
    run(state, 2, 16, false);
}

/* Scans at every retirement, and limits below what is announced at a time. */
static void test_small_limit(void **state)
{
    run(state, 4, 1, false);
    run(state, 3, 2, false);
}

static void test_stalled(void **state)
{
    run(state, 3, 4, true);
}

static enum reclaim_method hazard = RECLAIM_HAZARD, epoch = RECLAIM_EPOCH;

#define CASE(test, method)                                                                         \
    {                                                                                              \
        .name = #method ": " #test, .test_func = test, .initial_state = &(method)                  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_threads, hazard), CASE(test_small_limit, hazard), CASE(test_stalled, hazard),
        CASE(test_threads, epoch),  CASE(test_small_limit, epoch),  CASE(test_stalled, epoch),
    };
    const char *text = getenv("ALLOCLAB_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests_name("reclaim", tests, NULL, NULL);
}
