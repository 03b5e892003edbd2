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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "harness/registry.h"
#include "harness/spec.h"

#define SEED 42

/* What a trace turned out to be. */
struct survey {
    struct trace_totals totals;
    uint64_t open_scopes, most_open_scopes;
    uint64_t crossed_threads; /* frees by another thread than the allocating one */
    uint64_t crossed_scopes;  /* objects freed when the scope of their allocation had ended */
    uint64_t scopes_between;  /* for these, scopes begun between alloc and free, in all */
    uint64_t smallest, largest;
    uint64_t live, least_live, most_live; /* counted once `settle` objects have been live */
    bool settled;
    uint64_t digest; /* of all fields of all ops */
    char name[64], options[512], seed[32], thread_1[64];
};

struct object {
    uint32_t thread;
    uint64_t scope; /* in which it was allocated, TRACE_NO_SCOPE = none */
};

enum { MOST_THREADS = 256 };

struct walk {
    struct object *objects;
    bool *ended;     /* by scope */
    uint64_t *outer; /* by scope */
    uint64_t current[MOST_THREADS];
    uint64_t begun;
};

/* Generates into a memory file; -1 and the message, or the file. */
static int generate(const char *text, uint64_t seed, struct error *err)
{
    struct workload_spec spec;
    if (workload_spec_parse(text, &spec, err))
        return -1;
    int fd = memfd_create("trace", MFD_CLOEXEC);
    assert_true(fd >= 0);
    struct trace_writer *out = trace_create_fd(fd, err);
    assert_non_null(out);
    int result = workload_write(spec.workload, spec.options, seed, out, err);
    if (result)
        trace_abandon(out);
    else
        result = trace_finish(out, err);
    workload_spec_free(&spec);
    if (result)
        close(fd);
    return result ? -1 : fd;
}

static int must_generate(const char *text, uint64_t seed)
{
    struct error err = {""};
    int fd = generate(text, seed, &err);
    if (fd < 0)
        fail_msg("%s: %s", text, err.text);
    return fd;
}

static uint64_t file_hash(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(bytes != MAP_FAILED);
    uint64_t hash = XXH64(bytes, (size_t)status.st_size, 0);
    munmap(bytes, (size_t)status.st_size);
    return hash;
}

static void note_scope(struct survey *s, struct walk *w, const struct trace_op *op)
{
    if (op->kind == TRACE_SCOPE_BEGIN) {
        w->outer[op->scope] = w->current[op->thread];
        w->current[op->thread] = op->scope;
        w->begun++;
        if (++s->open_scopes > s->most_open_scopes)
            s->most_open_scopes = s->open_scopes;
    } else if (op->kind == TRACE_SCOPE_SWITCH) {
        w->current[op->thread] = op->scope;
    } else if (op->kind == TRACE_SCOPE_END) {
        w->ended[op->scope] = true;
        s->open_scopes--;
        uint64_t *current = &w->current[op->thread];
        while (*current != TRACE_NO_SCOPE && w->ended[*current])
            *current = w->outer[*current];
    }
}

static void note_live(struct survey *s, uint64_t settle)
{
    if (s->live >= settle && !s->settled) {
        s->settled = true;
        s->least_live = s->most_live = s->live;
    }
    if (s->live < s->least_live)
        s->least_live = s->live;
    if (s->live > s->most_live)
        s->most_live = s->live;
}

static void note_object(struct survey *s, struct walk *w, const struct trace_op *op)
{
    struct object *object = &w->objects[op->object];
    if (trace_makes_object(op)) {
        *object = (struct object){op->thread, w->current[op->thread]};
        s->live++;
    } else if (trace_ends_object(op)) {
        s->crossed_threads += object->thread != op->thread;
        if (object->scope != TRACE_NO_SCOPE && w->ended[object->scope]) {
            s->crossed_scopes++;
            s->scopes_between += w->begun - 1 - object->scope;
        }
        s->live--;
    }
    if (op->kind != TRACE_FREE && op->size < s->smallest)
        s->smallest = op->size;
    if (op->kind != TRACE_FREE && op->size > s->largest)
        s->largest = op->size;
}

static void copy_meta(const struct trace_reader *in, const char *key, char *text, size_t bytes)
{
    const char *value = trace_meta(in, key);
    snprintf(text, bytes, "%s", value ? value : "");
}

