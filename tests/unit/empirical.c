/*
 * empirical.c - what empirical draws is like what it was fitted to: the sizes, the lifetimes and
 * their products by the Kolmogorov-Smirnov distance, the level of live bytes, and the shares of
 * kinds of calls and of threads. What the recording is like is computed here from its ops.
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
#include "traces/trace.h"
#include "workloads/lib/fit.h"

#define SOURCE "traces/samples/redis.trace"

struct object {
    uint64_t size, born, died; /* size: at birth; born, died: births of freed objects before it */
    bool freed;
};

struct sample { /* of a trace: of what is freed, unless it ends in the trace's last frees */
    struct object *objects;
    size_t count, first, last;               /* first..last: those that are compared */
    double mean_live_objects;                /* the same */
    double mean_live_bytes;                  /* at the births from first to last */
    double early, late;                      /* the same of the first and the last third of them */
    double realloc_age;                      /* mean, in births of freed objects */
    double callocs, reallocs, sized, remote; /* an object */
};

static struct trace_op *ops_read(struct trace_reader *reader, size_t *n)
{
    struct error err;
    struct trace_op *ops =
        malloc(trace_reader_totals(reader)->records * sizeof *ops); /* of a whole trace */
    *n = 0;
    assert_non_null(ops);
    while (trace_next(reader, &ops[*n], &err) > 0)
        ++*n;
    assert_int_equal(*n, trace_reader_totals(reader)->records);
    return ops;
}

/* Objects by number, times still in births of all objects. */
static void objects_read(struct sample *s, const struct trace_op *ops, size_t n, uint32_t *threads)
{
    size_t reallocs = 0, callocs = 0, sized = 0, remote = 0, freed = 0;
    for (size_t i = 0; i < n; i++) {
        const struct trace_op *op = &ops[i];
        if (trace_makes_object(op)) {
            threads[s->count] = op->thread;
            s->objects[s->count] = (struct object){.size = op->size, .born = s->count};
            s->count++;
            callocs += op->kind == TRACE_CALLOC;
        } else if (trace_ends_object(op)) {
            s->objects[op->object].freed = true;
            s->objects[op->object].died = s->count;
            sized += (op->flags & TRACE_SIZED) != 0;
            remote += threads[op->object] != op->thread;
            freed++;
        } else if (op->kind == TRACE_REALLOC && !(op->flags & TRACE_FAILED)) {
            reallocs++;
        }
    }
    s->callocs = (double)callocs / (double)s->count;
    s->reallocs = (double)reallocs / (double)s->count;
    s->sized = (double)sized / (double)freed;
    s->remote = (double)remote / (double)freed;
}

/* Puts times on the clock of freed objects' births. */
static void clock_change(struct sample *s, const struct trace_op *ops, size_t n)
{
    double ages = 0;
    size_t made = 0, reallocs = 0;
    uint64_t *freed_before = malloc((s->count + 1) * sizeof *freed_before);
    assert_non_null(freed_before);
    freed_before[0] = 0;
    for (size_t i = 0; i < s->count; i++)
        freed_before[i + 1] = freed_before[i] + s->objects[i].freed;
    for (size_t i = 0; i < s->count; i++) {
        s->objects[i].born = freed_before[i + 1];
        s->objects[i].died = freed_before[s->objects[i].died];
    }
    for (size_t i = 0; i < n; i++) {
        const struct trace_op *op = &ops[i];
        made += trace_makes_object(op);
        if (op->kind == TRACE_REALLOC && !op->flags && s->objects[op->object].freed) {
            ages += (double)(freed_before[made] - s->objects[op->object].born);
            reallocs++;
        }
    }
    s->realloc_age = ages / (double)reallocs;
    free(freed_before);
}

/* Mean live bytes at births of freed objects, of those objects and `always`. */
static void level_measure(struct sample *s, const struct trace_op *ops, size_t n, double always)
{
    double live = 0, live_objects = 0, sums[3] = {0}, objects = 0;
    size_t made = 0, counts[3] = {0};
    uint64_t *sizes = calloc(s->count, sizeof *sizes);
    assert_non_null(sizes);
    for (size_t i = 0; i < n; i++) {
        const struct trace_op *op = &ops[i];
        if (trace_makes_object(op)) {
            size_t third = 3 * (made - s->first) / (s->last - s->first);
            if (made >= s->first && made < s->last && s->objects[made].freed) {
                sums[third] += live;
                objects += live_objects;
                counts[third]++;
            }
            made++;
        }
        if (op->object == TRACE_NO_OBJECT || !s->objects[op->object].freed ||
            op->flags & TRACE_FAILED)
            continue;
        live_objects += trace_makes_object(op) - trace_ends_object(op);
        live -= (double)sizes[op->object];
        sizes[op->object] = trace_ends_object(op) ? 0 : op->size;
        live += (double)sizes[op->object];
    }
    s->early = always + sums[0] / (double)counts[0];
    s->late = always + sums[2] / (double)counts[2];
    s->mean_live_bytes =
        always + (sums[0] + sums[1] + sums[2]) / (double)(counts[0] + counts[1] + counts[2]);
    s->mean_live_objects = objects / (double)(counts[0] + counts[1] + counts[2]);
    free(sizes);
}

