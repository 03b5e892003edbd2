/*
 * prodcons.c - producers hand messages to consumers through a bounded queue: most objects are freed
 * by another thread than the one that allocated them.
 *
 * Models a pipeline (a logger, a decoder feeding a renderer, the stages of a server). Nothing runs
 * in parallel here: a scheduler, seeded like everything else, decides who does the next step, so
 * the trace is one exact order that could have happened.
 *
 *   main       allocates the queue (16 bytes a place) and, for each thread, a state of 4 KiB; it
 *              starts the threads and, after their end, frees these
 *   producer   a step: a message is allocated, header first and then its parts, and put into the
 *              queue
 *   consumer   a step: the oldest message is taken out; its parts are freed, then its header
 *   either     with probability `local` the step happens between the alloc and the free of a
 *              scratch object
 *   scheduler  picks one of the threads that can run (producers: room in the queue; consumers: a
 *              message in it), each with the same probability, and lets it do a burst of steps, or
 *              as many of them as it can
 *   the end    when the calls so far and the frees still due reach `ops`, the producers end; the
 *              consumers empty the queue and end. The trace has `ops` calls, give or take a
 *              message, and the scratch objects that emptying the queue takes
 *
 *   quantity              distribution
 *   steps of a burst      geometric, at least 1, mean `burst`
 *   parts of a message    uniform on [1, parts]
 *   size of a header      64 bytes
 *   size of a part        sizes=log: log-uniform on [min, max]; sizes=uniform: uniform there;
 *                         sizes=pareto: bounded Pareto of shape 1.2 there
 *   size of a scratch     log-uniform on [min, max]
 *
 * Threads: 0 is main, then come the producers, then the consumers; each begins and ends by an op,
 * and is named in the meta data. Clock: an op takes 200 ns. Sites: 1 queue, 2 thread state,
 * 3 header, 4 part, 5 scratch.
 *
 * Source: Larson & Krishnan, "Memory Allocation for Long-Running Server Applications" (ISMM 1998),
 * where threads free what others allocated; the producer-consumer pattern that makes the memory of
 * per-thread heaps blow up: Berger, McKinley, Blumofe & Wilson, "Hoard: A Scalable Memory Allocator
 * for Multithreaded Applications" (ASPLOS 2000).
 *
 * What it cannot tell: how threads wait for a queue. Contention, false sharing and scalability show
 * when the trace is replayed in parallel; where memory goes that another thread frees, always.
 */
#include <stdlib.h>

#include "workloads/lib/dist.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/workload.h"

#define MAX_PARTS    8
#define MAX_THREADS  64 /* of a kind */
#define HEADER_BYTES 64
#define STATE_BYTES  4096
#define PLACE_BYTES  16
#define OP_NS        200
#define BURST_MAX    100000
#define SHAPE        1.2

enum { SITE_QUEUE = 1, SITE_STATE, SITE_HEADER, SITE_PART, SITE_SCRATCH };
enum { SIZES_LOG, SIZES_UNIFORM, SIZES_PARETO };

struct prodcons_options {
    uint64_t ops, producers, consumers, queue, parts, min, max;
    double burst, local;
    unsigned sizes;
};

#define FIELD(name) offsetof(struct prodcons_options, name)
static const struct option prodcons_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL, "calls in the trace, about"},
    {"producers", OPTION_COUNT, FIELD(producers), "4", 1, MAX_THREADS, NULL, "producing threads"},
    {"consumers", OPTION_COUNT, FIELD(consumers), "4", 1, MAX_THREADS, NULL, "consuming threads"},
    {"queue", OPTION_COUNT, FIELD(queue), "1k", 1, 1e6, NULL, "places in the queue, messages"},
    {"burst", OPTION_REAL, FIELD(burst), "32", 1, 10000, NULL,
     "mean steps that a thread does before another one runs"},
    {"parts", OPTION_COUNT, FIELD(parts), "2", 1, MAX_PARTS, NULL, "most parts of a message"},
    {"local", OPTION_REAL, FIELD(local), "0.25", 0, 1, NULL,
     "part of the steps that use a scratch object"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest part, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "2k", 1, 1 << 30, NULL, "largest part, bytes"},
    {"sizes", OPTION_CHOICE, FIELD(sizes), "log", 0, 0, "log|uniform|pareto",
     "distribution of the parts' sizes between min and max"},
    {0},
};
#undef FIELD

struct message {
    uint64_t header, parts[MAX_PARTS];
    unsigned n;
};

struct state {
    struct emit e;
    const struct prodcons_options *o;
    struct rng schedule, shape, size, scratch;
    struct dist bursts, sizes, scratch_sizes;
    struct message *queue; /* a ring of o->queue places */
    uint64_t first, queued, live;
    bool closed; /* the producers have ended */
};

static uint64_t alloc_object(struct state *s, unsigned thread, uint64_t size, unsigned site)
{
    s->live++;
    return emit_alloc(&s->e, thread, size, site);
}

static void free_object(struct state *s, unsigned thread, uint64_t object)
{
    s->live--;
    emit_free(&s->e, thread, object);
}

