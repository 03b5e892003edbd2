/*
 * observe.h - the observing replay: the same calls in the same order as the fast loop, with a hook
 * before and after each. The memory pass and the oracle are two sets of hooks.
 */
#ifndef ALLOCLAB_OBSERVE_H
#define ALLOCLAB_OBSERVE_H

#include "harness/replay.h"

struct object_at { /* an object as the hooks see it */
    uint32_t slot; /* identifies it while it lives */
    void *p;
    size_t size, align;
    uint32_t thread;   /* whose call it is */
    bool zeroed;       /* asked for zeroed */
    struct heap *view; /* that usable() takes for it */
};

/* Every hook returns false to stop the replay; NULL hooks are not called. */
struct observe_hooks {
    bool (*made)(void *ctx, const struct object_at *object);
    bool (*ending)(void *ctx, const struct object_at *object); /* before free, or a drop */
    bool (*moving)(void *ctx, const struct object_at *object); /* before a realloc: as it was */
    bool (*moved)(void *ctx, const struct object_at *object, size_t old); /* after: as it is */
    bool (*step)(void *ctx, uint64_t op); /* after each call of the trace: op = calls so far */
};

struct observe {
    struct replay replay; /* opened by the caller; unused by observe_thread() */
    const struct observe_hooks *hooks;
    void *ctx;
    uint64_t op;     /* calls so far: the virtual clock */
    uint32_t thread; /* whose run is being replayed */
};

/* NO_MEMORY: or the ring that the words come through has failed. */
enum observe_result { OBSERVE_DONE, OBSERVE_STOPPED, OBSERVE_NO_MEMORY };

/* Replays the runs [from, to) serially. */
enum observe_result observe_runs(struct observe *o, uint64_t from, uint64_t to);

/* The same with the parts from first to last of a pass, wherever their words are. */
enum observe_result observe_parts(struct observe *o, enum plan_part first, enum plan_part last);

/* One recorded thread's words up to `end`, while other threads run theirs, as replay_thread() does;
 * each with an observe of its own, on a common replay. Who stops must say so there
 * (replay_note()), or the others wait for ever. */
enum observe_result observe_thread(struct observe *o, struct replay *r, uint32_t thread,
                                   const uint64_t *end);

#endif
