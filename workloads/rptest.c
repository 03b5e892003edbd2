/*
 * rptest.c - each thread replaces blocks of its own by the hundred, and every so often makes a
 * batch that another thread frees; the sizes follow one of three laws.
 *
 * Models a task system: tasks mostly work on their own memory, and now and then pass a result on.
 *
 *   a loop    of one of the threads, picked at random:
 *             1. it frees all objects in its inbox, in their order
 *             2. `replace` times it picks one of its `blocks` places at random, frees the object
 *                there, if there is one, and allocates another one for that place
 *             3. in every cross-th loop of the thread it also allocates `replace` objects and puts
 *                them into the inbox of another thread, picked at random
 *   the end   when the calls so far and the frees still due reach `ops`, each thread frees its
 *             inbox and its blocks, and ends
 *
 *   quantity            distribution
 *   size of an object   sizes=even: uniform on [min, max]
 *                       sizes=linear: the smaller of two such draws, so that the density falls
 *                       linearly to nothing at max
 *                       sizes=exp: min + a geometric with mean (max - min) / 8, but at most 1e6,
 *                       clipped at max, above which e^-8 of them would be
 *
 * With several threads and cross = c, one object of c + 1 is passed on, and freed by another thread
 * than the one that allocated it; all others are freed where they were allocated. cross=0: none is
 * passed on.
 *
 * Which design it hurts: those whose frees across threads are expensive, against the same load with
 * cross=0; and, with large max, those that go to the kernel for what is larger than a limit.
 *
 * Threads: 0 .. threads - 1. No scopes. Clock: an op takes 100 ns. Sites: 1 own, 2 passed on.
 *
 * Source: Jansson's benchmark for the rpmalloc library, after the description of its options, and
 * of rptest in the mimalloc-bench collection.
 *
 * What it cannot tell: throughput over several cores, which the original measures, as long as the
 * trace is replayed serially.
 */
#include <stdlib.h>

#include "workloads/lib/dist.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_THREADS 64
#define EMPTY       UINT64_MAX
#define MEAN_PART   8       /* of the range, with sizes=exp */
#define MOST_MEAN   1000000 /* of dist_geometric */

enum { SITE_OWN = 1, SITE_PASSED };
enum { SIZES_EVEN, SIZES_LINEAR, SIZES_EXP };

struct rptest_options {
    uint64_t ops, threads, blocks, replace, cross, min, max;
    unsigned sizes;
};

#define FIELD(name) offsetof(struct rptest_options, name)
static const struct option rptest_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL, "calls in the trace, about"},
    {"threads", OPTION_COUNT, FIELD(threads), "4", 1, MAX_THREADS, NULL, "threads"},
    {"blocks", OPTION_COUNT, FIELD(blocks), "5k", 1, 1e7, NULL, "places of a thread"},
    {"replace", OPTION_COUNT, FIELD(replace), "200", 1, 1e6, NULL,
     "objects replaced in a loop, and objects passed on at once"},
    {"cross", OPTION_COUNT, FIELD(cross), "2", 0, 1e6, NULL,
     "loops of a thread from one batch passed on to the next; 0 = none is"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "8000", 1, 1 << 30, NULL, "largest object, bytes"},
    {"sizes", OPTION_CHOICE, FIELD(sizes), "linear", 0, 0, "even|linear|exp",
     "distribution of the sizes between min and max"},
    {0},
};
#undef FIELD

struct worker {
    uint64_t *places, loops;
    struct ids inbox;
};

struct state {
    struct emit e;
    const struct rptest_options *o;
    struct rng schedule, size, place;
    struct dist above; /* bytes above min */
    struct worker workers[MAX_THREADS];
    uint64_t live;
};

static uint64_t alloc_object(struct state *s, unsigned thread, unsigned site)
{
    uint64_t above = dist_draw(&s->above, &s->size);
    if (s->o->sizes == SIZES_LINEAR) {
        uint64_t other = dist_draw(&s->above, &s->size);
        above = other < above ? other : above;
    }
    s->live++;
    return emit_alloc(&s->e, thread, s->o->min + above, site);
}

