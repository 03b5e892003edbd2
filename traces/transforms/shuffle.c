/*
 * shuffle.c - the objects of a trace, born in random order: the classic experiment. How a design
 * does on the trace and how it does on its shuffle differ by what the program's phases are worth to
 * it, and its habit of freeing together what it allocated together (Zorn & Grunwald, "Evaluating
 * models of memory allocation", ACM TOMACS 4(1), 1994; Wilson et al., "Dynamic storage allocation: a survey
 * and critical review", IWMM 1995).
 *
 * Kept of each object: its size, kind, alignment, site, the thread that makes it and the one that
 * frees it, its reallocs, and its lifetime, counted in births of other objects; so are kept how many
 * objects there are of each size, how many of them are freed, and how many are live at a time on
 * the average, but for the ends of the trace: what would have died after the last birth is freed at
 * its end, in the order of its deaths. Calls without an object (free(NULL), failed ones) stay after
 * as many births as before, and what was live at the start dies when it did.
 * Not kept: which object is born after which, so phases, and sizes that come in groups; lifetimes
 * in ops; scopes, thread_begin and thread_end, and failed reallocs of an object, which are left out.
 * An op's clock is that of the birth in whose place it comes. Which order it is follows from the
 * seed.
 *
 * Memory: about 160 bytes an object of the trace and 64 a realloc.
 *
 *     alloclab trace shuffle --seed 7 IN -o OUT
 */
#include <inttypes.h>
#include <stdlib.h>

#include "traces/renumber.h"
#include "traces/table_grow.h"
#include "traces/transforms/transform.h"

#define NONE UINT32_MAX

struct shuffle_options {
    uint64_t seed;
};

static const struct option shuffle_rows[] = {
    OPTION_ROW(struct shuffle_options, "seed", seed, COUNT, "1", 0, 0, NULL, "of the order"), {0}};

struct event { /* what happens to an object after its birth: a realloc or its end */
    struct trace_op op;
    uint32_t age;  /* births since its own; of what was live at the start: since then */
    uint32_t next; /* of the same object; NONE */
};

struct object {
    struct trace_op birth;
    uint32_t first, last; /* events; NONE */
    uint32_t waiting;     /* the next object whose event is due at the same time; NONE */
    uint32_t born;        /* births up to its own in the new trace; 0: live at the start */
    uint64_t number;      /* in the new trace */
};

struct shuffle {
    const struct transform_job *job;
    struct object *objects; /* what was live at the start comes first */
    struct event *events;
    size_t objects_room, events_room;
    uint32_t object_count, event_count, start_count;
    uint32_t *order; /* births, in their new order */
    uint32_t *due;   /* by births so far: the first object with an event then; NONE */
    uint64_t due_count;
    struct renumber threads; /* of threads alone: objects come with their new numbers */
};

static int no_memory(const struct shuffle *s, struct error *err)
{
    return error_set(err, "%.500s: no memory for %u objects and %u events of a shuffle",
                     trace_name(s->job->in[0]), s->object_count, s->event_count);
}

/* ---- reading ---- */

static int object_add(struct shuffle *s, const struct trace_op *op, struct error *err)
{
    if (s->object_count == s->objects_room) {
        void *grown = s->object_count < NONE / 2
                          ? table_grow(s->objects, &s->objects_room, sizeof *s->objects)
                          : NULL;
        if (!grown)
            return no_memory(s, err);
        s->objects = grown;
    }
    s->start_count += op->kind == TRACE_LIVE;
    s->objects[s->object_count++] =
        (struct object){.birth = *op, .first = NONE, .last = NONE, .waiting = NONE};
    return 0;
}

static int event_add(struct shuffle *s, const struct trace_op *op, struct error *err)
{
    if (op->object >= s->object_count)
        return error_set(err,
                         "%.500s: object %" PRIu64 " has not been made: see `alloclab trace check`",
                         trace_name(s->job->in[0]), op->object);
    if (s->event_count == s->events_room) {
        void *grown = s->event_count < NONE - 1
                          ? table_grow(s->events, &s->events_room, sizeof *s->events)
                          : NULL;
        if (!grown)
            return no_memory(s, err);
        s->events = grown;
    }
    struct object *o = &s->objects[op->object];
    uint32_t births = s->object_count - s->start_count, index = (uint32_t)op->object;
    uint32_t born = index < s->start_count ? 0 : index - s->start_count + 1;
    s->events[s->event_count] = (struct event){.op = *op, .age = births - born, .next = NONE};
    if (o->last == NONE)
        o->first = s->event_count;
    else
        s->events[o->last].next = s->event_count;
    o->last = s->event_count++;
    return 0;
}

