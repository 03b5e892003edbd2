/*
 * survey.c - see survey.h.
 */
#include "tests/lib/survey.h"

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

#include "harness/spec.h"
#include "workloads/lib/workload.h"

struct object {
    uint32_t thread;
    uint64_t scope; /* in which it was allocated, TRACE_NO_SCOPE = none */
};

enum { MOST_THREADS = 4096 };

struct walk {
    struct object *objects;
    bool *ended;     /* by scope */
    uint64_t *outer; /* by scope */
    uint64_t current[MOST_THREADS];
    bool over[MOST_THREADS]; /* threads that have ended */
    uint64_t begun;
};

int survey_generate(const char *text, uint64_t seed, struct error *err)
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

int survey_must_generate(const char *text, uint64_t seed)
{
    struct error err = {""};
    int fd = survey_generate(text, seed, &err);
    if (fd < 0)
        fail_msg("%s: %s", text, err.text);
    return fd;
}

uint64_t survey_file_hash(int fd)
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
        s->crossed_ends += w->over[object->thread];
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

static struct trace_reader *must_open(int fd)
{
    struct error err = {""};
    struct trace_reader *in = trace_open_fd(fd, "memory", 0, &err);
    if (!in)
        fail_msg("%s", err.text);
    return in;
}

struct survey survey_file(int fd, uint64_t settle)
{
    struct survey s = {.smallest = UINT64_MAX};
    struct error err = {""};
    struct trace_reader *in = must_open(fd);
    s.totals = *trace_reader_totals(in);
    copy_meta(in, "workload", s.name, sizeof s.name);
    copy_meta(in, "options", s.options, sizeof s.options);
    copy_meta(in, "seed", s.seed, sizeof s.seed);
    copy_meta(in, "thread.1.name", s.thread_1, sizeof s.thread_1);
    struct walk w = {calloc(s.totals.objects + 1, sizeof *w.objects),
                     calloc(s.totals.scopes + 1, sizeof *w.ended),
                     calloc(s.totals.scopes + 1, sizeof *w.outer),
                     {0},
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
        w.over[op.thread] |= op.kind == TRACE_THREAD_END;
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

struct survey survey_of(const char *text, uint64_t settle)
{
    int fd = survey_must_generate(text, SURVEY_SEED);
    struct survey s = survey_file(fd, settle);
    close(fd);
    return s;
}

struct trace_op *survey_ops(const char *text, size_t *n)
{
    int fd = survey_must_generate(text, SURVEY_SEED);
    struct error err = {""};
    struct trace_reader *in = must_open(fd);
    size_t records = (size_t)trace_reader_totals(in)->records;
    struct trace_op *ops = calloc(records, sizeof *ops);
    assert_non_null(ops);
    for (*n = 0; *n < records; ++*n)
        if (trace_next(in, &ops[*n], &err) != 1)
            fail_msg("%s", err.text);
    trace_close(in);
    close(fd);
    return ops;
}
