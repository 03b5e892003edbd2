/*
 * verify_parallel.c - the oracle of a parallel replay: recorded threads on real ones, each running
 * the hooks of verify.c on its ops. An object that is freed before it was made, by a stale pointer
 * or twice is found by its slot; two live objects that overlap by the shadow, which all threads
 * share; what another thread wrote into an object by its content. When all threads are done, what
 * is live must be what the recorded order leaves: the same objects of the same sizes.
 *
 * The heap is the one that is measured: no observing door, no virtual CPU, so that restartable
 * sequences and locks are those of the timed pass. The walk and the invariants are looked at while
 * no thread runs. Nobody ticks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/call.h"
#include "harness/verify.h"

#define PASSES 3 /* threads meet elsewhere each time */

struct live { /* what the recorded order leaves */
    void *pages;
    size_t bytes;
    const uint64_t **next; /* word, by thread */
    uint64_t *sizes;       /* by slot; 0 = nothing */
};

static const struct observe_hooks hooks = {
    .made = verify_made, .ending = verify_ending, .moving = verify_ending, .moved = verify_moved};

static struct block *blocks_of(const struct verify *v, unsigned copy)
{
    return v->blocks + v->setup->plan->slots * copy;
}

/* ---- what should be live ---- */

static const uint64_t *live_words(struct live *live, const uint64_t *p, uint32_t words)
{
    const uint64_t *end = p + words;
    while (p < end) {
        struct call call;
        unsigned kind = PLAN_KIND(*p);
        if (kind >= PLAN_OWNER) { /* of scopes and threads, and prefixes; nothing is dropped */
            p++;
            continue;
        }
        p = call_decode(p, &call);
        if (call.kind == PLAN_FREE || call.kind == PLAN_SIZED)
            live->sizes[call.slot] = 0;
        else if (call.kind != PLAN_NOP)
            live->sizes[call.slot] = call.size;
    }
    return p;
}

static bool live_find(struct live *live, const struct plan *plan)
{
    const struct plan_run *runs = (const void *)((const char *)plan + plan->runs_offset);
    const struct plan_thread *threads = (const void *)((const char *)plan + plan->threads_offset);
    live->bytes = (plan->threads + plan->slots + 1) * sizeof(uint64_t);
    live->pages =
        mmap(NULL, live->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (live->pages == MAP_FAILED)
        return false;
    live->next = live->pages;
    live->sizes = (uint64_t *)live->pages + plan->threads;
    for (uint64_t i = 0; i < plan->threads; i++)
        live->next[i] = (const void *)((const char *)plan + threads[i].words_offset);
    for (uint64_t i = 0; i < plan->main_runs; i++)
        live->next[runs[i].thread] = live_words(live, live->next[runs[i].thread], runs[i].words);
    return true;
}

static bool live_agrees(struct verify_thread *t, const struct live *live, unsigned copy)
{
    const struct verify *v = t->v;
    for (uint64_t slot = 0; slot < v->setup->plan->slots; slot++) {
        const struct block *block = &blocks_of(v, copy)[slot];
        uint64_t there = block->extent ? block->size : 0;
        if (there != live->sizes[slot])
            return verify_refuse(t, NULL,
                                 "slot %llu holds %llu bytes (0: nothing) when all threads are "
                                 "done, in the recorded order %llu",
                                 (unsigned long long)slot, (unsigned long long)there,
                                 (unsigned long long)live->sizes[slot]);
    }
    return true;
}

/* ---- the replay ---- */

static bool result_take(struct verify_thread *t, struct replay *r, enum observe_result result)
{
    if (result == OBSERVE_DONE)
        return true;
    if (result == OBSERVE_NO_MEMORY)
        verify_exhausted(t);
    replay_note(r, NULL); /* nobody waits for this thread any more */
    return false;
}

/* What was live at the start, or the epilogue. */
static bool oracle_runs(void *ctx, struct replay *r, unsigned copy, uint64_t from, uint64_t to)
{
    struct verify *v = ctx;
    struct verify_thread t = {.v = v,
                              .blocks = blocks_of(v, copy),
                              .o = {.replay = *r, .hooks = &hooks, .ctx = &t},
                              .where = "start or end, "};
    return result_take(&t, r, observe_runs(&t.o, from, to));
}

static bool oracle_thread(void *ctx, struct replay *r, unsigned copy, uint32_t thread,
                          const uint64_t *end)
{
    struct verify *v = ctx;
    char where[32];
    struct verify_thread t = {
        .v = v, .blocks = blocks_of(v, copy), .o = {.hooks = &hooks, .ctx = &t}, .where = where};
    snprintf(where, sizeof where, "thread %u, ", thread);
    return result_take(&t, r, observe_thread(&t.o, r, thread, end));
}

static bool oracle_pass(struct verify_thread *t, struct parallel *p, const struct live *live)
{
    const struct verify *v = t->v;
    if (!verify_heap(t) || !parallel_begin(p) || !parallel_run(p) || !verify_heap(t))
        return false;
    for (unsigned copy = 0; copy < v->setup->parallel.copies; copy++)
        if (!live_agrees(t, live, copy))
            return false;
    return parallel_end(p) && verify_heap(t);
}

static bool oracle_passes(struct verify_thread *t, struct parallel *p)
{
    struct live live;
    bool good = live_find(&live, t->v->setup->plan);
    if (!good) {
        outcome_fail(t->v->setup->outcome, OUTCOME_OOM, "no memory for the oracle's tables: %s",
                     strerror(errno));
        return false;
    }
    for (int i = 0; i < PASSES && good; i++)
        good = oracle_pass(t, p, &live);
    munmap(live.pages, live.bytes);
    return good;
}

void verify_parallel(struct verify *v)
{
    const struct cell_setup *setup = v->setup;
    const struct parallel_loop loop = {.runs = oracle_runs, .thread = oracle_thread, .ctx = v};
    struct verify_thread t = {.v = v, .where = "between passes, "};
    struct error err;
    if (!cell_heap_open(&v->h, setup, false))
        return;
    struct parallel *p =
        parallel_open(setup->plan, v->design, v->h.heap, TOUCH_NONE, &setup->parallel, &err);
    if (!p) {
        outcome_fail(setup->outcome, OUTCOME_NOT_APPLICABLE, "%s", err.text);
        return;
    }
    parallel_loop_set(p, &loop);
    bool good = oracle_passes(&t, p);
    parallel_close(p);
    if (good)
        verify_end(v);
    else if (setup->outcome->status == OUTCOME_NONE) /* a pass that could not begin */
        verify_exhausted(&t);
}
