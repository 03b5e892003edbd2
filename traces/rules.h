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

/* The thread's current scope: open, or TRACE_NO_SCOPE. */
uint64_t trace_rules_scope(struct trace_rules *rules, uint32_t thread);

#endif
