/*
 * plan_fate.c - the look ahead of the plan's builder: reads a trace once and notes for each object
 * the record that ends it and whether several threads touch it, and for each scope the record that
 * closes it. Needed before the first word can be written, since an object is placed by its death
 * and its slot by who frees it.
 */
#include <string.h>

#include "harness/plan_build.h"

#define NEVER_40 ((UINT64_C(1) << 40) - 1)

static int object_note(struct fates *f, const struct trace_op *op)
{
    struct object_fate *grown =
        array_room(f->objects, f->object_count, &f->object_room, sizeof *grown);
    if (!grown)
        return -1;
    f->objects = grown;
    f->objects[f->object_count++] =
        (struct object_fate){.end = NEVER_40, .shared = 0, .thread = op->thread};
    return 0;
}

static int scope_note(struct fates *f, const struct trace_op *op, uint64_t record)
{
    if (op->kind == TRACE_SCOPE_BEGIN) {
        uint64_t *grown = array_room(f->scope_ends, f->scope_count, &f->scope_room, sizeof *grown);
        if (!grown)
            return -1;
        f->scope_ends = grown;
        f->scope_ends[f->scope_count++] = FATE_NEVER;
    } else if (op->kind == TRACE_SCOPE_END && op->scope < f->scope_count) {
        f->scope_ends[op->scope] = record;
    }
    return 0;
}

static int op_note(struct fates *f, const struct trace_op *op, uint64_t record)
{
    if (trace_makes_object(op))
        return object_note(f, op);
    if (op->kind > TRACE_FREE)
        return scope_note(f, op, record);
    if (op->object < f->object_count && !(op->flags & TRACE_FAILED)) {
        struct object_fate *fate = &f->objects[op->object];
        if (fate->thread != op->thread)
            fate->shared = 1;
        if (trace_ends_object(op))
            fate->end = record;
    }
    return 0;
}

int fates_read(struct fates *f, struct trace_reader *trace, struct error *err)
{
    struct trace_op op;
    uint64_t record = 0;
    int more;
    memset(f, 0, sizeof *f);
    while ((more = trace_next(trace, &op, err)) == 1) {
        if (op.thread >= 1u << 23)
            return plan_refuse(err, trace, record,
                               "thread number over 8,388,607: too many threads");
        if (op_note(f, &op, record))
            return plan_refuse(err, trace, record, "out of memory; replay a part of the trace");
        record++;
    }
    return more ? -1 : trace_rewind(trace, err);
}

void fates_free(struct fates *f)
{
    free(f->objects);
    free(f->scope_ends);
}