static void digest_op(XXH64_state_t *hash, const struct trace_op *op)
{
    const uint64_t fields[] = {op->kind, op->flags, op->align_log2, op->thread, op->object,
                               op->size, op->scope, op->clock_ns,   op->site};
    XXH64_update(hash, fields, sizeof fields);
}

/* Reads the trace from its beginning; `settle`: from how many live objects on their number counts.
 */
static struct survey survey(int fd, uint64_t settle)
{
    struct survey s = {.smallest = UINT64_MAX};
    struct error err = {""};
    struct trace_reader *in = trace_open_fd(fd, "memory", 0, &err);
    if (!in)
        fail_msg("%s", err.text);
    s.totals = *trace_reader_totals(in);
    copy_meta(in, "workload", s.name, sizeof s.name);
    copy_meta(in, "options", s.options, sizeof s.options);
    copy_meta(in, "seed", s.seed, sizeof s.seed);
    copy_meta(in, "thread.1.name", s.thread_1, sizeof s.thread_1);
    struct walk w = {calloc(s.totals.objects + 1, sizeof *w.objects),
                     calloc(s.totals.scopes + 1, sizeof *w.ended),
                     calloc(s.totals.scopes + 1, sizeof *w.outer),
                     {0},
                     0};
    assert_true(w.objects && w.ended && w.outer);
    memset(w.current, 0xff, sizeof w.current); /* TRACE_NO_SCOPE */
    XXH64_state_t *hash = XXH64_createState();
    assert_non_null(hash);
    XXH64_reset(hash, 0);
    struct trace_op op;
    int more;
    while ((more = trace_next(in, &op, &err)) == 1) {
        assert_true(op.thread < MOST_THREADS);
        digest_op(hash, &op);
        note_scope(&s, &w, &op);
        if (op.object != TRACE_NO_OBJECT)
            note_object(&s, &w, &op);
        note_live(&s, settle);
    }
    if (more)
        fail_msg("%s", err.text);
    s.digest = XXH64_digest(hash);
    XXH64_freeState(hash);
    free(w.objects);
    free(w.ended);
    free(w.outer);
    trace_close(in);
    return s;
}

static struct survey survey_of(const char *text, uint64_t settle)
{
    int fd = must_generate(text, SEED);
    struct survey s = survey(fd, settle);
    close(fd);
    return s;
}

/* Small enough to run many times; every workload must be here. */
static const char *small(const char *workload)
{
    static const char *const rows[][2] = {
        {"frame", "frames=40,objects=60,level=15,assets=20"},
        {"prodcons", "ops=5000,queue=32"},
        {"random", "ops=5000,live=500"},
        {"request", "requests=40,sessions=20"},
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
        char text[256];
        snprintf(text, sizeof text, "%s:%s", workloads[i]->name, small(workloads[i]->name));
        int first = must_generate(text, SEED), again = must_generate(text, SEED),
            other = must_generate(text, SEED + 1);
        assert_int_equal(file_hash(first), file_hash(again));
        assert_int_not_equal(survey(first, 0).digest, survey(other, 0).digest);
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
        {"frame:frames=40,scopes=subsystem", UINT64_C(6773360124281305767)},
        {"prodcons:ops=20k", UINT64_C(12181426645037182707)},
        {"prodcons:ops=20k,sizes=pareto", UINT64_C(11797764751678159590)},
        {"random:ops=20k,live=1000,sizes=log", UINT64_C(2353252754011705411)},
        {"request:requests=500,sessions=50,threads=3,migrate=0.1", UINT64_C(12135416411153762219)},
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
        for (const struct option *row = workloads[i]->options; row->name; row++) {
            if (row->type == OPTION_CHOICE) {
                try_choices(workloads[i], row);
            } else {
                try_value(workloads[i], row, row->min);
                try_value(workloads[i], row, row->max);
            }
        }
    }
}

static void min_above_max_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; workloads[i]; i++) {
        char text[128], expected[128];
        struct error err = {""};
        snprintf(text, sizeof text, "%s:min=100,max=99", workloads[i]->name);
        snprintf(expected, sizeof expected, "%s: min is greater than max: swap them",
                 workloads[i]->name);
        assert_int_equal(generate(text, SEED, &err), -1);
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
