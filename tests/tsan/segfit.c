/*
 * segfit.c - segfit under ThreadSanitizer: a data race between caches, central lists, pages, and
 * the tick that drains other threads' caches is a report, and so is an object that reaches another
 * thread without a release and an acquire.
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
    stress_run(&(struct stress){.design = "segfit", .threads = 4, .steps = 8000, .seed = 1});
}

static void tick_drains_others(void **state)
{
    (void)state;
    stress_run(&(struct stress){.design = "segfit",
                                .options = "age_ms=0,batch=8,cache=4k",
                                .threads = 3,
                                .steps = 8000,
                                .seed = 2,
                                .upkeep = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share),
                                       cmocka_unit_test(tick_drains_others)};
    return cmocka_run_group_tests_name("segfit", tests, NULL, NULL);
}
