/*
 * rules.c - the state machine of rules.h. Every op is first checked, and room is made for what it
 * adds; only then is anything changed, so that a refused op leaves no trace.
 */
#include "traces/rules.h"

#include <inttypes.h>
#include <stdlib.h>

#include "traces/layout.h"
#include "traces/table_grow.h"

static int rules_refuse(const struct trace_rules *rules, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

static int rules_refuse(const struct trace_rules *rules, struct error *err, const char *format, ...)
{
    int used = snprintf(err->text, sizeof err->text, "record %" PRIu64 ": ", rules->totals.records);
    va_list args;
    va_start(args, format);
    vsnprintf(err->text + used, sizeof err->text - (size_t)used, format, args);
    va_end(args);
    return -1;
}

void trace_rules_free(struct trace_rules *rules)
{
    live_table_free(&rules->objects);
    free(rules->threads);
    free(rules->scopes);
    *rules = (struct trace_rules){0};
}

/* The nearest open scope at or around `scope`; shortens the way for the next search. */
static uint64_t scope_open(struct trace_rules *rules, uint64_t scope)
{
    uint64_t found = scope;
    while (found != TRACE_NO_SCOPE && !(rules->scopes[found] & 1))
        found = (rules->scopes[found] >> 1) - 1;
    while (scope != found) {
        uint64_t around = (rules->scopes[scope] >> 1) - 1;
        rules->scopes[scope] = (found + 1) << 1;
        scope = around;
    }
    return found;
}

uint64_t trace_rules_scope(struct trace_rules *rules, uint32_t thread)
{
    struct rules_thread *state = &rules->threads[thread];
    state->scope = scope_open(rules, state->scope);
    return state->scope;
}

static int check_object(const struct trace_rules *rules, const struct trace_op *op, unsigned shape,
                        struct error *err)
{
    if (shape & SHAPE_MAKES) {
        if (op->object != rules->totals.objects)
            return rules_refuse(rules, err,
                                "object %" PRIu64 " is out of order: the next one is %" PRIu64,
                                op->object, rules->totals.objects);
    } else if (shape & SHAPE_REF) {
        if (op->object >= rules->totals.objects)
            return rules_refuse(rules, err,
                                "object %" PRIu64 " does not exist: only %" PRIu64
                                " have been made so far",
                                op->object, rules->totals.objects);
        if (!live_table_find(&rules->objects, op->object))
            return rules_refuse(rules, err, "object %" PRIu64 " is not live any more", op->object);
    } else if (op->object != TRACE_NO_OBJECT) {
        return rules_refuse(rules, err, "this op has no object, but %" PRIu64 " is given",
                            op->object);
    }
    return 0;
}

static int check_numbers(const struct trace_rules *rules, const struct trace_op *op, unsigned shape,
                         struct error *err)
{
    bool failed = op->flags & TRACE_FAILED;
    if (op->size && !(shape & SHAPE_SIZE))
        return rules_refuse(rules, err, "this op has no size, but %" PRIu64 " is given", op->size);
    if (op->size > TRACE_MAX_SIZE && !failed)
        return rules_refuse(rules, err,
                            "size %" PRIu64 " exceeds the limit of %" PRIu64
                            " bytes of a call that did not fail",
                            op->size, TRACE_MAX_SIZE);
    if (op->size && op->flags & TRACE_ENDS)
        return rules_refuse(rules, err, "a realloc that ends its object has size 0, not %" PRIu64,
                            op->size);
    if (op->align_log2) {
        if (!(shape & SHAPE_ALIGN))
            return rules_refuse(rules, err, "this op has no alignment, but 2^%u is given",
                                op->align_log2);
        if (op->align_log2 > (failed ? 63 : TRACE_MAX_ALIGN_LOG2))
            return rules_refuse(rules, err, "alignment 2^%u exceeds the limit of 2^%u",
                                op->align_log2, failed ? 63 : TRACE_MAX_ALIGN_LOG2);
    }
    return 0;
}

static int check_scope(const struct trace_rules *rules, const struct trace_op *op, unsigned shape,
                       struct error *err)
{
    if (shape & SHAPE_BEGIN) {
        if (op->scope != rules->totals.scopes)
            return rules_refuse(rules, err,
                                "scope %" PRIu64 " is out of order: the next one is %" PRIu64,
                                op->scope, rules->totals.scopes);
    } else if (shape & SHAPE_SCOPE) {
        if (op->scope == TRACE_NO_SCOPE) {
            if (op->kind == TRACE_SCOPE_END)
                return rules_refuse(rules, err, "the end of a scope names none");
        } else if (op->scope >= rules->totals.scopes) {
            return rules_refuse(
                rules, err, "scope %" PRIu64 " does not exist: only %" PRIu64 " have begun so far",
                op->scope, rules->totals.scopes);
        } else if (!(rules->scopes[op->scope] & 1)) {
            return rules_refuse(rules, err, "scope %" PRIu64 " has already ended", op->scope);
        }
    } else if (op->scope != TRACE_NO_SCOPE) {
        return rules_refuse(rules, err, "this op has no scope, but %" PRIu64 " is given",
                            op->scope);
    }
    return 0;
}

static int check_thread(const struct trace_rules *rules, const struct trace_op *op,
                        struct error *err)
{
    if (op->thread > rules->totals.threads)
        return rules_refuse(rules, err, "thread %u is out of order: the next new one is %" PRIu64,
                            op->thread, rules->totals.threads);
    if (op->thread < rules->totals.threads) {
        if (rules->threads[op->thread].ended)
            return rules_refuse(rules, err, "thread %u has already ended", op->thread);
        if (op->kind == TRACE_THREAD_BEGIN)
            return rules_refuse(rules, err, "thread %u has already begun", op->thread);
    }
    if (op->kind == TRACE_LIVE && rules->totals.ops)
        return rules_refuse(rules, err,
                            "an object that was live at the start comes after the first call");
    return 0;
}

static int make_room(struct trace_rules *rules, const struct trace_op *op, unsigned shape,
                     struct error *err)
{
    const struct trace_totals *t = &rules->totals;
    void *grown = shape & SHAPE_MAKES && !live_table_room(&rules->objects) ? NULL : rules;
    if (grown && shape & SHAPE_BEGIN && t->scopes == rules->scopes_room) {
        grown = table_grow(rules->scopes, &rules->scopes_room, sizeof *rules->scopes);
        rules->scopes = grown ? grown : rules->scopes;
    }
    if (grown && op->thread == t->threads && t->threads == rules->threads_room) {
        grown = table_grow(rules->threads, &rules->threads_room, sizeof *rules->threads);
        rules->threads = grown ? grown : rules->threads;
    }
    if (!grown)
        return rules_refuse(rules, err, "no memory for the tables of a trace of this size");
    return 0;
}

/* The live set and the bytes asked for, after an op that got memory or gave some back. */
static void count_object(struct trace_rules *rules, const struct trace_op *op, unsigned shape)
{
    struct trace_totals *t = &rules->totals;
    if (shape & SHAPE_MAKES) {
        live_table_add(&rules->objects, op->size << 1 | 1);
        t->objects++;
        t->end_live_objects++;
        t->end_live_bytes += op->size;
        t->allocated_bytes += op->kind == TRACE_LIVE ? 0 : op->size;
    } else {
        uint64_t *object = live_table_find(&rules->objects, op->object);
        uint64_t old = *object >> 1;
        if (shape & SHAPE_ENDS) {
            live_table_remove(&rules->objects, op->object, object);
            t->end_live_objects--;
            t->end_live_bytes -= old;
            return;
        }
        if (op->flags & TRACE_FAILED)
            return;
        *object = op->size << 1 | 1;
        t->end_live_bytes += op->size - old;
        t->allocated_bytes += op->size > old ? op->size - old : 0;
    }
    if (t->end_live_objects > t->peak_live_objects)
        t->peak_live_objects = t->end_live_objects;
    if (t->end_live_bytes > t->peak_live_bytes)
        t->peak_live_bytes = t->end_live_bytes;
}

static void count_scope(struct trace_rules *rules, const struct trace_op *op)
{
    struct rules_thread *thread = &rules->threads[op->thread];
    if (op->kind == TRACE_SCOPE_BEGIN) {
        uint64_t around = trace_rules_scope(rules, op->thread);
        rules->scopes[op->scope] = (around + 1) << 1 | 1;
        rules->totals.scopes++;
        thread->scope = op->scope;
    } else if (op->kind == TRACE_SCOPE_END) {
        rules->scopes[op->scope] &= ~UINT64_C(1);
    } else {
        thread->scope = op->scope;
    }
}

int trace_rules_put(struct trace_rules *rules, const struct trace_op *op, struct error *err)
{
    unsigned shape = (op->kind | op->flags) < 16 ? layout_shapes[layout_code(op)] : 0;
    struct trace_totals *t = &rules->totals;
    if (!shape)
        return rules_refuse(rules, err, "there is no op of kind %u with flags %u", op->kind,
                            op->flags);
    if (check_object(rules, op, shape, err) || check_numbers(rules, op, shape, err) ||
        check_scope(rules, op, shape, err) || check_thread(rules, op, err) ||
        make_room(rules, op, shape, err))
        return -1;

    if (op->thread == t->threads)
        rules->threads[t->threads++] = (struct rules_thread){.scope = TRACE_NO_SCOPE};
    t->records++;
    t->kinds[op->kind]++;
    if (trace_is_call(op->kind)) {
        bool null = op->flags & TRACE_NULL;
        t->ops++;
        t->failed += (op->flags & TRACE_FAILED) != 0;
        t->sized_frees += (op->flags & TRACE_SIZED) != 0;
        t->null_frees += null && op->kind == TRACE_FREE;
        t->null_reallocs += null && op->kind == TRACE_REALLOC;
    }
    if (shape & (SHAPE_MAKES | SHAPE_REF))
        count_object(rules, op, shape);
    else if (shape & (SHAPE_BEGIN | SHAPE_SCOPE))
        count_scope(rules, op);
    else if (op->kind == TRACE_THREAD_END)
        rules->threads[op->thread].ended = true;
    return 0;
}