static void free_inbox(struct state *s, unsigned thread)
{
    s->live -= s->workers[thread].inbox.n;
    emit_free_all(&s->e, thread, &s->workers[thread].inbox);
}

static void free_place(struct state *s, unsigned thread, uint64_t place)
{
    uint64_t *object = &s->workers[thread].places[place];
    if (*object == EMPTY)
        return;
    s->live--;
    emit_free(&s->e, thread, *object);
    *object = EMPTY;
}

static void pass_batch(struct state *s, unsigned thread)
{
    uint64_t other = rng_below(&s->schedule, s->o->threads - 1);
    struct ids *inbox = &s->workers[(thread + 1 + other) % s->o->threads].inbox;
    for (uint64_t i = 0; i < s->o->replace && !s->e.failed; i++)
        ids_push(&s->e, inbox, alloc_object(s, thread, SITE_PASSED));
}

static void loop(struct state *s, unsigned thread)
{
    struct worker *w = &s->workers[thread];
    free_inbox(s, thread);
    for (uint64_t i = 0; i < s->o->replace && !s->e.failed; i++) {
        uint64_t place = rng_below(&s->place, s->o->blocks);
        free_place(s, thread, place);
        w->places[place] = alloc_object(s, thread, SITE_OWN);
    }
    w->loops++;
    if (s->o->threads > 1 && s->o->cross && w->loops % s->o->cross == 0)
        pass_batch(s, thread);
}

static void run(struct state *s)
{
    unsigned threads = (unsigned)s->o->threads;
    emit_threads_begin(&s->e, 0, threads, "worker");
    while (s->e.calls + s->live < s->o->ops && !s->e.failed)
        loop(s, (unsigned)rng_below(&s->schedule, threads));
    for (unsigned t = 0; t < threads; t++) {
        free_inbox(s, t);
        for (uint64_t i = 0; i < s->o->blocks; i++)
            free_place(s, t, i);
        emit_thread_end(&s->e, t);
    }
}

static bool prepare(struct state *s)
{
    for (unsigned t = 0; t < s->o->threads; t++) {
        uint64_t *places = s->workers[t].places = malloc(s->o->blocks * sizeof *places);
        for (uint64_t i = 0; places && i < s->o->blocks; i++)
            places[i] = EMPTY;
        if (!places)
            return false;
    }
    return true;
}

static struct dist above_min(const struct rptest_options *o)
{
    uint64_t range = o->max - o->min, mean = range / MEAN_PART;
    if (o->sizes != SIZES_EXP)
        return dist_uniform(0, range);
    return dist_geometric((double)(mean < MOST_MEAN ? mean : MOST_MEAN), 0, range);
}

static int rptest_emit(const void *options, uint64_t seed, struct trace_writer *out,
                       struct error *err)
{
    const struct rptest_options *o = options;
    if (o->min > o->max)
        return error_set(err, "rptest: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .schedule = rng_stream(seed, 0),
        .size = rng_stream(seed, 1),
        .place = rng_stream(seed, 2),
        .above = above_min(o),
    };
    static const char *const sites[] = {"own", "passed on"};
    emit_site_names(&s.e, sites, sizeof sites / sizeof *sites);
    if (prepare(&s))
        run(&s);
    else
        emit_no_memory(&s.e);
    for (unsigned t = 0; t < o->threads; t++) {
        free(s.workers[t].places);
        ids_free(&s.workers[t].inbox);
    }
    return s.e.failed ? -1 : 0;
}

WORKLOAD(rptest) = {
    .name = "rptest",
    .summary = "threads replace blocks of their own and pass batches on; three laws of sizes",
    .source = "Jansson's rpmalloc benchmark, from the description of its options",
    .options_size = sizeof(struct rptest_options),
    .options = rptest_rows,
    .emit = rptest_emit,
};
