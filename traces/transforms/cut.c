/*
 * cut.c - a part of a trace: a range of ops, a stretch of time, or what one thread did.
 *
 *     alloclab trace cut --ops 1000000:2000000 IN -o OUT
 *     alloclab trace cut --time 5000000000:6000000000 IN -o OUT
 *     alloclab trace cut --thread 3 IN -o OUT
 *
 * ops=A:B: ops of any kind (lines of `alloclab trace cat`, meta and thread lines apart), from number
 * A, counted from 0, up to B, B not included. time=A:B, ns of the trace's clock: from the first op at
 * A or later up to the next one at B or later. What was live at the start becomes `live` ops with its
 * sizes then, by the thread of the cut's first op; scopes that were open are begun again, and each
 * thread is in its own. That takes reading the trace from its front; live=touched begins to read at the cut,
 * which the index finds: then `live` is only what the cut itself uses, with size 0, which means
 * unknown, and scopes that were open are left out, switches to them become switches to none.
 * live=none leaves out the ops of such objects, too.
 *
 * thread=N: the ops of that thread. An object that it uses and another one made is `live`, with its
 * size at the first use; what it made and another one freed stays to the end. Scopes of other
 * threads are left out. Reading ends at the thread's end, if the trace has it. live=touched begins to
 * read where the index says that the thread first appears: what was made before that block is of
 * unknown size. live=none does the same, and leaves out the ops of objects that others made.
 *
 * Kept: ops, their order. The clock counts from the cut's first op; threads, objects and scopes are
 * numbered anew. A cut that begins with a thread_begin has its `live` ops after it, since it is the
 * thread's first op. Memory: 16 bytes an object that is live at the start, beside that of reading.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "traces/renumber.h"
#include "traces/rules.h"
#include "traces/table_grow.h"
#include "traces/transforms/transform.h"

struct cut_options {
    char ops[48], time[48], thread[16];
    unsigned live;
};

enum cut_live { LIVE_ALL, LIVE_TOUCHED, LIVE_NONE };

static const struct option cut_rows[] = {
    OPTION_ROW(struct cut_options, "ops", ops, TEXT, "", 0, 48, NULL, "range of ops, FROM:TO"),
    OPTION_ROW(struct cut_options, "time", time, TEXT, "", 0, 48, NULL, "range of ns, FROM:TO"),
    OPTION_ROW(struct cut_options, "thread", thread, TEXT, "", 0, 16, NULL, "number of a thread"),
    OPTION_ROW(struct cut_options, "live", live, CHOICE, "all", 0, 0, "all|touched|none",
               "which objects older than the cut are in it"),
    {0}};

struct cut {
    const struct transform_job *job;
    struct trace_reader *in;
    struct renumber to;
    bool by_time;
    uint64_t from, end;         /* of the range */
    uint64_t record;            /* of the next op */
    struct renumber_known *old; /* what is live at the start */
    uint64_t count;
    size_t room;
};

static int no_memory(const struct cut *c, struct error *err)
{
    return error_set(err, "%.500s: no memory for what is live at the start of the cut",
                     trace_name(c->in));
}

static int op_next(struct cut *c, struct trace_op *op, struct error *err)
{
    int got = trace_next(c->in, op, err);
    c->record += got > 0;
    return got;
}

/* Of an op that has just been read. */
static bool op_reaches(const struct cut *c, const struct trace_op *op, uint64_t bound)
{
    return c->by_time ? op->clock_ns >= bound : c->record > bound;
}

/* `beyond`: an op that is; NULL: the trace has ended. The totals of a torn one are not known. */
static int nothing_there(const struct cut *c, const struct trace_op *beyond, struct error *err)
{
    if (beyond)
        return error_set(err, "%.500s: nothing in this range: the next op's clock is %" PRIu64,
                         trace_name(c->in), beyond->clock_ns);
    return error_set(
        err, "%.500s: nothing in this range: the trace has %" PRIu64 " ops of any kind%s",
        trace_name(c->in), c->record, c->by_time ? ", and its clock ends before it" : "");
}

