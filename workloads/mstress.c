/*
 * mstress.c - generations of threads that allocate, keep some objects to their end, and swap others
 * through an array that all share, which outlives them.
 *
 * Models a server's mixture: objects of powers of two, most of them short-lived, some that stay
 * with their thread, and some that wander to other threads, across the threads' ends.
 *
 *   generation  `threads` new threads do `steps` steps each: one of those with steps left, all
 *               alike, does a burst of them, and so on. Then each thread, in their order, frees its
 *               own objects, the retained ones first, and ends
 *   a step      with probability 1/2, or if the thread has none to free, an object is allocated.
 *               It is retained with probability `retain`, else it is passing: to be freed or
 *               swapped. Otherwise a passing object of the thread, picked at random, is freed.
 *               Then, with probability `transfer`, a passing one changes places with what is in a
 *               random place of the shared array, an object or nothing
 *   the end     after `generations` of them main frees what is in the shared array
 *
 *   quantity             distribution
 *   steps of a burst     geometric, at least 1, mean `burst`
 *   size of an object    min * 2^k as far as that is within max: k geometric with mean 2, at least
 *                        0, clipped at the largest such k
 *
 * Which design it hurts: heaps that belong to threads, since objects in the shared array outlive
 * the heap's owner and are freed by anyone; the fewer they are, the more sparsely they hold its
 * pages.
 *
 * Threads: 0 is main, the others are numbered as they begin. No scopes. Clock: an op takes 100 ns.
 * Sites: 1 passing, 2 retained.
 *
 * Source: Leijen, Zorn & de Moura, "Mimalloc: Free List Sharding in Action" (APLAS 2019), and the
 * description of mstress in the mimalloc-bench collection, which goes with that paper.
 *
 * What it cannot tell: contention, as long as the trace is replayed serially; and the contents of
 * objects, by which the original finds memory that was given out twice, are the oracle's matter.
 */
#include <stdlib.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/turns.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_THREADS 64
#define NOTHING     UINT64_MAX

enum { SITE_PASSING = 1, SITE_RETAINED };

struct mstress_options {
    uint64_t generations, threads, steps, shared, min, max;
    double retain, transfer, burst;
};

#define FIELD(name) offsetof(struct mstress_options, name)
static const struct option mstress_rows[] = {
    {"generations", OPTION_COUNT, FIELD(generations), "25", 1, 1e6, NULL,
     "times that all threads start anew"},
    {"threads", OPTION_COUNT, FIELD(threads), "8", 1, MAX_THREADS, NULL, "threads at a time"},
    {"steps", OPTION_COUNT, FIELD(steps), "4k", 1, 1e8, NULL, "steps of a thread"},
    {"shared", OPTION_COUNT, FIELD(shared), "1k", 1, 1e7, NULL, "places in the shared array"},
    {"retain", OPTION_REAL, FIELD(retain), "0.05", 0, 1, NULL,
     "part of the objects that stays until the thread's end"},
    {"transfer", OPTION_REAL, FIELD(transfer), "0.1", 0, 1, NULL,
     "part of the steps that swap an object with the shared array"},
    {"burst", OPTION_REAL, FIELD(burst), "32", 1, 10000, NULL,
     "mean steps that a thread does before another one runs"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "4k", 1, 1 << 30, NULL, "largest object, bytes"},
    {0},
};
#undef FIELD

struct worker {
    struct ids passing, retained;
    uint64_t steps; /* to do */
};

struct state {
    struct emit e;
    const struct mstress_options *o;
    struct turns turns;
    struct rng fate, size, victim;
    struct dist powers;
    struct worker workers[MAX_THREADS];
    uint64_t *shared;
    unsigned first_thread; /* of this generation */
};

static void swap_one(struct state *s, struct worker *w)
{
    if (w->passing.n == 0)
        return;
    uint64_t i = rng_below(&s->victim, w->passing.n);
    uint64_t *place = &s->shared[rng_below(&s->victim, s->o->shared)], found = *place;
    *place = w->passing.items[i];
    if (found == NOTHING)
        ids_take(&w->passing, i);
    else
        w->passing.items[i] = found;
}

