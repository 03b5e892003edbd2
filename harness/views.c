/*
 * views.c - scopes and threads of a replay: entering and leaving views as the plan's context words
 * say. See views.h.
 */
#include "harness/views.h"

const uint64_t *prefix_read(const struct replay *r, const struct replay_thread *t,
                            const struct cursor *c, const uint64_t *p, struct prefix *prefix)
{
    *prefix = (struct prefix){.place = c->alloc_view, .free_view = c->free_view};
    for (;; p++) {
        unsigned kind = PLAN_KIND(*p);
        if (kind == PLAN_OWNER) {
            prefix->place = view_of_scope(r, t, PLAN_SLOT(*p));
            prefix->free_view = r->finds_owner ? t->view : prefix->place;
        } else if (kind == PLAN_SHARED) {
            prefix->shared = &r->slots[PLAN_SLOT(*p)];
            prefix->turn = PLAN_LOW(*p);
        } else {
            return p;
        }
    }
}

static void scope_begin(struct replay *r, struct replay_thread *t, uint32_t slot,
                        struct heap *parent)
{
    r->scope_views[slot] = NULL;
    if (r->design->scope_enter) {
        r->scope_views[slot] = r->design->scope_enter(parent);
        replay_note(r, r->scope_views[slot]);
    }
    t->scope_slot = slot;
}

static void scope_end(struct replay *r, struct replay_thread *t, uint32_t slot, uint32_t after)
{
    if (r->scope_views[slot])
        r->design->scope_exit(r->scope_views[slot]);
    r->scope_views[slot] = NULL;
    t->scope_slot = after;
}

static void thread_start(struct replay *r, struct replay_thread *t)
{
    t->view = r->base;
    t->scope_slot = 0;
    if (r->design->thread_enter) {
        t->view = r->one_view && r->only ? r->only : r->design->thread_enter(r->heap);
        replay_note(r, t->view);
        if (r->one_view) /* never in a parallel replay, whose threads share r */
            r->only = t->view;
    }
}

void context_word(struct replay *r, struct replay_thread *t, struct cursor *c, uint64_t word)
{
    uint32_t slot = PLAN_SLOT(word);
    switch (PLAN_KIND(word)) {
    case PLAN_BEGIN:
        scope_begin(r, t, slot, c->alloc_view);
        break;
    case PLAN_END:
        scope_end(r, t, slot, PLAN_LOW(word));
        break;
    case PLAN_SWITCH:
        t->scope_slot = slot;
        break;
    case PLAN_START:
        thread_start(r, t);
        break;
    case PLAN_STOP:
        if (r->design->thread_exit && !r->one_view)
            r->design->thread_exit(t->view);
        break;
    case PLAN_ARRIVE:
        if (r->arrive)
            r->arrive(r->arrive_ctx);
        return;
    default:
        return;
    }
    cursor_load(r, t, c);
}
