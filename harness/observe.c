/*
 * observe.c - walks a plan op by op and calls the hooks. Written for plainness: it may be slow, the
 * fast loop may not.
 */
#include "harness/observe.h"

#include "allocators/lib/generic.h"
#include "harness/call.h"
#include "harness/views.h"

static enum observe_result hook_call(struct observe *o,
                                     bool (*hook)(void *, const struct object_at *),
                                     const struct object_at *object)
{
    return !hook || hook(o->ctx, object) ? OBSERVE_DONE : OBSERVE_STOPPED;
}

static enum observe_result call_make(struct observe *o, struct replay *r, const struct cursor *c,
                                     const struct call *call)
{
    const struct allocator *a = r->design;
    bool zeroed = call->kind == PLAN_CALLOC;
    void *p = zeroed ? generic_zalloc(a, c->alloc_view, call->size, call->align)
                     : a->alloc(c->alloc_view, call->size, call->align);
    if (!p)
        return OBSERVE_NO_MEMORY;
    r->slots[call->slot] = p;
    struct object_at object = {.slot = call->slot,
                               .p = p,
                               .size = call->size,
                               .align = call->align,
                               .thread = o->thread,
                               .zeroed = zeroed,
                               .view = r->finds_owner ? c->free_view : c->alloc_view};
    return hook_call(o, o->hooks->made, &object);
}

static enum observe_result call_end(struct observe *o, struct replay *r,
                                    const struct prefix *prefix, const struct call *call)
{
    const struct allocator *a = r->design;
    struct object_at object = {.slot = call->slot,
                               .p = r->slots[call->slot],
                               .size = call->size,
                               .thread = o->thread,
                               .view = prefix->free_view};
    enum observe_result result = hook_call(o, o->hooks->ending, &object);
    bool known = call->kind == PLAN_SIZED || r->size_mask;
    if (result == OBSERVE_DONE && call->kind != PLAN_DROP)
        a->free(prefix->free_view, object.p, known ? call->size : 0);
    return result;
}

static enum observe_result call_resize(struct observe *o, struct replay *r,
                                       const struct prefix *prefix, const struct call *call)
{
    void **slot = &r->slots[call->slot];
    struct object_at object = {.slot = call->slot,
                               .p = *slot,
                               .size = call->old,
                               .align = call->align,
                               .thread = o->thread,
                               .view = prefix->free_view};
    enum observe_result result = hook_call(o, o->hooks->moving, &object);
    if (result != OBSERVE_DONE)
        return result;
    object.p = generic_realloc(r->design, prefix->free_view, prefix->place, *slot, call->old,
                               call->size, call->align);
    if (!object.p)
        return OBSERVE_NO_MEMORY;
    *slot = object.p;
    object.size = call->size;
    bool go_on = !o->hooks->moved || o->hooks->moved(o->ctx, &object, call->old);
    return go_on ? OBSERVE_DONE : OBSERVE_STOPPED;
}

static enum observe_result call_run(struct observe *o, struct replay *r, const struct cursor *c,
                                    const struct prefix *prefix, const struct call *call)
{
    enum observe_result result = OBSERVE_DONE;
    if (call->kind == PLAN_ALLOC || call->kind == PLAN_CALLOC)
        result = call_make(o, r, c, call);
    else if (call->kind == PLAN_RARE_REALLOC)
        result = call_resize(o, r, prefix, call);
    else if (call->kind != PLAN_NOP)
        result = call_end(o, r, prefix, call);
    o->op++;
    if (result == OBSERVE_DONE && o->hooks->step && !o->hooks->step(o->ctx, o->op))
        result = OBSERVE_STOPPED;
    return result;
}

/* An op and, if other threads touch its object too, the turn for it. */
static enum observe_result turn_run(struct observe *o, struct replay *r, struct replay_thread *t,
                                    const struct cursor *c, const struct prefix *prefix,
                                    const struct call *call)
{
    if (prefix->shared && !replay_turn_wait(r, t, prefix->shared, prefix->turn))
        return OBSERVE_STOPPED;
    enum observe_result result = call_run(o, r, c, prefix, call);
    if (prefix->shared && result == OBSERVE_DONE)
        replay_turn_pass(prefix->shared, prefix->turn);
    return result;
}

static enum observe_result words_walk(struct observe *o, struct replay *r, struct replay_thread *t,
                                      const uint64_t *end, bool parallel)
{
    const uint64_t *p = t->next;
    enum observe_result result = OBSERVE_DONE;
    struct cursor c;
    cursor_load(r, t, &c);
    while (p < end && result == OBSERVE_DONE) {
        unsigned kind = PLAN_KIND(*p);
        if (kind >= PLAN_BEGIN && kind <= PLAN_STOP) {
            context_word(r, t, &c, *p++);
            if (replay_failed(r))
                return OBSERVE_NO_MEMORY;
            continue;
        }
        struct prefix prefix;
        struct call call;
        p = call_decode(prefix_read(r, t, &c, p, &prefix), &call);
        result =
            parallel ? turn_run(o, r, t, &c, &prefix, &call) : call_run(o, r, &c, &prefix, &call);
    }
    t->next = p;
    return result;
}

enum observe_result observe_runs(struct observe *o, uint64_t from, uint64_t to)
{
    struct replay *r = &o->replay;
    const struct plan *plan = r->plan;
    const struct plan_run *runs = (const void *)((const char *)plan + plan->runs_offset);
    enum observe_result result = OBSERVE_DONE;
    for (uint64_t i = from; i < to && result == OBSERVE_DONE; i++) {
        o->thread = runs[i].thread;
        struct replay_thread *t = &r->threads[o->thread];
        result = words_walk(o, r, t, t->next + runs[i].words, false);
    }
    return result;
}

enum observe_result observe_thread(struct observe *o, struct replay *r, uint32_t thread,
                                   const uint64_t *end)
{
    o->thread = thread;
    return words_walk(o, r, &r->threads[thread], end, true);
}

static enum observe_result chunk_walk(struct observe *o, const struct ring_chunk *chunk)
{
    const struct plan_run *runs = ring_runs(chunk);
    const uint64_t *words = ring_words(o->replay.ring, chunk);
    enum observe_result result = OBSERVE_DONE;
    for (uint32_t i = 0; i < chunk->runs && result == OBSERVE_DONE; words += runs[i++].words) {
        o->thread = runs[i].thread;
        struct replay_thread *t = &o->replay.threads[o->thread];
        t->next = words;
        result = words_walk(o, &o->replay, t, words + runs[i].words, false);
    }
    return result;
}

static enum observe_result part_stream(struct observe *o, enum plan_part part)
{
    enum observe_result result = OBSERVE_DONE;
    for (bool last = false; !last && result == OBSERVE_DONE;) {
        const struct ring_chunk *chunk = replay_chunk(&o->replay, part);
        if (!chunk)
            return OBSERVE_NO_MEMORY;
        result = chunk_walk(o, chunk);
        last = chunk->last;
    }
    return result;
}

enum observe_result observe_parts(struct observe *o, enum plan_part first, enum plan_part last)
{
    enum observe_result result = OBSERVE_DONE;
    for (unsigned part = first; part <= last && result == OBSERVE_DONE; part++) {
        uint64_t from, to;
        plan_part_runs(o->replay.plan, part, &from, &to);
        result = o->replay.ring ? part_stream(o, part) : observe_runs(o, from, to);
    }
    return result;
}