static void produce(struct state *s, unsigned thread)
{
    struct message *m = &s->queue[(s->first + s->queued++) % s->o->queue];
    m->header = alloc_object(s, thread, HEADER_BYTES, SITE_HEADER);
    m->n = (unsigned)rng_between(&s->shape, 1, s->o->parts);
    for (unsigned i = 0; i < m->n; i++)
        m->parts[i] = alloc_object(s, thread, dist_draw(&s->sizes, &s->size), SITE_PART);
}

static void consume(struct state *s, unsigned thread)
{
    const struct message *m = &s->queue[s->first];
    s->first = (s->first + 1) % s->o->queue;
    s->queued--;
    for (unsigned i = 0; i < m->n; i++)
        free_object(s, thread, m->parts[i]);
    free_object(s, thread, m->header);
}

static bool is_producer(const struct state *s, unsigned thread)
{
    return thread <= s->o->producers;
}

static bool can_run(const struct state *s, unsigned thread)
{
    if (is_producer(s, thread))
        return !s->closed && s->queued < s->o->queue;
    return s->queued > 0;
}

static void step(struct state *s, unsigned thread)
{
    bool local = rng_chance(&s->scratch, s->o->local);
    uint64_t scratch = 0;
    if (local)
        scratch = alloc_object(s, thread, dist_draw(&s->scratch_sizes, &s->scratch), SITE_SCRATCH);
    if (is_producer(s, thread))
        produce(s, thread);
    else
        consume(s, thread);
    if (local)
        free_object(s, thread, scratch);
}

static unsigned pick_thread(struct state *s)
{
    unsigned ready[2 * MAX_THREADS], n = 0;
    for (unsigned t = 1; t <= s->o->producers + s->o->consumers; t++)
        if (can_run(s, t))
            ready[n++] = t;
    return ready[rng_below(&s->schedule, n)];
}

static void close_producers(struct state *s)
{
    s->closed = true;
    emit_threads_end(&s->e, 1, (unsigned)s->o->producers);
}

/* One thread always can run: the queue has room, or a message. */
static void run(struct state *s)
{
    while ((!s->closed || s->queued) && !s->e.failed) {
        unsigned thread = pick_thread(s);
        uint64_t steps = dist_draw(&s->bursts, &s->schedule);
        for (; steps > 0 && can_run(s, thread); steps--) {
            step(s, thread);
            if (!s->closed && s->e.calls + s->live >= s->o->ops)
                close_producers(s);
        }
    }
}

static void name_threads(struct state *s)
{
    unsigned producers = (unsigned)s->o->producers;
    emit_thread_name(&s->e, 0, "main");
    for (unsigned t = 1; t <= producers + s->o->consumers; t++) {
        char name[32];
        bool first = is_producer(s, t);
        snprintf(name, sizeof name, "%s-%u", first ? "producer" : "consumer",
                 first ? t - 1 : t - 1 - producers);
        emit_thread_name(&s->e, t, name);
    }
    static const char *const sites[] = {"queue", "state", "header", "part", "scratch"};
    emit_site_names(&s->e, sites, sizeof sites / sizeof *sites);
}

static void run_main(struct state *s)
{
    unsigned threads = (unsigned)(s->o->producers + s->o->consumers);
    uint64_t states[1 + 2 * MAX_THREADS];
    emit_thread_begin(&s->e, 0);
    uint64_t queue = alloc_object(s, 0, s->o->queue * PLACE_BYTES, SITE_QUEUE);
    for (unsigned t = 1; t <= threads; t++) {
        states[t] = emit_calloc(&s->e, 0, STATE_BYTES, SITE_STATE);
        s->live++;
        emit_thread_begin(&s->e, t);
    }
    run(s);
    emit_threads_end(&s->e, (unsigned)s->o->producers + 1, (unsigned)s->o->consumers);
    for (unsigned t = 1; t <= threads; t++)
        free_object(s, 0, states[t]);
    free_object(s, 0, queue);
    emit_thread_end(&s->e, 0);
}

static struct dist part_sizes(const struct prodcons_options *o)
{
    if (o->sizes == SIZES_UNIFORM)
        return dist_uniform(o->min, o->max);
    if (o->sizes == SIZES_PARETO)
        return dist_pareto(SHAPE, o->min, o->max);
    return dist_log_uniform(o->min, o->max);
}

static int prodcons_emit(const void *options, uint64_t seed, struct trace_writer *out,
                         struct error *err)
{
    const struct prodcons_options *o = options;
    if (o->min > o->max)
        return error_set(err, "prodcons: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .schedule = rng_stream(seed, 0),
        .shape = rng_stream(seed, 1),
        .size = rng_stream(seed, 2),
        .scratch = rng_stream(seed, 3),
        .bursts = dist_geometric(o->burst, 1, BURST_MAX),
        .sizes = part_sizes(o),
        .scratch_sizes = dist_log_uniform(o->min, o->max),
        .queue = calloc(o->queue, sizeof *s.queue),
    };
    if (!s.queue)
        return emit_no_memory(&s.e);
    name_threads(&s);
    run_main(&s);
    free(s.queue);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(prodcons) = {
    .name = "prodcons",
    .summary = "producers and consumers on a bounded queue: objects freed by another thread",
    .source = "Larson & Krishnan, ISMM 1998; Berger et al., Hoard, ASPLOS 2000",
    .options_size = sizeof(struct prodcons_options),
    .options = prodcons_rows,
    .emit = prodcons_emit,
};
