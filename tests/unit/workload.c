/*
 * workload.c - every workload: the same seed gives the same bytes, every option works at both ends,
 * what is written reads back as a trace in which all scopes and, but for `random`, all objects end.
 * Then what each one promises in its header comment. The seeds are the numbers below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/survey.h"
#include "workloads/lib/workload.h"

/* Small enough to run many times; every workload must be here. */
static const char *small(const char *workload)
{
    static const char *const rows[][2] = {
        {"bleed", "ops=5000,batch=10,lag=5"},
        {"cachescratch", "ops=5000"},
        {"cachethrash", "ops=5000"},
        {"classwalk", "pages=1,classes=4"},
        {"comb", "pages=20,size=512"},
        {"empirical", "from=traces/samples/sqlite.trace,ops=5000"},
        {"frame", "frames=40,objects=60,level=15,assets=20"},
        {"larson", "ops=5000,slots=50,life=200"},
        {"mstress", "generations=3,threads=2,steps=40"},
        {"pagepin", "pages=20,size=256"},
        {"phasechange", "phases=5,allocs=100,live=30"},
        {"prodcons", "ops=5000,queue=32"},
        {"purgethrash", "base=2,swing=4,cycles=10"},
        {"random", "ops=5000,live=500"},
        {"request", "requests=40,sessions=20"},
        {"rptest", "ops=5000,blocks=100,replace=20"},
        {"sh8bench", "ops=5000,blocks=100"},
        {"xmalloc", "ops=5000,batch=20,waiting=5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i][0], workload))
            return rows[i][1];
    fail_msg("workload %s has no small options in this test", workload);
    return NULL;
}

static void same_seed_gives_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; workloads[i]; i++) {
        if (!workloads[i]->emit) /* live: tests/test_live.py */
            continue;
        char text[256];
        snprintf(text, sizeof text, "%s:%s", workloads[i]->name, small(workloads[i]->name));
        int first = survey_must_generate(text, SURVEY_SEED),
            again = survey_must_generate(text, SURVEY_SEED),
            other = survey_must_generate(text, SURVEY_SEED + 1);
        assert_int_equal(survey_file_hash(first), survey_file_hash(again));
        assert_int_not_equal(survey_file(first, 0).digest, survey_file(other, 0).digest);
        close(first);
        close(again);
        close(other);
    }
}

/* The ops of a seed are the same on every machine and with every compiler. Change them only with
 * the workload. */
