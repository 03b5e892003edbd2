/*
 * hoard.c - hoard under ThreadSanitizer: superblocks that change owners while others free their
 * objects, with so little slack that they move all the time, and tick and trim emptying heaps in
 * use.
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
    stress_run(&(struct stress){.design = "hoard", .threads = 4, .steps = 8000, .seed = 1});
}

static void superblocks_move(void **state)
{
    (void)state;
    stress_run(&(struct stress){.design = "hoard",
                                .options = "superblock=8k,slack=1,empty=0.02,heaps=2,age_ms=0",
                                .threads = 3,
                                .steps = 8000,
                                .seed = 2,
                                .upkeep = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share),
                                       cmocka_unit_test(superblocks_move)};
    return cmocka_run_group_tests_name("hoard", tests, NULL, NULL);
}