static int old_order(const void *a, const void *b)
{
    const struct renumber_known *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* By id, each once. */
static void old_sort(struct cut *c)
{
    uint64_t kept = 0;
    if (c->count)
        qsort(c->old, c->count, sizeof *c->old, old_order);
    for (uint64_t i = 0; i < c->count; i++)
        if (!i || c->old[i].id != c->old[i - 1].id)
            c->old[kept++] = c->old[i];
    c->count = kept;
}

/* An object may come many times before old_sort(): memory follows the objects, not the ops. */
static int old_add(struct cut *c, uint64_t id, uint64_t size, struct error *err)
{
    bool full = c->count == c->room;
    if (full)
        old_sort(c);
    if (full && c->count >= c->room / 2) {
        void *grown = table_grow(c->old, &c->room, sizeof *c->old);
        if (!grown)
            return no_memory(c, err);
        c->old = grown;
    }
    c->old[c->count++] = (struct renumber_known){.id = id, .size = size};
    return 0;
}

/* What was live goes before `first`, the first op of the cut; or after it, if it begins a thread: then
 * it has been put. */
static int live_put(struct cut *c, const struct trace_op *first, struct error *err)
{
    struct trace_op live = {.kind = TRACE_LIVE, .scope = TRACE_NO_SCOPE};
    c->to.known = c->old;
    c->to.known_count = c->count;
    c->to.clock_base = first->clock_ns;
    int failed = first->kind == TRACE_THREAD_BEGIN ? renumber_put(&c->to, first, err) : 0;
    if (!failed && c->count)
        failed = renumber_thread(&c->to, first->thread, &live.thread, err);
    for (uint64_t i = 0; !failed && i < c->count; i++) {
        live.object = i;
        live.size = c->old[i].size;
        failed = trace_put(c->job->out, &live, err);
    }
    return failed;
}

/* From `op`, the first of the range, on; after live_put(). */
static int range_put(struct cut *c, struct trace_op *op, struct error *err)
{
    int got = op->kind == TRACE_THREAD_BEGIN ? op_next(c, op, err) : 1;
    while (got > 0 && !op_reaches(c, op, c->end)) {
        if (renumber_put(&c->to, op, err))
            return -1;
        got = op_next(c, op, err);
    }
    return got < 0 ? -1 : 0;
}

/* ---- all that is live, from the front ---- */

struct front { /* what is known where the cut begins */
    struct trace_rules rules;
    uint32_t *openers; /* of each scope: its thread */
    size_t openers_room;
    uint64_t *current; /* of each thread: its scope in the new trace, by its old number */
};

static int front_follow(struct front *f, const struct cut *c, const struct trace_op *op,
                        struct error *err)
{
    struct error why;
    if (trace_rules_put(&f->rules, op, &why))
        return error_set(err, "%.500s: offset %" PRIu64 ": %.400s", trace_name(c->in),
                         trace_offset(c->in), why.text);
    if (op->kind != TRACE_SCOPE_BEGIN)
        return 0;
    if (op->scope >= f->openers_room) {
        void *grown = table_grow(f->openers, &f->openers_room, sizeof *f->openers);
        if (!grown)
            return no_memory(c, err);
        f->openers = grown;
    }
    f->openers[op->scope] = op->thread;
    return 0;
}

static int scope_put(struct cut *c, struct front *f, uint32_t thread, uint8_t kind, uint64_t scope,
                     uint64_t clock_ns, struct error *err)
{
    const struct trace_op op = {.kind = kind,
                                .thread = thread,
                                .object = TRACE_NO_OBJECT,
                                .scope = scope,
                                .clock_ns = clock_ns};
    f->current[thread] = scope;
    return renumber_put(&c->to, &op, err);
}

/* Begins what is open, each inside of what was around it, and goes to where each thread was. */
static int scopes_put(struct cut *c, struct front *f, uint64_t clock_ns, struct error *err)
{
    const struct trace_totals *t = &f->rules.totals;
    int failed = 0;
    if (!(f->current = malloc((t->threads + 1) * sizeof *f->current)))
        return no_memory(c, err);
    for (uint64_t i = 0; i < t->threads; i++)
        f->current[i] = TRACE_NO_SCOPE;
    for (uint64_t scope = 0; !failed && scope < t->scopes; scope++) {
        uint64_t around = (f->rules.scopes[scope] >> 1) - 1;
        uint32_t opener = f->openers[scope];
        if (!(f->rules.scopes[scope] & 1))
            continue;
        while (around != TRACE_NO_SCOPE && !(f->rules.scopes[around] & 1))
            around = (f->rules.scopes[around] >> 1) - 1;
        if (f->current[opener] != around)
            failed = scope_put(c, f, opener, TRACE_SCOPE_SWITCH, around, clock_ns, err);
        failed = failed || scope_put(c, f, opener, TRACE_SCOPE_BEGIN, scope, clock_ns, err);
    }
    for (uint32_t i = 0; !failed && i < t->threads; i++) {
        uint64_t scope = trace_rules_scope(&f->rules, i);
        if (f->current[i] != scope)
            failed = scope_put(c, f, i, TRACE_SCOPE_SWITCH, scope, clock_ns, err);
    }
    return failed ? -1 : 0;
}

static int front_take(struct cut *c, const struct trace_rules *rules, struct error *err)
{
    uint64_t *ids = live_table_ids(&rules->objects);
    int failed = ids ? 0 : no_memory(c, err);
    for (uint64_t i = 0; !failed && i < rules->objects.live; i++)
        failed = old_add(c, ids[i], *live_table_find(&rules->objects, ids[i]) >> 1, err);
    free(ids);
    if (failed)
        return -1;
    c->to.first_object = rules->totals.objects;
    return 0;
}

static int front_cut(struct cut *c, struct front *f, struct error *err)
{
    struct trace_op op;
    int got;
    while ((got = op_next(c, &op, err)) > 0 && !op_reaches(c, &op, c->from))
        if (front_follow(f, c, &op, err))
            return -1;
    if (got <= 0 || op_reaches(c, &op, c->end))
        return got < 0 ? -1 : nothing_there(c, got ? &op : NULL, err);
    return front_take(c, &f->rules, err) || live_put(c, &op, err) ||
                   scopes_put(c, f, op.clock_ns, err) || range_put(c, &op, err)
               ? -1
               : 0;
}

/* ---- what the cut touches, or nothing: from the cut on ---- */

/* Goes to the last block that can hold the first op of the range; where it begins. */
static void range_seek(struct cut *c, struct trace_place *place)
{
    struct trace_place next;
    uint64_t block = 0;
    *place = (struct trace_place){0};
    while (trace_place_at(c->in, block, &next) &&
           (c->by_time ? next.clock_ns < c->from : next.records <= c->from)) {
        *place = next;
        block++;
    }
    if (block)
        trace_seek(c->in, block - 1);
    c->record = place->records;
}

/* Reads to the first op of the range. 1, 0: there is none, -1. */
static int range_begin(struct cut *c, struct trace_op *op, struct error *err)
{
    struct trace_place place;
    int got;
    range_seek(c, &place);
    c->to.first_object = place.objects;
    c->to.first_scope = place.scopes;
    while ((got = op_next(c, op, err)) > 0 && !op_reaches(c, op, c->from)) {
        c->to.first_object += trace_makes_object(op);
        c->to.first_scope += op->kind == TRACE_SCOPE_BEGIN;
    }
    return got;
}

static int touched_read(struct cut *c, struct error *err)
{
    struct trace_op op;
    int got = range_begin(c, &op, err);
    for (; got > 0 && !op_reaches(c, &op, c->end); got = op_next(c, &op, err))
        if (op.object < c->to.first_object && old_add(c, op.object, 0, err))
            return -1;
    old_sort(c);
    return got < 0 || trace_rewind(c->in, err) ? -1 : 0;
}

static int range_cut(struct cut *c, enum cut_live live, struct error *err)
{
    struct trace_op op;
    if (live == LIVE_TOUCHED && touched_read(c, err))
        return -1;
    int got = range_begin(c, &op, err);
    if (got <= 0 || op_reaches(c, &op, c->end))
        return got < 0 ? -1 : nothing_there(c, got ? &op : NULL, err);
    return live_put(c, &op, err) || range_put(c, &op, err) ? -1 : 0;
}

/* ---- one thread ---- */

/* Goes to the block in which the thread first appears, as the index says. */
static int thread_seek(struct cut *c, uint64_t thread, struct error *err)
{
    struct trace_place place = {0}, next;
    uint64_t block = 0;
    if (trace_rewind(c->in, err))
        return -1;
    while (trace_place_at(c->in, block, &next) && (!block || next.threads <= thread)) {
        place = next;
        block++;
    }
    if (block > 1)
        trace_seek(c->in, block - 1);
    c->to.first_object = place.objects;
    c->to.first_scope = place.scopes;
    return 0;
}

/* The next op, up to the thread's end, which is 0 the next time. */
static int thread_next(struct cut *c, uint64_t thread, bool *ended, struct trace_op *op,
                       struct error *err)
{
    int got = *ended ? 0 : trace_next(c->in, op, err);
    *ended = got > 0 && op->thread == thread && op->kind == TRACE_THREAD_END;
    return got;
}

/* Notes an object of another thread when this one first uses it, with its size then. In `sizes` are
 * those that were made since the reading began: (size + 1) * 2, and 1 more if it is noted, or this
 * thread's. */
static int foreign_note(struct cut *c, struct live_table *sizes, const struct trace_op *op,
                        struct error *err)
{
    if (op->object < c->to.first_object)
        return old_add(c, op->object, 0, err);
    uint64_t *size = live_table_find(sizes, op->object - c->to.first_object);
    if (!size || *size & 1)
        return 0;
    int failed = old_add(c, op->object, (*size >> 1) - 1, err);
    *size |= 1;
    return failed;
}

static int foreign_follow(struct cut *c, struct live_table *sizes, bool own,
                          const struct trace_op *op, struct error *err)
{
    uint64_t value = (op->size + 1) << 1;
    if (trace_makes_object(op)) {
        if (!live_table_room(sizes))
            return no_memory(c, err);
        live_table_add(sizes, value | own);
        return 0;
    }
    if (op->object == TRACE_NO_OBJECT || op->object < c->to.first_object)
        return 0;
    uint64_t id = op->object - c->to.first_object, *size = live_table_find(sizes, id);
    if (!size)
        return error_set(err,
                         "%.500s: offset %" PRIu64 ": object %" PRIu64
                         " is not live any more: see `alloclab trace check`",
                         trace_name(c->in), trace_offset(c->in), op->object);
    if (trace_ends_object(op))
        live_table_remove(sizes, id, size);
    else if (!(op->flags & TRACE_FAILED))
        *size = value | (*size & 1);
    return 0;
}

static int foreign_read(struct cut *c, struct live_table *sizes, uint64_t thread, struct error *err)
{
    struct trace_op op;
    bool ended = false;
    int got;
    while ((got = thread_next(c, thread, &ended, &op, err)) > 0) {
        bool own = op.thread == thread;
        if ((own && op.object != TRACE_NO_OBJECT && !trace_makes_object(&op) &&
             foreign_note(c, sizes, &op, err)) ||
            foreign_follow(c, sizes, own, &op, err))
            return -1;
    }
    old_sort(c);
    return got;
}

static int thread_put(struct cut *c, uint64_t thread, struct error *err)
{
    struct trace_op op;
    uint64_t met = 0; /* the next one that will be made */
    bool begun = false, ended = false;
    int got = 0, failed = 0;
    while (met < c->count && c->old[met].id < c->to.first_object)
        met++;
    while (!failed && (got = thread_next(c, thread, &ended, &op, err)) > 0) {
        bool first = op.thread == thread && !begun;
        begun |= first;
        if (first && live_put(c, &op, err))
            return -1;
        if (first && op.kind == TRACE_THREAD_BEGIN)
            continue;
        if (op.thread == thread)
            failed = renumber_put(&c->to, &op, err);
        else if (trace_makes_object(&op) && met < c->count && c->old[met].id == op.object)
            failed = renumber_object(&c->to, met++, err);
        else
            failed = renumber_leave(&c->to, &op, err);
    }
    if (!failed && !got && !begun)
        return error_set(err, "%.500s: has no op of thread %" PRIu64, trace_name(c->in), thread);
    return failed ? -1 : got;
}

static int thread_cut(struct cut *c, const char *text, enum cut_live live, struct error *err)
{
    struct live_table sizes = {0};
    char *end;
    uint64_t thread = strtoull(text, &end, 10), threads = trace_reader_totals(c->in)->threads;
    if (*text < '0' || *text > '9' || *end)
        return error_set(err, "cut: option thread=%s: give the number of a thread", text);
    if (threads && thread >= threads)
        return error_set(err, "cut: option thread=%s: %.500s has threads 0 to %" PRIu64, text,
                         trace_name(c->in), threads - 1);
    uint64_t from = live == LIVE_ALL ? 0 : thread;
    int failed = thread_seek(c, from, err) ||
                 (live != LIVE_NONE && foreign_read(c, &sizes, thread, err)) ||
                 thread_seek(c, from, err) || thread_put(c, thread, err);
    live_table_free(&sizes);
    return failed ? -1 : 0;
}

static int cut_any(struct cut *c, const struct cut_options *o, struct error *err)
{
    struct front front = {0};
    unsigned ways = (*o->ops != 0) + (*o->time != 0) + (*o->thread != 0);
    if (ways != 1)
        return error_set(err, "cut: give one of --ops FROM:TO, --time FROM:TO and --thread N");
    if (*o->thread)
        return thread_cut(c, o->thread, o->live, err);
    c->by_time = *o->time;
    if (c->by_time && !trace_has_clock(c->in))
        return error_set(err, "%.500s: has no clock: cut it by --ops", trace_name(c->in));
    if (transform_range("cut", c->by_time ? "time" : "ops", c->by_time ? o->time : o->ops, &c->from,
                        &c->end, err))
        return -1;
    if (o->live != LIVE_ALL)
        return range_cut(c, o->live, err);
    int failed = front_cut(c, &front, err);
    trace_rules_free(&front.rules);
    free(front.openers);
    free(front.current);
    return failed;
}

static int cut_run(const struct transform_job *job, struct error *err)
{
    struct cut c = {.job = job, .in = job->in[0], .to = {.in = job->in[0], .out = job->out}};
    int failed = cut_any(&c, job->options, err) || renumber_meta(&c.to, RENUMBER_ALL, "", "", err);
    if (!failed)
        transform_say(job, "live_at_start", c.count);
    renumber_free(&c.to);
    free(c.old);
    return failed ? -1 : 0;
}

TRACE_TRANSFORM(cut) = {
    .name = "cut",
    .summary = "a range of ops, a stretch of time, or one thread; what is live then comes first",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = cut_rows,
    .options_size = sizeof(struct cut_options),
    .run = cut_run,
};