static void seeds_name_the_same_ops_everywhere(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t digest;
    } rows[] = {
        {"bleed:ops=20k,shift=7", UINT64_C(17563049639565207127)},
        {"cachescratch:ops=5k", UINT64_C(2348550949475485700)},
        {"cachethrash:ops=5k,burst=4", UINT64_C(2645392669513781274)},
        {"classwalk:pages=2,walks=2", UINT64_C(7410454767509093433)},
        {"comb:pages=40", UINT64_C(5272749994081658228)},
        {"empirical:from=traces/samples/redis.trace,ops=20k,run=3", UINT64_C(9598138725118553598)},
        {"frame:frames=40,scopes=subsystem", UINT64_C(6773360124281305767)},
        {"larson:ops=20k,slots=100,life=300", UINT64_C(10380415245967142834)},
        {"mstress:generations=3,steps=300", UINT64_C(90528350453249865)},
        {"pagepin:pages=40", UINT64_C(11034262722810374086)},
        {"phasechange:phases=5,allocs=3k,live=500,survive=0.1", UINT64_C(13415616760152439251)},
        {"prodcons:ops=20k", UINT64_C(12181426645037182707)},
        {"prodcons:ops=20k,sizes=pareto", UINT64_C(11797764751678159590)},
        {"purgethrash:base=20,swing=40,cycles=20,order=random", UINT64_C(4506040092376312869)},
        {"random:ops=20k,live=1000,sizes=log", UINT64_C(2353252754011705411)},
        {"request:requests=500,sessions=50,threads=3,migrate=0.1", UINT64_C(12135416411153762219)},
        {"rptest:ops=20k,blocks=200,replace=30,sizes=exp", UINT64_C(419425734817212428)},
        {"rptest:ops=20k,blocks=200,replace=30,sizes=linear", UINT64_C(7705133351222048909)},
        {"sh8bench:ops=20k,blocks=200", UINT64_C(17602049595475345461)},
        {"xmalloc:ops=20k,batch=30,waiting=5", UINT64_C(522086430789935330)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(survey_of(rows[i].text, 0).digest, rows[i].digest);
}

static void check_whole(const char *text)
{
    struct survey s = survey_of(text, 0);
    assert_int_equal(s.open_scopes, 0);
    assert_int_equal(s.totals.end_live_objects, s.live);
    if (strncmp(text, "random", 6))
        assert_int_equal(s.live, 0);
    assert_true(s.totals.ops > 0 && s.totals.failed == 0);
}

/* Runs the workload with its small options and one option set to `value`, or to what keeps the test
 * short. */
static void try_value(const struct workload *workload, const struct option *row, double number)
{
    char text[512], options[640], given[64];
    bool counts = row->type == OPTION_COUNT;
    if (counts && number > 2000)
        number = 2000;
    snprintf(given, sizeof given, row->type == OPTION_REAL ? "%g" : "%.0f", number);
    size_t used = 0;
    snprintf(options, sizeof options, "%s", small(workload->name));
    for (char *pair = strtok(options, ","); pair; pair = strtok(NULL, ","))
        if (strncmp(pair, row->name, strlen(row->name)) || pair[strlen(row->name)] != '=')
            used += (size_t)snprintf(text + used, sizeof text - used, "%s,", pair);
    if (!strcmp(row->name, "min")) /* not above max, whatever that is by default */
        used += (size_t)snprintf(text + used, sizeof text - used, "max=1g,");
    if (!strcmp(row->name, "max"))
        used += (size_t)snprintf(text + used, sizeof text - used, "min=1,");
    snprintf(text + used, sizeof text - used, "%s=%s", row->name, given);
    snprintf(options, sizeof options, "%s:%s", workload->name, text);
    check_whole(options);
}

static void try_choices(const struct workload *workload, const struct option *row)
{
    char choices[128], text[512];
    snprintf(choices, sizeof choices, "%s", row->choices);
    for (char *choice = strtok(choices, "|"); choice; choice = strtok(NULL, "|")) {
        snprintf(text, sizeof text, "%s:%s,%s=%s", workload->name, small(workload->name), row->name,
                 choice);
        check_whole(text);
    }
}

static void every_option_works_at_both_ends(void **state)
{
    (void)state;
    for (size_t i = 0; workloads[i]; i++) {
        if (!workloads[i]->emit) /* live: tests/test_live.py */
            continue;
        for (const struct option *row = workloads[i]->options; row->name; row++) {
            if (row->type == OPTION_CHOICE) {
                try_choices(workloads[i], row);
            } else if (row->type != OPTION_TEXT) {
                try_value(workloads[i], row, row->min);
                try_value(workloads[i], row, row->max);
            }
        }
    }
}

static bool has_option(const struct workload *workload, const char *name)
{
    for (const struct option *row = workload->options; row->name; row++)
        if (!strcmp(row->name, name))
            return true;
    return false;
}

static void min_above_max_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; workloads[i]; i++) {
        if (!workloads[i]->emit) /* live: tests/test_live.py */
            continue;
        char text[128], expected[128];
        struct error err = {""};
        if (!has_option(workloads[i], "min") || !has_option(workloads[i], "max"))
            continue;
        snprintf(text, sizeof text, "%s:min=100,max=99", workloads[i]->name);
        snprintf(expected, sizeof expected, "%s: min is greater than max: swap them",
                 workloads[i]->name);
        assert_int_equal(survey_generate(text, SURVEY_SEED, &err), -1);
        assert_string_equal(err.text, expected);
    }
}

static void traces_say_what_they_are(void **state)
{
    (void)state;
    struct survey s = survey_of("prodcons:ops=2k,producers=1", 0);
    assert_string_equal(s.name, "prodcons");
    assert_string_equal(s.seed, "42");
    assert_string_equal(s.options, "ops=2000,producers=1,consumers=4,queue=1000,burst=32,parts=2,"
                                   "local=0.25,min=16,max=2k,sizes=log");
    assert_string_equal(s.thread_1, "producer-0");
}

static void random_holds_its_live_target(void **state)
{
    (void)state;
    struct survey s = survey_of("random:ops=200k,live=1000", 1000);
    assert_int_equal(s.totals.ops, 200000);
    assert_in_range(s.least_live, 900, 1000);
    assert_in_range(s.most_live, 1000, 1100);
    assert_true(s.most_live - s.least_live > 100); /* it does walk */
    assert_true(s.smallest >= 16 && s.largest <= 384);
    double mean = (double)s.totals.allocated_bytes / (double)s.totals.objects;
    assert_true(mean > 198 && mean < 202);
    s = survey_of("random:ops=20k,live=1000,order=alternate", 1000);
    assert_int_equal(s.least_live, 1000);
    assert_int_equal(s.most_live, 1001);
}

