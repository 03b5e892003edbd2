/*
 * fit.c - reads a recording once, writing down of each object when it was born, resized and freed
 * on a clock of all births; then puts those times on the clock of births of freed objects alone,
 * which is known only at the end.
 */
#include "workloads/lib/fit.h"

#include <stdlib.h>
#include <string.h>

#define NEVER UINT32_MAX

struct raw {              /* an object of the recording, by its number */
    uint32_t died;        /* objects made before its end; NEVER */
    uint32_t first, last; /* its reallocs, NEVER: none */
    bool unknown;         /* was live when the recording began: its birth is not known */
};

struct raw_step {
    uint64_t size;
    uint32_t at; /* objects made before it */
    uint32_t next;
};

struct reading {
    struct fit_object *objects;
    struct raw *raw;
    struct raw_step *steps;
    uint32_t count, step_count, threads;
    size_t room, raw_room, step_room;
    uint32_t *freed_before; /* of objects 0..n-1, how many were freed: count + 1 items */
};

static bool room_make(void **items, size_t *room, size_t count, size_t bytes)
{
    if (count < *room)
        return true;
    size_t more = *room ? 2 * *room : 1024;
    void *grown = realloc(*items, more * bytes);
    if (!grown)
        return false;
    *items = grown;
    *room = more;
    return true;
}

static bool object_begin(struct reading *r, const struct trace_op *op)
{
    if (!room_make((void **)&r->objects, &r->room, r->count, sizeof *r->objects) ||
        !room_make((void **)&r->raw, &r->raw_room, r->count, sizeof *r->raw))
        return false;
    bool plain = op->kind == TRACE_LIVE || op->kind == TRACE_REALLOC;
    r->objects[r->count] = (struct fit_object){.size = op->size,
                                               .site = (uint32_t)op->site,
                                               .thread = op->thread,
                                               .kind = plain ? TRACE_ALLOC : op->kind,
                                               .align_log2 = op->align_log2};
    r->raw[r->count++] = (struct raw){NEVER, NEVER, NEVER, op->kind == TRACE_LIVE};
    return true;
}

static bool object_resize(struct reading *r, const struct trace_op *op)
{
    if (!room_make((void **)&r->steps, &r->step_room, r->step_count, sizeof *r->steps))
        return false;
    struct raw *raw = &r->raw[op->object];
    if (raw->last == NEVER)
        raw->first = r->step_count;
    else
        r->steps[raw->last].next = r->step_count;
    raw->last = r->step_count;
    r->steps[r->step_count++] = (struct raw_step){op->size, r->count, NEVER};
    return true;
}

static bool op_note(struct reading *r, const struct trace_op *op)
{
    r->threads = op->thread >= r->threads ? op->thread + 1 : r->threads;
    if (trace_makes_object(op))
        return object_begin(r, op);
    if (trace_ends_object(op)) {
        r->raw[op->object].died = r->count;
        r->objects[op->object].freer = op->thread;
        r->objects[op->object].sized = op->flags & TRACE_SIZED;
    } else if (op->kind == TRACE_REALLOC && !(op->flags & TRACE_FAILED)) {
        return object_resize(r, op);
    }
    return true;
}

static int recording_read(struct reading *r, const char *path, struct error *err)
{
    struct trace_reader *reader = trace_open(path, TRACE_SKIP_CLOCK, err);
    if (!reader)
        return -1;
    struct trace_op op;
    int status;
    while ((status = trace_next(reader, &op, err)) > 0) {
        if (r->count == NEVER - 1 || r->step_count == NEVER - 1)
            status = error_set(err, "%s: more objects than can be fitted, 4 billion", path);
        else if (!op_note(r, &op))
            status =
                error_set(err, "%s: no memory for its %lu objects", path, (unsigned long)r->count);
        if (status < 0)
            break;
    }
    trace_close(reader);
    return status;
}

static bool is_drawn(const struct raw *raw)
{
    return raw->died != NEVER && !raw->unknown;
}

/* The object's reallocs, in the clock of freed objects, behind those that are there. */
static void steps_take(struct fit *fit, const struct reading *r, uint32_t id, struct fit_object *o)
{
    o->step = (uint32_t)fit->step_count;
    for (uint32_t i = r->raw[id].first; i != NEVER; i = r->steps[i].next) {
        uint64_t age = r->freed_before[r->steps[i].at] - r->freed_before[id + 1];
        fit->steps[fit->step_count++] = (struct fit_step){age, r->steps[i].size};
    }
    o->steps = (uint32_t)fit->step_count - o->step;
}

static void objects_take(struct fit *fit, const struct reading *r)
{
    for (uint32_t id = 0; id < r->count; id++) {
        const struct raw *raw = &r->raw[id];
        struct fit_object *o = &r->objects[id];
        if (is_drawn(raw)) {
            steps_take(fit, r, id, o);
            o->life = r->freed_before[raw->died] - r->freed_before[id + 1];
            fit->longest = o->life > fit->longest ? o->life : fit->longest;
            fit->objects[fit->count++] = *o;
        } else if (raw->died == NEVER) {
            o->size = raw->last == NEVER ? o->size : r->steps[raw->last].size;
            fit->stays[fit->stay_count++] = *o;
        }
    }
}

static int fit_make(struct fit *fit, struct reading *r, const char *path, struct error *err)
{
    r->freed_before = malloc(((size_t)r->count + 1) * sizeof *r->freed_before);
    uint32_t freed = 0;
    for (uint32_t id = 0; r->freed_before && id <= r->count; id++) {
        r->freed_before[id] = freed;
        freed += id < r->count && is_drawn(&r->raw[id]);
    }
    *fit = (struct fit){.threads = r->threads};
    fit->objects = malloc(((size_t)freed + 1) * sizeof *fit->objects);
    fit->stays = malloc(((size_t)(r->count - freed) + 1) * sizeof *fit->stays);
    fit->steps = malloc(((size_t)r->step_count + 1) * sizeof *fit->steps);
    if (!r->freed_before || !fit->objects || !fit->stays || !fit->steps) {
        fit_free(fit);
        return error_set(err, "%s: no memory for its %lu objects", path, (unsigned long)r->count);
    }
    objects_take(fit, r);
    return 0;
}

int fit_read(struct fit *fit, const char *path, struct error *err)
{
    struct reading r = {0};
    int status = recording_read(&r, path, err);
    if (!status)
        status = fit_make(fit, &r, path, err);
    free(r.objects);
    free(r.raw);
    free(r.steps);
    free(r.freed_before);
    return status;
}

void fit_free(struct fit *fit)
{
    free(fit->objects);
    free(fit->stays);
    free(fit->steps);
    *fit = (struct fit){0};
}
