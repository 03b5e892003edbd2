/*
 * tally.c - see tally.h. Memory grows with the live set and the rows, not with the trace.
 */
#include "harness/tally.h"

void tally_begin(struct tally *t, const struct trace_op *op)
{
    bool called = op->kind != TRACE_LIVE;
    t->allocations += called;
    t->bytes += called ? op->size : 0;
    t->live += op->size;
    if (t->live > t->peak)
        t->peak = t->live;
}

int tally_row(struct address_map *index, uint64_t key, uint64_t next, uint64_t *row)
{
    const struct address_entry *known = address_map_find(index, key);
    *row = known ? address_entry_id(known) : next;
    return known ? 1 : address_map_add(index, key, next, 0) ? 0 : -1;
}

static bool op_follow(struct tally_follower *f, const struct trace_op *op)
{
    bool resizes = op->kind == TRACE_REALLOC && !(op->flags & (TRACE_FAILED | TRACE_NULL));
    struct address_entry *entry =
        resizes || trace_ends_object(op) ? address_map_find(&f->live, op->object) : NULL;
    uint64_t id, size;
    if (entry) {
        f->end(f->ctx, entry);
        address_map_remove(&f->live, entry);
    }
    if (!trace_makes_object(op) && (!resizes || op->flags & TRACE_ENDS))
        return true;
    return f->begin(f->ctx, op, &id, &size) && address_map_add(&f->live, op->object, id, size);
}

int tally_follow(struct tally_follower *f, struct trace_reader *r, struct error *err)
{
    struct trace_op op;
    int got;
    while ((got = trace_next(r, &op, err)) > 0)
        if (!op_follow(f, &op))
            got = error_set(err, "%s: no memory to follow its objects", trace_name(r));
    address_map_free(&f->live);
    return got;
}