static void frame_scopes_are_crossed_by_survivors_alone(void **state)
{
    (void)state;
    struct survey s = survey_of("frame:frames=50,objects=100,survivors=0,assets=0", 0);
    assert_int_equal(s.totals.scopes, 50);
    assert_int_equal(s.crossed_scopes, 0);
    s = survey_of("frame:frames=50,objects=100,survivors=1,assets=0", 0);
    assert_int_equal(s.crossed_scopes, s.totals.objects);
    s = survey_of("frame:frames=1000,objects=100,survivors=0.1,lifetime=20,assets=0", 0);
    double part = (double)s.crossed_scopes / (double)s.totals.objects;
    double life = (double)s.scopes_between / (double)s.crossed_scopes;
    assert_true(part > 0.097 && part < 0.103);
    assert_true(life > 19 && life < 21);
    assert_int_equal(s.most_open_scopes, 1);
}

static void frame_scopes_nest_as_asked(void **state)
{
    (void)state;
    struct survey s = survey_of("frame:frames=50,objects=40,level=20,scopes=level", 0);
    assert_int_equal(s.totals.scopes, 50 + 3);
    assert_int_equal(s.most_open_scopes, 2);
    s = survey_of("frame:frames=50,objects=40,level=20,scopes=subsystem,subsystems=5", 0);
    assert_int_equal(s.totals.scopes, 50 * 6 + 3);
    assert_int_equal(s.most_open_scopes, 3);
}

static void requests_interleave_and_sessions_outlive_them(void **state)
{
    (void)state;
    struct survey s = survey_of("request:requests=2000,open=16,sessions=0", 0);
    assert_int_equal(s.totals.scopes, 2000);
    assert_int_equal(s.most_open_scopes, 16);
    assert_int_equal(s.crossed_scopes, 0);
    assert_int_equal(s.crossed_threads, 0);
    assert_true(s.totals.kinds[TRACE_REALLOC] > 2000);
    s = survey_of("request:requests=2000,open=16,sessions=100", 0);
    /* 400 keys, two objects each: more than that only if some were evicted and made again */
    assert_true(s.crossed_scopes > 2 * 400);
    assert_int_equal(s.most_open_scopes, 16);
}

static void requests_use_their_threads(void **state)
{
    (void)state;
    struct survey s = survey_of("request:requests=1000,open=16,sessions=0,threads=4", 0);
    assert_int_equal(s.totals.threads, 4);
    assert_int_equal(s.crossed_threads, 0);
    assert_string_equal(s.thread_1, "worker-1");
    s = survey_of("request:requests=1000,open=16,sessions=0,threads=4,migrate=0.5", 0);
    assert_true(s.crossed_threads > 1000);
}

static void messages_cross_threads(void **state)
{
    (void)state;
    struct survey s = survey_of("prodcons:ops=20k,local=0,producers=3,consumers=2", 0);
    assert_int_equal(s.totals.threads, 6);
    assert_int_equal(s.totals.objects - s.crossed_threads,
                     1 + 5); /* main's own: queue and states */
    assert_in_range(s.totals.ops, 20000, 20010);
    s = survey_of("prodcons:ops=20k,local=1,producers=3,consumers=2,parts=1", 0);
    double part = (double)s.crossed_threads / (double)s.totals.objects;
    assert_true(part > 0.49 && part < 0.51); /* two of the four objects that a message costs */
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct survey s = survey_of("prodcons:ops=20k,local=0,queue=10,parts=1,burst=1000", 0);
    assert_int_equal(s.totals.peak_live_objects, 1 + 8 + 2 * 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_gives_same_bytes),
        cmocka_unit_test(seeds_name_the_same_ops_everywhere),
        cmocka_unit_test(every_option_works_at_both_ends),
        cmocka_unit_test(min_above_max_is_refused),
        cmocka_unit_test(traces_say_what_they_are),
        cmocka_unit_test(random_holds_its_live_target),
        cmocka_unit_test(frame_scopes_are_crossed_by_survivors_alone),
        cmocka_unit_test(frame_scopes_nest_as_asked),
        cmocka_unit_test(requests_interleave_and_sessions_outlive_them),
        cmocka_unit_test(requests_use_their_threads),
        cmocka_unit_test(messages_cross_threads),
        cmocka_unit_test(the_queue_is_bounded),
    };
    return cmocka_run_group_tests_name("workload", tests, NULL, NULL);
}
