/*
 * verify_parallel.c - the oracle of a parallel replay under ThreadSanitizer, on every design that
 * threads may share: every byte of every object is written by one thread and read by another, so an
 * object that is handed over without order is a report, whoever lost it: the replay, the oracle or
 * the design.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/verified.h"

static void producer_and_consumer(void **state)
{
    (void)state;
    verified_designs("prodcons:ops=6k,producers=1,consumers=1,queue=100", 1);
}

static void many_threads(void **state)
{
    (void)state;
    verified_designs("xmalloc:ops=6k", 1);
    verified_designs("larson:ops=6k,threads=3,slots=100,life=500", 1);
}

static void copies(void **state)
{
    (void)state;
    verified_designs("prodcons:ops=3k,producers=1,consumers=1,queue=100", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(producer_and_consumer),
                                       cmocka_unit_test(many_threads), cmocka_unit_test(copies)};
    return cmocka_run_group_tests_name("verify_parallel", tests, NULL, NULL);
}