/* `settle`: compare only what is born after the first op that makes no object, and so early that
 * it ends by itself: `longest` births before the last. */
static struct sample sample_read(struct trace_reader *reader, bool settle, uint64_t longest)
{
    size_t n;
    struct trace_op *ops = ops_read(reader, &n);
    const struct trace_totals *totals = trace_reader_totals(reader);
    struct sample s = {.objects = calloc(totals->objects, sizeof *s.objects),
                       .last = totals->objects - longest};
    uint32_t *threads = calloc(totals->objects, sizeof *threads);
    assert_true(s.objects && threads);
    objects_read(&s, ops, n, threads);
    clock_change(&s, ops, n);
    for (size_t i = 0; settle && ops[i].kind != TRACE_FREE && ops[i].kind != TRACE_REALLOC; i++)
        s.first += trace_makes_object(&ops[i]);
    assert_true(s.first < s.last);
    level_measure(&s, ops, n, settle ? 0 : (double)totals->end_live_bytes);
    free(ops);
    free(threads);
    trace_close(reader);
    return s;
}

static struct sample source_read(uint64_t *longest)
{
    struct error err;
    struct trace_reader *reader = trace_open(SOURCE, 0, &err);
    assert_non_null(reader);
    struct sample s = sample_read(reader, false, 0);
    *longest = 0;
    for (size_t i = 0; i < s.count; i++)
        if (s.objects[i].freed && s.objects[i].died - s.objects[i].born > *longest)
            *longest = s.objects[i].died - s.objects[i].born;
    return s;
}

static struct sample drawn_read(const char *options, uint64_t longest)
{
    char text[256];
    struct error err;
    snprintf(text, sizeof text, "empirical:from=" SOURCE ",%s", options);
    int fd = survey_must_generate(text, SURVEY_SEED);
    struct trace_reader *reader = trace_open_fd(fd, text, 0, &err);
    assert_non_null(reader);
    struct sample s = sample_read(reader, true, longest);
    close(fd);
    return s;
}

/* ---- distances ---- */

enum what { SIZE, LIFE, PRODUCT };

