/*
 * random.c - a steady number of live objects, allocated and freed in random order.
 *
 * Models no program. It is the plain load that replay loops and free lists are timed with: nothing
 * about the next op can be guessed from the last one, every object is as likely to die as any
 * other, and nothing ends together.
 *
 *   first    `live` objects are allocated (part of `ops`)
 *   then     order=random: each op is an alloc or a free with probability 1/2, so the number of
 *            live objects walks at random; at 10 % (at least one object) below or above `live`
 *            the walk is turned back
 *            order=alternate: alloc, free, alloc, free, ..: `live` and `live` + 1 take turns
 *   a free   takes each live object with the same probability; lifetimes, counted in frees, are
 *            therefore geometric with mean `live`
 *   the end  what is live stays live; the replay's epilogue frees it
 *
 *   quantity               distribution
 *   size of an object      sizes=uniform: every integer of [min, max] alike; mean
 *                          (min + max) / 2, by default 200 bytes
 *                          sizes=log: log-uniform (dist.h), each octave alike
 *
 * One thread, no scopes, no clock.
 *
 * Source: the random equilibrium of Knuth, The Art of Computer Programming 1, section 2.5 (1968).
 * Why its results do not carry over to programs: Wilson, Johnstone, Neely & Boles, "Dynamic Storage
 * Allocation: A Survey and Critical Review", section 2 (IWMM 1995).
 *
 * What it cannot tell: how a design fares on a program. Programs have phases, favour few sizes, and
 * free what they allocated together at the same time; fragmentation measured here is neither a
 * bound nor an average of theirs.
 */
#include <stdlib.h>

#include "workloads/lib/dist.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/workload.h"

enum { ORDER_RANDOM, ORDER_ALTERNATE };
enum { SIZES_UNIFORM, SIZES_LOG };

struct random_options {
    uint64_t ops, live, min, max;
    unsigned order, sizes;
};

#define FIELD(name) offsetof(struct random_options, name)
static const struct option random_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL, "calls in the trace"},
    {"live", OPTION_COUNT, FIELD(live), "100k", 1, 1e8, NULL, "live objects, once filled"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "384", 1, 1 << 30, NULL, "largest object, bytes"},
    {"order", OPTION_CHOICE, FIELD(order), "random", 0, 0, "random|alternate",
     "how allocs and frees follow each other"},
    {"sizes", OPTION_CHOICE, FIELD(sizes), "uniform", 0, 0, "uniform|log",
     "distribution of the sizes between min and max"},
    {0},
};
#undef FIELD

struct state {
    struct emit e;
    struct rng order, victim, size;
    struct dist sizes;
    struct ids live;
};

static void alloc_one(struct state *s)
{
    ids_push(&s->e, &s->live, emit_alloc(&s->e, 0, dist_draw(&s->sizes, &s->size), 0));
}

static void free_one(struct state *s)
{
    emit_free(&s->e, 0, ids_take(&s->live, rng_below(&s->victim, s->live.n)));
}

static void run(struct state *s, const struct random_options *o)
{
    uint64_t slack = o->live / 10 ? o->live / 10 : 1;
    while (s->live.n < o->live && s->e.calls < o->ops && !s->e.failed)
        alloc_one(s);
    while (s->e.calls < o->ops && !s->e.failed) {
        bool alloc;
        if (o->order == ORDER_ALTERNATE)
            alloc = s->live.n <= o->live;
        else if (s->live.n <= o->live - slack || s->live.n >= o->live + slack)
            alloc = s->live.n < o->live;
        else
            alloc = rng_next(&s->order) >> 63;
        if (alloc)
            alloc_one(s);
        else
            free_one(s);
    }
}

static int random_emit(const void *options, uint64_t seed, struct trace_writer *out,
                       struct error *err)
{
    const struct random_options *o = options;
    if (o->min > o->max)
        return error_set(err, "random: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err},
        .order = rng_stream(seed, 0),
        .victim = rng_stream(seed, 1),
        .size = rng_stream(seed, 2),
        .sizes =
            o->sizes == SIZES_LOG ? dist_log_uniform(o->min, o->max) : dist_uniform(o->min, o->max),
    };
    run(&s, o);
    ids_free(&s.live);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(random) = {
    .name = "random",
    .summary = "a steady number of live objects in random order; the plain load of benchmarks",
    .source = "Knuth, The Art of Computer Programming 1, section 2.5 (1968)",
    .options_size = sizeof(struct random_options),
    .options = random_rows,
    .emit = random_emit,
};
