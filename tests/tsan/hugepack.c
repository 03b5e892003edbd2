/*
 * hugepack.c - hugepack under ThreadSanitizer: a data race between the pages that fill and empty
 * huge pages, and the tick that returns them, is a report.
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
    stress_run(&(struct stress){.design = "hugepack", .threads = 4, .steps = 8000, .seed = 1});
}

static void tick_drains_others(void **state)
{
    (void)state;
    stress_run(&(struct stress){.design = "hugepack",
                                .options = "age_ms=0,batch=8,cache=4k,limit=2m,subrelease=yes",
                                .threads = 3,
                                .steps = 8000,
                                .seed = 2,
                                .upkeep = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share),
                                       cmocka_unit_test(tick_drains_others)};
    return cmocka_run_group_tests_name("hugepack", tests, NULL, NULL);
}
