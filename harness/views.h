/*
 * views.h - which view of the heap an op uses. Shared by the fast loop (replay.c) and the observing
 * one (observe.c), so that both run the same calls in the same order.
 */
#ifndef ALLOCLAB_VIEWS_H
#define ALLOCLAB_VIEWS_H

#include "harness/replay.h"

struct cursor { /* the views of a thread while its current scope lasts */
    struct heap *alloc_view, *free_view;
};

static inline struct heap *view_of_scope(const struct replay *r, const struct replay_thread *t,
                                         uint32_t slot)
{
    struct heap *view = slot ? r->scope_views[slot] : NULL;
    return view ? view : t->view;
}

static inline void cursor_load(const struct replay *r, const struct replay_thread *t,
                               struct cursor *c)
{
    c->alloc_view = view_of_scope(r, t, t->scope_slot);
    c->free_view = r->finds_owner ? t->view : c->alloc_view;
}

struct prefix {         /* what the words before an op say of it */
    struct heap *place; /* view of the object's scope, where a realloc stays */
    struct heap *free_view;
    void **shared; /* the shared object's slots, or NULL */
    uint32_t turn;
};

/* Reads prefix words; returns the op's word. */
const uint64_t *prefix_read(const struct replay *r, const struct replay_thread *t,
                            const struct cursor *c, const uint64_t *p, struct prefix *prefix);

/* Executes BEGIN, END, SWITCH, START, STOP or ARRIVE; sets r->failed if the design has no memory for a
 * view. */
void context_word(struct replay *r, struct replay_thread *t, struct cursor *c, uint64_t word);

#endif