static double value_of(const struct object *o, enum what what)
{
    double life = (double)(o->died - o->born);
    return what == SIZE ? (double)o->size : what == LIFE ? life : (double)o->size * (life + 1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double *values_sorted(const struct sample *s, enum what what, size_t *n)
{
    double *values = malloc((s->last - s->first) * sizeof *values);
    assert_non_null(values);
    *n = 0;
    for (size_t i = s->first; i < s->last; i++)
        if (s->objects[i].freed)
            values[(*n)++] = value_of(&s->objects[i], what);
    qsort(values, *n, sizeof *values, compare);
    return values;
}

/* Kolmogorov and Smirnov's: the greatest difference of the two distribution functions. */
static double distance(const struct sample *a, const struct sample *b, enum what what)
{
    size_t n, m, i = 0, j = 0;
    double *x = values_sorted(a, what, &n), *y = values_sorted(b, what, &m), most = 0;
    while (i < n && j < m) {
        double value = x[i] < y[j] ? x[i] : y[j];
        while (i < n && x[i] == value)
            i++;
        while (j < m && y[j] == value)
            j++;
        double apart = (double)i / (double)n - (double)j / (double)m;
        apart = apart < 0 ? -apart : apart;
        most = apart > most ? apart : most;
    }
    free(x);
    free(y);
    return most;
}

static void assert_near(const char *what, double got, double wanted, double tolerance)
{
    if (got < wanted - tolerance || got > wanted + tolerance)
        fail_msg("%s is %g, not %g +- %g", what, got, wanted, tolerance);
}

/* What the recording left live, which is no part of a level of what it freed. */
static double stays_count(void)
{
    struct error err;
    struct trace_reader *reader = trace_open(SOURCE, 0, &err);
    assert_non_null(reader);
    const struct trace_totals totals = *trace_reader_totals(reader);
    struct fit fit;
    uint64_t bytes = 0;
    assert_int_equal(fit_read(&fit, SOURCE, &err), 0);
    for (uint64_t i = 0; i < fit.stay_count; i++)
        bytes += fit.stays[i].size;
    assert_int_equal(bytes, totals.end_live_bytes);
    assert_int_equal(fit.stay_count, totals.end_live_objects);
    trace_close(reader);
    fit_free(&fit);
    return (double)totals.end_live_objects;
}

/* With independent draws, D of 300,000 of them exceeds 0.0036 in one of 1000 runs. */
static void drawn_objects_are_like_the_recordings(void **state)
{
    (void)state;
    uint64_t longest;
    struct sample source = source_read(&longest), drawn = drawn_read("ops=1100k", longest);
    assert_true(drawn.last - drawn.first > 250000);
    assert_near("distance of sizes", distance(&source, &drawn, SIZE), 0, 0.005);
    assert_near("distance of lifetimes", distance(&source, &drawn, LIFE), 0, 0.005);
    assert_near("distance of size x lifetime", distance(&source, &drawn, PRODUCT), 0, 0.005);
    double level = source.mean_live_bytes;
    print_message("live bytes: %.0f in the recording, %.0f drawn\n", level, drawn.mean_live_bytes);
    assert_near("live bytes", drawn.mean_live_bytes, level, 0.03 * level);
    double objects = source.mean_live_objects + stays_count();
    assert_near("live objects", drawn.mean_live_objects, objects, 0.03 * objects);
    assert_near("live bytes, early", drawn.early, level, 0.1 * level);
    assert_near("live bytes, late", drawn.late, level, 0.1 * level);
    assert_near("callocs", drawn.callocs, source.callocs, 0.05 * source.callocs + 0.001);
    assert_near("reallocs", drawn.reallocs, source.reallocs, 0.05 * source.reallocs + 0.001);
    assert_near("age at realloc", drawn.realloc_age, source.realloc_age, 0.1 * source.realloc_age);
    assert_near("sized frees", drawn.sized, source.sized, 0.05 * source.sized + 0.001);
    assert_near("remote frees", drawn.remote, source.remote, 0.1 * source.remote + 0.001);
    assert_true(source.reallocs > 0.01);
    free(source.objects);
    free(drawn.objects);
}

/* The part of the freed objects that have the size of the freed one before the last. */
static double kept_order(const struct sample *s)
{
    size_t same = 0, count = 0;
    uint64_t before[2] = {UINT64_MAX, UINT64_MAX};
    for (size_t i = s->first; i < s->last; i++) {
        if (!s->objects[i].freed)
            continue;
        same += s->objects[i].size == before[1];
        before[1] = before[0];
        before[0] = s->objects[i].size;
        count++;
    }
    return (double)same / (double)count;
}

static void runs_keep_neighbours_together(void **state)
{
    (void)state;
    uint64_t longest;
    struct sample source = source_read(&longest);
    struct sample alone = drawn_read("ops=1100k", longest),
                  runs = drawn_read("ops=1100k,run=200", longest);
    double wanted = kept_order(&source), apart = wanted - kept_order(&alone);
    assert_true(apart > 0.05);
    assert_near("order", kept_order(&runs), wanted, 0.2 * apart);
    assert_near("distance of sizes", distance(&source, &runs, SIZE), 0, 0.06);
    assert_near("live bytes", runs.mean_live_bytes, source.mean_live_bytes,
                0.2 * source.mean_live_bytes);
    free(source.objects);
    free(alone.objects);
    free(runs.objects);
}

static void assert_refused(const char *text, const char *message)
{
    struct error err = {""};
    assert_int_equal(survey_generate(text, SURVEY_SEED, &err), -1);
    assert_string_equal(err.text, message);
}

static void recordings_are_named_and_checked(void **state)
{
    (void)state;
    struct survey s = survey_of("empirical:from=" SOURCE ",ops=100", 0);
    const char *hash = strstr(s.options, ",hash=");
    assert_non_null(hash);
    char text[256], given[24];
    snprintf(given, sizeof given, "%.22s", hash + 1); /* hash= and 16 digits */
    assert_int_equal(strspn(given + 5, "0123456789abcdef"), 16);
    snprintf(text, sizeof text, "empirical:from=" SOURCE ",ops=100,%.21s", given);
    assert_int_equal(survey_of(text, 0).digest, s.digest);
    assert_refused("empirical:ops=5", "empirical: which recording? give from=FILE.trace");
    assert_refused("empirical:from=none.trace",
                   "empirical: from=none.trace: cannot read it: No such file or directory");
    assert_refused("empirical:from=Makefile",
                   "Makefile: offset 0: not a trace file; other forms are read by `alloclab trace "
                   "convert --from FORMAT`");
    snprintf(text, sizeof text,
             "empirical: from=" SOURCE ": its hash is %.16s, not 0: give the recording that had "
             "it, or leave the hash out",
             given + 5);
    assert_refused("empirical:hash=0,from=" SOURCE, text);
}

static void what_frees_nothing_has_no_lifetimes(void **state)
{
    (void)state;
    char path[] = "/tmp/alloclab-empirical-XXXXXX", text[128], message[160];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct error err;
    struct trace_writer *w = trace_create_fd(fd, &err);
    assert_non_null(w);
    struct trace_op op = {.kind = TRACE_ALLOC, .size = 10, .scope = TRACE_NO_SCOPE};
    assert_int_equal(trace_put(w, &op, &err), 0);
    assert_int_equal(trace_finish(w, &err), 0);
    snprintf(text, sizeof text, "empirical:from=%s", path);
    snprintf(message, sizeof message,
             "empirical: from=%s: nothing in it is freed: there are no lifetimes", path);
    assert_refused(text, message);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_objects_are_like_the_recordings),
        cmocka_unit_test(runs_keep_neighbours_together),
        cmocka_unit_test(recordings_are_named_and_checked),
        cmocka_unit_test(what_frees_nothing_has_no_lifetimes),
    };
    return cmocka_run_group_tests_name("empirical", tests, NULL, NULL);
}
