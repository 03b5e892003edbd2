/*
 * slab.c - slab under ThreadSanitizer, which does not understand restartable sequences: here the
 * magazines have locks, and what is held to its rules is all the rest, slabs, marks, pages, and the
 * tick that drains other CPUs' magazines. The sequences are tested by what objects contain, in
 * tests/unit/object_cache.c and tests/unit/slab.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/stress.h"

static void threads_share(void **state)
{
    (void)state;
    stress_run(&(struct stress){.design = "slab", .threads = 4, .steps = 8000, .seed = 1});
}

static void tick_drains_others(void **state)
{
    (void)state;
    stress_run(&(struct stress){.design = "slab",
                                .options = "age_ms=0,magazine=4,empty=0",
                                .threads = 3,
                                .steps = 8000,
                                .seed = 2,
                                .upkeep = true});
}

static void without_magazines(void **state)
{
    (void)state;
    stress_run(&(struct stress){
        .design = "slab", .options = "percpu=off", .threads = 3, .steps = 4000, .seed = 3});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share),
                                       cmocka_unit_test(tick_drains_others),
                                       cmocka_unit_test(without_magazines)};
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