static void step(struct state *s, struct worker *w, unsigned thread)
{
    bool alloc = rng_next(&s->fate) >> 63;
    if (alloc || w->passing.n == 0) {
        bool retained = rng_chance(&s->fate, s->o->retain);
        uint64_t size = s->o->min << dist_draw(&s->powers, &s->size);
        ids_push(&s->e, retained ? &w->retained : &w->passing,
                 emit_alloc(&s->e, thread, size, retained ? SITE_RETAINED : SITE_PASSING));
    } else {
        emit_free(&s->e, thread, ids_take(&w->passing, rng_below(&s->victim, w->passing.n)));
    }
    if (rng_chance(&s->fate, s->o->transfer))
        swap_one(s, w);
    w->steps--;
}

static void run_generation(struct state *s)
{
    unsigned busy[MAX_THREADS], threads = (unsigned)s->o->threads, n = threads;
    for (unsigned i = 0; i < threads; i++) {
        busy[i] = i;
        s->workers[i].steps = s->o->steps;
        emit_thread_begin(&s->e, s->first_thread + i);
    }
    while (n && !s->e.failed) {
        uint64_t steps;
        unsigned turn = turns_next(&s->turns, n, &steps), i = busy[turn];
        for (; steps > 0 && s->workers[i].steps > 0; steps--)
            step(s, &s->workers[i], s->first_thread + i);
        if (s->workers[i].steps == 0)
            busy[turn] = busy[--n];
    }
    for (unsigned i = 0; i < threads; i++) {
        emit_free_all(&s->e, s->first_thread + i, &s->workers[i].retained);
        emit_free_all(&s->e, s->first_thread + i, &s->workers[i].passing);
        emit_thread_end(&s->e, s->first_thread + i);
    }
    s->first_thread += threads;
}

static void run(struct state *s)
{
    for (uint64_t i = 0; i < s->o->shared; i++)
        s->shared[i] = NOTHING;
    emit_thread_begin(&s->e, 0);
    for (uint64_t i = 0; i < s->o->generations && !s->e.failed; i++)
        run_generation(s);
    for (uint64_t i = 0; i < s->o->shared; i++)
        if (s->shared[i] != NOTHING)
            emit_free(&s->e, 0, s->shared[i]);
    emit_thread_end(&s->e, 0);
}

static int mstress_emit(const void *options, uint64_t seed, struct trace_writer *out,
                        struct error *err)
{
    const struct mstress_options *o = options;
    if (o->min > o->max)
        return error_set(err, "mstress: min is greater than max: swap them");
    uint64_t power = 0;
    while (o->min << (power + 1) <= o->max)
        power++;
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .turns = turns_init(seed, 0, o->burst),
        .fate = rng_stream(seed, 1),
        .size = rng_stream(seed, 2),
        .victim = rng_stream(seed, 3),
        .powers = dist_geometric(2, 0, power),
        .shared = malloc(o->shared * sizeof *s.shared),
        .first_thread = 1,
    };
    if (!s.shared)
        return emit_no_memory(&s.e);
    static const char *const sites[] = {"passing", "retained"};
    emit_site_names(&s.e, sites, sizeof sites / sizeof *sites);
    emit_thread_name(&s.e, 0, "main");
    run(&s);
    for (unsigned i = 0; i < o->threads; i++) {
        ids_free(&s.workers[i].passing);
        ids_free(&s.workers[i].retained);
    }
    free(s.shared);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(mstress) = {
    .name = "mstress",
    .summary = "generations of threads swap random objects through an array that outlives them",
    .source = "Leijen, Zorn & de Moura, Mimalloc, APLAS 2019, and mimalloc-bench",
    .options_size = sizeof(struct mstress_options),
    .options = mstress_rows,
    .emit = mstress_emit,
};
