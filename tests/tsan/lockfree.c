/*
 * lockfree.c - lockfree under ThreadSanitizer, with both ways of reclamation, and these alone: a
 * data race between owners, remote frees, adoption, sweeps and records that pass from thread to
 * thread is a report, and so is a node that is reclaimed while a reader may look at it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/pile.h"
#include "tests/lib/stress.h"

static void share(const char *options, bool upkeep)
{
    stress_run(&(struct stress){.design = "lockfree",
                                .options = options,
                                .threads = 4,
                                .steps = 6000,
                                .seed = 1,
                                .upkeep = upkeep});
}

static void hazard_shares(void **state)
{
    (void)state;
    share("reclaim=hazard,limbo=2", false);
    share("reclaim=hazard,limbo=1,age_ms=0", true);
}

static void epoch_shares(void **state)
{
    (void)state;
    share("reclaim=epoch,limbo=2", false);
    share("reclaim=epoch,limbo=1,age_ms=0", true);
}

static void pile(enum reclaim_method method)
{
    pile_run(&(struct pile){.method = method, .threads = 3, .steps = 20000, .limit = 4, .seed = 1});
}

static void hazard_reclaims(void **state)
{
    (void)state;
    pile(RECLAIM_HAZARD);
}

static void epoch_reclaims(void **state)
{
    (void)state;
    pile(RECLAIM_EPOCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_reclaims), cmocka_unit_test(epoch_reclaims),
        cmocka_unit_test(hazard_shares), cmocka_unit_test(epoch_shares)};
    return cmocka_run_group_tests_name("lockfree", tests, NULL, NULL);
}
