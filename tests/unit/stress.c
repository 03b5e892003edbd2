/*
 * stress.c - every design that threads may share, in the randomised program of tests/lib/stress.h:
 * with the defaults, and with tick and trim at work. A seed is drawn and printed; ALLOCLAB_SEED=N
 * repeats it. ALLOCLAB_STRESS_SECONDS=N goes on with further seeds for so long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/stress.h"

static uint64_t seed;
static time_t seconds;

static void test_design(void **state)
{
    const struct allocator *design = *state;
    time_t end = time(NULL) + seconds;
    for (uint64_t i = 0; i < 2 || time(NULL) < end; i++) {
        struct stress stress = {.design = design->name,
                                .threads = 2 + (unsigned)(i % 3),
                                .steps = 150000,
                                .seed = seed + i,
                                .upkeep = i % 2};
        stress_run(&stress);
    }
}

int main(void)
{
    const char *text = getenv("ALLOCLAB_SEED"), *duration = getenv("ALLOCLAB_STRESS_SECONDS");
    unsigned needs = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE, count = 0;
    struct CMUnitTest tests[64];
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    seconds = duration ? (time_t)strtoull(duration, NULL, 10) : 0;
    printf("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; allocators[i] && count < sizeof tests / sizeof *tests; i++)
        if ((allocators[i]->traits & (needs | ALLOCATOR_FOREIGN | ALLOCATOR_WRAPS)) == needs)
            tests[count++] = (struct CMUnitTest){.name = allocators[i]->name,
                                                 .test_func = test_design,
                                                 .initial_state = (void *)allocators[i]};
    return _cmocka_run_group_tests("stress", tests, count, NULL, NULL);
}
