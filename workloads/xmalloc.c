/*
 * xmalloc.c - some threads only allocate, others only free, and whole batches of objects pass from
 * one kind to the other.
 *
 * Models a message-passing program without the reply: after the asymmetric test of the paper below
 * and its descendants.
 *
 *   allocator   a step: one object is allocated into the thread's open batch. A batch of `batch`
 *               objects goes onto a list that all share, if fewer than `waiting` are on it; else
 *               the thread waits
 *   freer       a step: one object of the thread's batch is freed, in the order of allocation; a
 *               thread without a batch takes the newest one of the list
 *   turns       one of the threads that can run, all alike, does a burst of steps, or as many as it
 *               can
 *   the end     when the calls so far and the frees still due reach `ops`, the allocators put their
 *               open batches onto the list and end; the freers empty it and end
 *
 *   quantity             distribution
 *   steps of a burst     geometric, at least 1, mean `burst`
 *   size of an object    log-uniform on [min, max]
 *
 * All objects are freed by another thread than the one that allocated them. At most
 * batch * (waiting + allocators + freers) are live.
 *
 * Which design it hurts: thread caches that flush a few objects at a time to a locked central list,
 * as freers only fill and allocators only drain theirs; and heaps that keep what a thread frees
 * (see bleed, where the roles can move).
 *
 * Threads: first the allocators, then the freers, each begun and ended by an op. No scopes. Clock:
 * an op takes 100 ns. Site: 1 object.
 *
 * Source: Lever & Boreham, "malloc() Performance in a Multithreaded Linux Environment" (USENIX ATC,
 * FREENIX track, 2000).
 *
 * What it cannot tell: how allocators and freers slow each other down, as long as the trace is
 * replayed serially.
 */
#include <stdlib.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/turns.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_THREADS 64 /* of a kind */

struct xmalloc_options {
    uint64_t ops, allocators, freers, batch, waiting, min, max;
    double burst;
};

#define FIELD(name) offsetof(struct xmalloc_options, name)
static const struct option xmalloc_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL, "calls in the trace, about"},
    {"allocators", OPTION_COUNT, FIELD(allocators), "4", 1, MAX_THREADS, NULL,
     "threads that allocate"},
    {"freers", OPTION_COUNT, FIELD(freers), "4", 1, MAX_THREADS, NULL, "threads that free"},
    {"batch", OPTION_COUNT, FIELD(batch), "500", 1, 1e6, NULL, "objects of a batch"},
    {"waiting", OPTION_COUNT, FIELD(waiting), "32", 1, 1e6, NULL, "batches on the list, at most"},
    {"burst", OPTION_REAL, FIELD(burst), "64", 1, 10000, NULL,
     "mean steps that a thread does before another one runs"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "512", 1, 1 << 30, NULL, "largest object, bytes"},
    {0},
};
#undef FIELD

struct state {
    struct emit e;
    const struct xmalloc_options *o;
    struct turns turns;
    struct rng size;
    struct dist sizes;
    struct ids held[2 * MAX_THREADS]; /* by thread: the batch that it fills or frees */
    uint64_t freed[2 * MAX_THREADS];  /* of the batch held */
    struct ids *list;                 /* room for all that wait, and for the last open batches */
    uint64_t waiting, allocated;
    bool closed; /* the allocators have ended */
};

static bool is_allocator(const struct state *s, unsigned thread)
{
    return thread < s->o->allocators;
}

static bool can_run(const struct state *s, unsigned thread)
{
    uint64_t held = s->held[thread].n;
    if (is_allocator(s, thread))
        return !s->closed && (held < s->o->batch || s->waiting < s->o->waiting);
    return held || s->waiting;
}

static void put_batch(struct state *s, unsigned thread)
{
    s->list[s->waiting++] = s->held[thread];
    s->held[thread] = (struct ids){0};
}

static void close_allocators(struct state *s)
{
    s->closed = true;
    for (unsigned t = 0; t < s->o->allocators; t++)
        if (s->held[t].n)
            put_batch(s, t);
    emit_threads_end(&s->e, 0, (unsigned)s->o->allocators);
}

static void step_allocator(struct state *s, unsigned thread)
{
    struct ids *batch = &s->held[thread];
    if (batch->n == s->o->batch)
        put_batch(s, thread);
    ids_push(&s->e, batch, emit_alloc(&s->e, thread, dist_draw(&s->sizes, &s->size), 1));
    if (batch->n == s->o->batch && s->waiting < s->o->waiting)
        put_batch(s, thread);
    if (2 * s->e.objects >= s->o->ops)
        close_allocators(s);
}

static void step_freer(struct state *s, unsigned thread)
{
    struct ids *batch = &s->held[thread];
    if (batch->n == 0)
        *batch = s->list[--s->waiting];
    emit_free(&s->e, thread, batch->items[s->freed[thread]++]);
    if (s->freed[thread] == batch->n) {
        ids_free(batch);
        s->freed[thread] = 0;
    }
}

/* One thread always can run: the list has room, or a batch. */
static void run(struct state *s)
{
    unsigned ready[2 * MAX_THREADS], n;
    do {
        n = 0;
        for (unsigned t = 0; t < s->o->allocators + s->o->freers; t++)
            if (can_run(s, t))
                ready[n++] = t;
        uint64_t steps = 0;
        unsigned thread = n ? ready[turns_next(&s->turns, n, &steps)] : 0;
        for (; steps > 0 && can_run(s, thread) && !s->e.failed; steps--) {
            if (is_allocator(s, thread))
                step_allocator(s, thread);
            else
                step_freer(s, thread);
        }
    } while (n && !s->e.failed);
}

static int xmalloc_emit(const void *options, uint64_t seed, struct trace_writer *out,
                        struct error *err)
{
    const struct xmalloc_options *o = options;
    if (o->min > o->max)
        return error_set(err, "xmalloc: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .turns = turns_init(seed, 0, o->burst),
        .size = rng_stream(seed, 1),
        .sizes = dist_log_uniform(o->min, o->max),
        .list = calloc(o->waiting + o->allocators, sizeof *s.list),
    };
    if (!s.list)
        return emit_no_memory(&s.e);
    emit_site_name(&s.e, 1, "object");
    emit_threads_begin(&s.e, 0, (unsigned)o->allocators, "allocator");
    emit_threads_begin(&s.e, (unsigned)o->allocators, (unsigned)o->freers, "freer");
    run(&s);
    emit_threads_end(&s.e, (unsigned)o->allocators, (unsigned)o->freers);
    for (uint64_t i = 0; i < s.waiting; i++) /* only after an error */
        ids_free(&s.list[i]);
    for (unsigned t = 0; t < o->allocators + o->freers; t++)
        ids_free(&s.held[t]);
    free(s.list);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(xmalloc) = {
    .name = "xmalloc",
    .summary = "threads that only allocate pass batches to threads that only free",
    .source = "Lever & Boreham, USENIX ATC 2000",
    .options_size = sizeof(struct xmalloc_options),
    .options = xmalloc_rows,
    .emit = xmalloc_emit,
};
