/*
 * noise.c - involuntary switches are counted where there are some, and what is called disturbed.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/noise.h"
#include "harness/pass.h"

#define PATIENCE_NS UINT64_C(20000000000)

/* Two busy processes on one CPU: the kernel must take it from each in turn. */
static void switches_are_seen(void **state)
{
    (void)state;
    static struct outcome o;
    cpu_set_t before, one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    pid_t busy = fork();
    if (busy == 0)
        for (volatile unsigned i = 0;; i++)
            ;
    struct noise begin = noise_begin();
    uint64_t start = clock_now_ns();
    do
        noise_report(&begin, &o);
    while (o.value[METRIC_involuntary_switches_count] < 3 && clock_now_ns() - start < PATIENCE_NS);
    kill(busy, SIGKILL);
    waitpid(busy, NULL, 0);
    sched_setaffinity(0, sizeof before, &before);
    assert_true(o.known[METRIC_timed_ns] && o.value[METRIC_timed_ns] > 0);
    assert_true(o.value[METRIC_involuntary_switches_count] >= 3);
    assert_true(!o.known[METRIC_steal_ratio] ||
                (o.value[METRIC_steal_ratio] >= 0 && o.value[METRIC_steal_ratio] <= 1));
}

static bool disturbed(double seconds, double switches, double steal, unsigned copies)
{
    static struct outcome o;
    outcome_set(&o, METRIC_timed_ns, seconds * 1e9);
    outcome_set(&o, METRIC_involuntary_switches_count, switches);
    outcome_set(&o, METRIC_steal_ratio, steal);
    return noise_disturbed(o.value, o.known, copies);
}

static void what_disturbs(void **state)
{
    (void)state;
    static struct outcome none;
    assert_false(noise_disturbed(none.value, none.known, 0));
    assert_false(disturbed(0.5, 0, 0, 0));
    assert_false(disturbed(0.5, 4, 0.009, 0));
    assert_true(disturbed(0.5, 5, 0, 0));
    assert_true(disturbed(0.01, 1, 0, 0));
    assert_true(disturbed(0.5, 0, 0.01, 0));
    assert_false(disturbed(0.5, 100, 0, 2)); /* its own threads */
    assert_true(disturbed(0.5, 0, 0.5, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(switches_are_seen),
                                       cmocka_unit_test(what_disturbs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
