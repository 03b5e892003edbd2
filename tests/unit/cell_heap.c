/*
 * cell_heap.c - the heap of a cell gets the machine's clock and CPU where it is timed, and virtual
 * ones, which repeat, where it is observed.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/pass.h"

static struct alloc_env env_of(bool observe)
{
    struct error err;
    struct spec spec;
    struct outcome outcome = {.status = OUTCOME_OK};
    struct cell_heap heap;
    assert_int_equal(spec_parse("bump", &spec, &err), 0);
    const struct cell_setup setup = {.spec = &spec, .outcome = &outcome};
    assert_true(cell_heap_open(&heap, &setup, observe));
    struct alloc_env env = heap.env[0];
    assert_int_equal(env.observed, observe);
    if (observe)
        assert_int_equal(env.now_ns(env.ctx), 0);
    cell_heap_close(&heap, &setup);
    spec_free(&spec);
    return env;
}

/* On the last CPU that this process may use, which is not 0 if there are several. */
static void test_cpu(void **state)
{
    (void)state;
    cpu_set_t allowed, one;
    unsigned last = 0;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        last = CPU_ISSET(cpu, &allowed) ? cpu : last;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct alloc_env timed = env_of(false), observed = env_of(true);
    assert_int_equal(timed.cpu(NULL), last);
    assert_int_equal(observed.cpu(NULL), 0);
    assert_int_equal(sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

static void test_clock(void **state)
{
    (void)state;
    struct alloc_env timed = env_of(false);
    uint64_t first = timed.now_ns(NULL), before = clock_now_ns();
    assert_true(first > 0 && first <= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cpu), cmocka_unit_test(test_clock)};
    return cmocka_run_group_tests_name("cell_heap", tests, NULL, NULL);
}