static int objects_read(struct shuffle *s, struct error *err)
{
    struct trace_op op;
    int got;
    while ((got = trace_next(s->job->in[0], &op, err)) > 0) {
        int failed = 0;
        if (trace_makes_object(&op))
            failed = object_add(s, &op, err);
        else if (op.object != TRACE_NO_OBJECT && !(op.flags & TRACE_FAILED))
            failed = event_add(s, &op, err);
        if (failed)
            return -1;
    }
    return got;
}

/* Each order is as likely as another (Fisher and Yates). */
static int order_draw(struct shuffle *s, struct error *err)
{
    const struct shuffle_options *o = s->job->options;
    uint32_t births = s->object_count - s->start_count;
    s->due_count = 2 * (uint64_t)births + 1;
    s->order = malloc((births + (size_t)1) * sizeof *s->order);
    s->due = malloc(s->due_count * sizeof *s->due);
    if (!s->order || !s->due)
        return no_memory(s, err);
    for (uint32_t i = 0; i < births; i++)
        s->order[i] = s->start_count + i;
    for (uint32_t i = births; i > 1; i--) {
        uint64_t k = (uint64_t)((unsigned __int128)transform_hash(i, o->seed) * i >> 64);
        uint32_t swapped = s->order[k];
        s->order[k] = s->order[i - 1];
        s->order[i - 1] = swapped;
    }
    for (uint64_t i = 0; i < s->due_count; i++)
        s->due[i] = NONE;
    return 0;
}

/* ---- writing ---- */

static int op_put(struct shuffle *s, const struct trace_op *op, uint64_t object, uint64_t clock_ns,
                  struct error *err)
{
    struct trace_op put = *op;
    put.object = object;
    put.clock_ns = clock_ns;
    return renumber_put(&s->threads, &put, err);
}

/* The object's next event, if there is one, waits until it is due. */
static void event_await(struct shuffle *s, uint32_t index)
{
    struct object *o = &s->objects[index];
    if (o->first == NONE)
        return;
    uint32_t *due = &s->due[o->born + s->events[o->first].age];
    o->waiting = *due;
    *due = index;
}

/* Those that are due after so many births. */
static int events_put(struct shuffle *s, uint64_t births, uint64_t clock_ns, struct error *err)
{
    while (s->due[births] != NONE) {
        uint32_t index = s->due[births];
        struct object *o = &s->objects[index];
        const struct event *event = &s->events[o->first];
        s->due[births] = o->waiting;
        if (op_put(s, &event->op, o->number, clock_ns, err))
            return -1;
        o->first = event->next;
        event_await(s, index);
    }
    return 0;
}

static int object_put(struct shuffle *s, uint32_t index, uint64_t born, uint64_t clock_ns,
                      struct error *err)
{
    struct object *o = &s->objects[index];
    o->number = trace_writer_totals(s->job->out)->objects;
    o->born = (uint32_t)born;
    if (op_put(s, &o->birth, o->number, clock_ns, err))
        return -1;
    event_await(s, index);
    return 0;
}

static int objects_put(struct shuffle *s, struct error *err)
{
    struct trace_op op;
    uint64_t births = 0, starts = 0, clock = 0;
    int got = trace_rewind(s->job->in[0], err) ? -1 : 1, failed = 0;
    while (!failed && got > 0 && (got = trace_next(s->job->in[0], &op, err)) > 0) {
        clock = op.clock_ns;
        if (op.kind == TRACE_LIVE) {
            failed = object_put(s, (uint32_t)starts++, 0, clock, err);
        } else if (trace_makes_object(&op)) {
            failed = events_put(s, births, clock, err);
            if (!failed)
                failed = object_put(s, s->order[births], births + 1, clock, err);
            births++;
        } else if (trace_is_call(op.kind) && op.object == TRACE_NO_OBJECT) {
            failed = op_put(s, &op, TRACE_NO_OBJECT, clock, err);
        }
    }
    for (; !failed && !got && births < s->due_count; births++)
        failed = events_put(s, births, clock, err);
    return failed ? -1 : got;
}

static int shuffle_run(const struct transform_job *job, struct error *err)
{
    const struct shuffle_options *o = job->options;
    struct shuffle s = {.job = job, .threads = {.in = job->in[0], .out = job->out}};
    int failed = objects_read(&s, err) || order_draw(&s, err) || objects_put(&s, err) ||
                 renumber_meta(&s.threads, RENUMBER_ALL, "", "", err);
    if (!failed)
        transform_say(job, "seed", o->seed);
    renumber_free(&s.threads);
    free(s.objects);
    free(s.events);
    free(s.order);
    free(s.due);
    return failed ? -1 : 0;
}

TRACE_TRANSFORM(shuffle) = {
    .name = "shuffle",
    .summary = "the same objects, sizes and lifetimes, born in random order: no phases",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = shuffle_rows,
    .options_size = sizeof(struct shuffle_options),
    .run = shuffle_run,
};
