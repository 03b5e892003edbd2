/*
 * private.c - private under ThreadSanitizer: objects that are freed into other threads' lists,
 * views that are taken over with their lists, and small chunks, so that threads often meet at the
 * pages.
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
    stress_run(&(struct stress){.design = "private", .threads = 4, .steps = 8000, .seed = 1});
}

static void pages_are_shared(void **state)
{
    (void)state;
    stress_run(&(struct stress){.design = "private",
                                .options = "chunk=8k,small=4k",
                                .threads = 3,
                                .steps = 8000,
                                .seed = 2,
                                .upkeep = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share),
                                       cmocka_unit_test(pages_are_shared)};
    return cmocka_run_group_tests_name("private", tests, NULL, NULL);
}
