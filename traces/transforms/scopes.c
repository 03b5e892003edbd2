/*
 * scopes.c - marks scopes in a trace that has none: where what a thread made since some call is all
 * dead again. Then a design with scopes can be measured on a program that was not written for
 * them, with release=scope.
 *
 * The rule, for each thread by itself: a scope may begin before any call that makes an object, and
 * ends after the first call, of whichever thread, after which all objects are dead that the thread
 * made since. So scopes of a thread nest, and every object that is made in one dies in it. Of those
 * that end at the same call the longest is taken in which objects of at most `bytes` were made: a
 * scope gives nothing back before its end, so that is how much more memory it may take (reallocs
 * apart). Scopes of fewer than `least` objects are not marked.
 *
 * Kept: every op. Added: scope_begin by the thread, scope_end by the thread that freed the last
 * object. The trace is read twice. Memory: 32 bytes a scope, and for each thread 32 bytes for each
 * object of the last `bytes` it made.
 *
 *     alloclab trace scopes --bytes 256k --least 4 IN -o OUT
 */
#include <inttypes.h>
#include <stdlib.h>

#include "traces/live_table.h"
#include "traces/sites.h"
#include "traces/table_grow.h"
#include "traces/transforms/transform.h"

struct scopes_options {
    uint64_t bytes, least;
};

static const struct option scopes_rows[] = {
    OPTION_ROW(struct scopes_options, "bytes", bytes, SIZE, "1m", 1, 1e12, NULL,
               "most bytes that are asked for in a scope"),
    OPTION_ROW(struct scopes_options, "least", least, COUNT, "8", 1, 1e9, NULL,
               "fewest objects of a scope"),
    {0}};

#define NUMBER_BITS 40
#define NO_BIRTH    ((UINT64_C(1) << NUMBER_BITS) - 1) /* what was live at the start begins no scope */

struct birth { /* of an object that may be the first of a scope */
    uint64_t record;
    uint64_t bytes_before,
        objects_before; /* made by the thread; an object counts at least 1 byte */
    bool dead;
};

struct maker { /* a thread */
    struct birth
        *births; /* a stack: births[i & (room - 1)] for i from first, which only grows, to end */
    uint64_t first, end, room;
    uint64_t bytes, objects; /* made so far */
    uint64_t depth;          /* of open scopes, when they are written */
};

struct scope {
    uint64_t begin, end; /* records: before the one, after the other */
    uint64_t number;     /* in the new trace */
    uint32_t thread;
};

struct scopes {
    const struct transform_job *job;
    struct maker *makers;
    uint64_t maker_count;
    struct live_table live; /* (thread << NUMBER_BITS | place in its stack) + 1 */
    struct scope *found;    /* by their ends */
    struct scope **begins;  /* by their beginnings */
    size_t found_count, found_room;
    uint64_t frees, covered;
};

static int no_memory(const struct scopes *s, struct error *err)
{
    return error_set(err, "%.500s: no memory for the births and scopes of its threads",
                     trace_name(s->job->in[0]));
}

/* ---- finding them ---- */

static int maker_reach(struct scopes *s, uint32_t thread, struct error *err)
{
    if (thread < s->maker_count)
        return 0;
    struct maker *grown =
        thread < UINT32_MAX >> 9 ? realloc(s->makers, (thread + (size_t)1) * sizeof *grown) : NULL;
    if (!grown)
        return no_memory(s, err);
    s->makers = grown;
    while (s->maker_count <= thread)
        s->makers[s->maker_count++] = (struct maker){0};
    return 0;
}

static struct birth *birth_at(const struct maker *m, uint64_t place)
{
    return &m->births[place & (m->room - 1)];
}

static bool births_room(struct maker *m)
{
    if (m->end - m->first < m->room)
        return true;
    struct maker grown = {.room = m->room ? 2 * m->room : 64};
    if (!(grown.births = malloc(grown.room * sizeof *grown.births)))
        return false;
    for (uint64_t i = m->first; i < m->end; i++)
        *birth_at(&grown, i) = *birth_at(m, i);
    free(m->births);
    m->births = grown.births;
    m->room = grown.room;
    return true;
}

static int birth_add(struct scopes *s, const struct trace_op *op, uint64_t record,
                     struct error *err)
{
    const struct scopes_options *o = s->job->options;
    struct maker *m = &s->makers[op->thread];
    uint64_t place = NO_BIRTH;
    if (!live_table_room(&s->live) || !births_room(m))
        return no_memory(s, err);
    if (op->kind != TRACE_LIVE) {
        struct birth birth = {
            .record = record, .bytes_before = m->bytes, .objects_before = m->objects++};
        m->bytes += op->size ? op->size : 1;
        place = m->end++;
        *birth_at(m, place) = birth;
        while (m->first < m->end && m->bytes - birth_at(m, m->first)->bytes_before > o->bytes)
            m->first++;
    }
    live_table_add(&s->live, ((uint64_t)op->thread << NUMBER_BITS | place) + 1);
    return 0;
}

static int scope_add(struct scopes *s, uint32_t thread, uint64_t begin, uint64_t end,
                     struct error *err)
{
    if (s->found_count == s->found_room) {
        void *grown = table_grow(s->found, &s->found_room, sizeof *s->found);
        if (!grown)
            return no_memory(s, err);
        s->found = grown;
    }
    s->found[s->found_count++] = (struct scope){.begin = begin, .end = end, .thread = thread};
    return 0;
}

