/*
 * latency_replay.c - the loop of the latency pass. It decodes an op, looks up the function, reads
 * the clock, makes the one call, reads the clock again, and then touches the object and notes the
 * time. So the clock's reads stand around the call alone: the write to a new object, which may
 * fault its page in, is the program's and not in it.
 */
#include "allocators/lib/generic.h"
#include "harness/call.h"
#include "harness/latency.h"
#include "harness/ticks.h"
#include "harness/views.h"

const char *const latency_kind_names[] = {"alloc", "calloc",      "realloc",
                                          "free",  "scope_enter", "scope_exit"};

static enum latency_kind kind_of(const struct call *call)
{
    switch (call->kind) {
    case PLAN_ALLOC:
        return LATENCY_ALLOC;
    case PLAN_CALLOC:
        return LATENCY_CALLOC;
    case PLAN_RARE_REALLOC:
        return LATENCY_REALLOC;
    default:
        return LATENCY_FREE;
    }
}

/* The call and its time. What it needs is in registers when the clock is read first. */
static uint64_t call_time(struct replay *r, const struct cursor *c, const struct prefix *prefix,
                          const struct call *call, void **made)
{
    const struct allocator *a = r->design;
    void *(*const alloc)(struct heap *, size_t, size_t) = a->alloc;
    void (*const free)(struct heap *, void *, size_t) = a->free;
    void *const p = *made;
    const size_t known = call->kind == PLAN_SIZED || r->size_mask ? call->size : 0;
    uint64_t start;
    switch (call->kind) {
    case PLAN_ALLOC:
        start = ticks_begin();
        *made = alloc(c->alloc_view, call->size, call->align);
        return ticks_end() - start;
    case PLAN_CALLOC:
        start = ticks_begin();
        *made = generic_zalloc(a, c->alloc_view, call->size, call->align);
        return ticks_end() - start;
    case PLAN_RARE_REALLOC:
        start = ticks_begin();
        *made = generic_realloc(a, prefix->free_view, prefix->place, p, call->old, call->size,
                                call->align);
        return ticks_end() - start;
    default:
        start = ticks_begin();
        free(prefix->free_view, p, known);
        return ticks_end() - start;
    }
}

/* One op; false if memory ran out. `timing`: it belongs to the trace. */
static bool op_run(struct latency_replay *l, const struct cursor *c, const struct prefix *prefix,
                   const struct call *call, bool timing)
{
    struct replay *r = l->replay;
    enum latency_kind kind = kind_of(call);
    void **slot = &r->slots[call->slot], *made = *slot;
    bool timed = timing && l->op % l->every == 0;
    if (timed && l->around)
        l->around(l->ctx, l->op, true);
    uint64_t ticks = call_time(r, c, prefix, call, &made);
    if (timed && l->around)
        l->around(l->ctx, l->op, false);
    if (!made)
        return false;
    if (timed) {
        l->timed++;
        l->note(l->ctx, kind, l->op, call->size, ticks);
    }
    if (kind == LATENCY_FREE)
        return true;
    *slot = made;
    l->places = (l->places ^ (uintptr_t)made) * UINT64_C(0x100000001b3);
    if (kind != LATENCY_REALLOC)
        touch_write(made, call->size, r->touch);
    return true;
}

static bool context_run(struct latency_replay *l, struct replay_thread *t, struct cursor *c,
                        uint64_t word, bool timing)
{
    unsigned kind = PLAN_KIND(word);
    uint64_t start = ticks_begin();
    context_word(l->replay, t, c, word);
    uint64_t ticks = ticks_end() - start;
    if (timing && l->replay->design->scope_enter && (kind == PLAN_BEGIN || kind == PLAN_END))
        l->note(l->ctx, kind == PLAN_BEGIN ? LATENCY_SCOPE_ENTER : LATENCY_SCOPE_EXIT, l->op, 0,
                ticks);
    return !replay_failed(l->replay);
}

static bool words_run(struct latency_replay *l, struct replay_thread *t, uint32_t words,
                      bool timing)
{
    struct replay *r = l->replay;
    const uint64_t *p = t->next, *const end = p + words;
    struct cursor c;
    cursor_load(r, t, &c);
    while (p < end) {
        struct prefix prefix;
        struct call call;
        p = prefix_read(r, t, &c, p, &prefix);
        unsigned kind = PLAN_KIND(*p);
        if (kind >= PLAN_BEGIN && kind <= PLAN_STOP) {
            if (!context_run(l, t, &c, *p++, timing))
                return false;
            continue;
        }
        p = call_decode(p, &call);
        if (call.kind == PLAN_NOP || call.kind == PLAN_DROP)
            l->unserved += timing;
        else if (!op_run(l, &c, &prefix, &call, timing))
            return false;
        l->op += timing;
    }
    t->next = p;
    return true;
}

bool latency_replay_run(struct latency_replay *l)
{
    struct replay *r = l->replay;
    const struct plan *plan = r->plan;
    const struct plan_run *runs = (const void *)((const char *)plan + plan->runs_offset);
    l->op = l->timed = l->unserved = l->places = 0;
    if (!replay_pass_begin(r))
        return false;
    for (uint64_t i = 0; i < plan->runs; i++)
        if (!words_run(l, &r->threads[runs[i].thread], runs[i].words,
                       i >= plan->start_runs && i < plan->main_runs))
            return false;
    replay_pass_end(r);
    return true;
}
