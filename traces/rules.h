/*
 * rules.h - what makes a sequence of ops a valid trace, as a state machine that takes one op after
 * another: objects are live when they are used, scopes are open, ended threads stay silent,
 * everything is numbered as it should be. The writer holds every op against it; `alloclab trace
 * check` does the same with a file. It counts the totals on the way.
 *
 * O(1) amortised an op. Memory: what live_table.h says for objects, 16 bytes a thread, 8 a scope.
 */
#ifndef ALLOCLAB_RULES_H
#define ALLOCLAB_RULES_H

#include "traces/live_table.h"
#include "traces/trace.h"

#define TRACE_MAX_ALIGN_LOG2 40 /* of an op that did not fail */

struct rules_thread {
    uint64_t scope; /* the current one, perhaps closed meanwhile; TRACE_NO_SCOPE outside */
    bool ended;
};

struct trace_rules {
    struct trace_totals totals; /* end_live_* is the live set so far */
    struct live_table objects;  /* size << 1 | 1 */
    struct rules_thread *threads;
    uint64_t *scopes; /* (scope around it + 1) << 1 | open */
    size_t threads_room, scopes_room;
};

/* Zeroed memory is a fresh state. */
void trace_rules_free(struct trace_rules *rules);

/* 0 and the op is counted; or -1, "record N: what does not fit", and nothing has changed. */
int trace_rules_put(struct trace_rules *rules, const struct trace_op *op, struct error *err);

/*
 * The same for the ops that nearly all are, inline: an alloc or calloc, and a free of an object, of a
 * thread that has begun and not ended, without alignment and scope. `t` are the totals, which the
 * caller may keep in registers. False: nothing has changed, the op is one for trace_rules_put().
 */
static inline bool trace_rules_make(struct trace_rules *rules, struct trace_totals *t,
                                    const struct trace_op *op)
{
    if (op->object != t->objects || op->size > TRACE_MAX_SIZE ||
        (op->object & (LIVE_PAGE - 1)) == 0)
        return false;
    live_table_add(&rules->objects, op->size << 1 | 1);
    t->records++;
    t->ops++;
    t->kinds[op->kind]++;
    t->objects++;
    t->allocated_bytes += op->size;
    t->end_live_bytes += op->size;
    if (++t->end_live_objects > t->peak_live_objects)
        t->peak_live_objects = t->end_live_objects;
    if (t->end_live_bytes > t->peak_live_bytes)
        t->peak_live_bytes = t->end_live_bytes;
    return true;
}

static inline bool trace_rules_free_object(struct trace_rules *rules, struct trace_totals *t,
                                           const struct trace_op *op)
{
    uint64_t *object = live_table_find(&rules->objects, op->object);
    bool sized = op->flags & TRACE_SIZED;
    if (!object || op->size > (sized ? TRACE_MAX_SIZE : 0))
        return false;
    t->end_live_objects--;
    t->end_live_bytes -= *object >> 1;
    live_table_remove(&rules->objects, op->object, object);
    t->records++;
    t->ops++;
    t->kinds[TRACE_FREE]++;
    t->sized_frees += sized;
    return true;
}

/* The thread's current scope: open, or TRACE_NO_SCOPE. */
uint64_t trace_rules_scope(struct trace_rules *rules, uint32_t thread);

#endif