/* An object has died: those at the end of its maker's stack may all be dead now. */
static int death_add(struct scopes *s, const struct trace_op *op, uint64_t record,
                     struct error *err)
{
    const struct scopes_options *o = s->job->options;
    uint64_t *value = live_table_find(&s->live, op->object);
    if (!value)
        return error_set(
            err, "%.500s: object %" PRIu64 " is not live any more: see `alloclab trace check`",
            trace_name(s->job->in[0]), op->object);
    struct maker *m = &s->makers[(*value - 1) >> NUMBER_BITS];
    uint64_t place = (*value - 1) & NO_BIRTH, last = m->end;
    live_table_remove(&s->live, op->object, value);
    s->frees++;
    if (place < m->first || place >= m->end)
        return 0;
    birth_at(m, place)->dead = true;
    while (m->end > m->first && birth_at(m, m->end - 1)->dead)
        m->end--;
    const struct birth *birth = birth_at(m, m->end);
    if (m->end == last || m->objects - birth->objects_before < o->least)
        return 0;
    return scope_add(s, (uint32_t)(m - s->makers), birth->record, record, err);
}

static int scopes_find(struct scopes *s, struct error *err)
{
    struct trace_op op;
    int got, failed = 0;
    for (uint64_t record = 0; (got = trace_next(s->job->in[0], &op, err)) > 0; record++) {
        if (op.kind >= TRACE_SCOPE_BEGIN && op.kind <= TRACE_SCOPE_SWITCH)
            return error_set(err, "%.500s: has scopes of its own: none are inferred",
                             trace_name(s->job->in[0]));
        failed = maker_reach(s, op.thread, err);
        if (!failed && trace_makes_object(&op))
            failed = birth_add(s, &op, record, err);
        else if (!failed && trace_ends_object(&op))
            failed = death_add(s, &op, record, err);
        if (failed)
            return -1;
    }
    return got;
}

static int begin_order(const void *a, const void *b)
{
    const struct scope *const *x = a, *const *y = b;
    return (*x)->begin < (*y)->begin ? -1 : (*x)->begin > (*y)->begin;
}

/* ---- writing them ---- */

static int mark_put(struct scopes *s, const struct trace_op *at, uint8_t kind, uint64_t scope,
                    struct error *err)
{
    const struct trace_op mark = {.kind = kind,
                                  .thread = at->thread,
                                  .object = TRACE_NO_OBJECT,
                                  .scope = scope,
                                  .clock_ns = at->clock_ns};
    return trace_put(s->job->out, &mark, err);
}

static int scopes_write(struct scopes *s, struct error *err)
{
    struct trace_op op;
    size_t begun = 0, ended = 0;
    int got = trace_rewind(s->job->in[0], err) ? -1 : 1, failed = 0;
    for (uint64_t record = 0; !failed && got > 0; record++) {
        if ((got = trace_next(s->job->in[0], &op, err)) <= 0)
            break;
        struct maker *m = &s->makers[op.thread];
        if (begun < s->found_count && s->begins[begun]->begin == record) {
            s->begins[begun]->number = trace_writer_totals(s->job->out)->scopes;
            failed = mark_put(s, &op, TRACE_SCOPE_BEGIN, s->begins[begun++]->number, err);
            m->depth++;
        }
        s->covered += trace_makes_object(&op) && op.kind != TRACE_LIVE && m->depth;
        if (!failed)
            failed = trace_put(s->job->out, &op, err);
        if (!failed && ended < s->found_count && s->found[ended].end == record) {
            failed = mark_put(s, &op, TRACE_SCOPE_END, s->found[ended].number, err);
            s->makers[s->found[ended++].thread].depth--;
        }
    }
    return failed ? -1 : got;
}

static int scopes_run(const struct transform_job *job, struct error *err)
{
    struct scopes s = {.job = job};
    int failed = scopes_find(&s, err) || trace_copy_sites(job->in[0], job->out, err) ? -1 : 0;
    if (!failed && !(s.begins = malloc((s.found_count + 1) * sizeof *s.begins)))
        failed = no_memory(&s, err);
    for (size_t i = 0; !failed && i < s.found_count; i++)
        s.begins[i] = &s.found[i];
    if (!failed && s.found_count)
        qsort(s.begins, s.found_count, sizeof *s.begins, begin_order);
    if (!failed)
        failed = scopes_write(&s, err);
    if (!failed)
        failed = trace_copy_meta(job->in[0], job->out, err);
    if (!failed) {
        transform_say(job, "scopes", s.found_count);
        transform_say(job, "frees", s.frees);
        transform_say(job, "covered_frees", s.covered);
        fprintf(job->report, "%-18s %.4f\n", "covered_share",
                s.frees ? (double)s.covered / (double)s.frees : 0);
    }
    for (uint64_t i = 0; i < s.maker_count; i++)
        free(s.makers[i].births);
    free(s.makers);
    free(s.found);
    free(s.begins);
    live_table_free(&s.live);
    return failed;
}

TRACE_TRANSFORM(scopes) = {
    .name = "scopes",
    .summary = "with scopes where what a thread made since is all dead again",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = scopes_rows,
    .options_size = sizeof(struct scopes_options),
    .run = scopes_run,
};
