/*
 * bleed.c - one thread allocates and never frees, the others free and never allocate; from time to
 * time the roles may move on.
 *
 * Models an acceptor that makes what workers consume, or a reader feeding a pool. What one thread
 * allocates bleeds into the others.
 *
 *   a turn      the producer allocates a batch of `batch` objects. When more than `lag` batches
 *               wait, one of the other threads, picked at random, frees the oldest batch, first
 *               object first
 *   a shift     with shift > 0: after every `shift` batches the other threads free all batches that
 *               wait, each picked at random, and the next thread is the producer
 *   the end     when the calls so far and the frees still due reach `ops`, the other threads free
 *               what waits, and all end
 *
 * At most (lag + 1) * batch objects are live, however long the trace is. Where memory goes by the
 * design's rule for a free, with T threads:
 *
 *   to the freeing thread's heap (pure private heaps)    shift=0: it is never used again; committed
 *                                                        bytes grow with the trace, without bound
 *   back to the owner's heap (private heaps, ownership)  shift=0: bounded by the live bytes;
 *                                                        shift>0: each of the T threads has been
 *                                                        the producer once, T times as much
 *   beyond a share of free memory to a global heap       bounded in both cases, by the live bytes
 *                                                        and a constant for each thread
 *
 *   quantity             distribution
 *   size of an object    log-uniform on [min, max]
 *
 * Threads 0 .. T - 1, each begun and ended by an op; thread 0 is the first producer. No scopes.
 * Clock: an op takes 100 ns. Site: 1 object.
 *
 * Source: the two kinds of blowup in Berger, McKinley, Blumofe & Wilson, "Hoard: A Scalable Memory
 * Allocator for Multithreaded Applications" (ASPLOS 2000), section 2.2; bleeding: Larson &
 * Krishnan, "Memory Allocation for Long-Running Server Applications" (ISMM 1998).
 *
 * What it cannot tell: the cost of contention on the owner's heap, as long as the trace is replayed
 * serially.
 */
#include "workloads/lib/dist.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_THREADS 64

struct bleed_options {
    uint64_t ops, threads, batch, lag, shift, min, max;
};

#define FIELD(name) offsetof(struct bleed_options, name)
static const struct option bleed_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL, "calls in the trace, about"},
    {"threads", OPTION_COUNT, FIELD(threads), "4", 2, MAX_THREADS, NULL, "threads"},
    {"batch", OPTION_COUNT, FIELD(batch), "100", 1, 1e6, NULL, "objects handed over at once"},
    {"lag", OPTION_COUNT, FIELD(lag), "10", 0, 1e6, NULL, "batches that wait before one is freed"},
    {"shift", OPTION_COUNT, FIELD(shift), "0", 0, 1e9, NULL,
     "batches after which the next thread produces; 0 = never"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "1k", 1, 1 << 30, NULL, "largest object, bytes"},
    {0},
};
#undef FIELD

/* Nothing else is allocated, so batch k is the objects k * batch and those that follow. */
struct state {
    struct emit e;
    const struct bleed_options *o;
    struct rng size, consumer;
    struct dist sizes;
    uint64_t produced, consumed; /* batches */
    unsigned producer;
};

static void produce(struct state *s)
{
    for (uint64_t i = 0; i < s->o->batch; i++)
        emit_alloc(&s->e, s->producer, dist_draw(&s->sizes, &s->size), 1);
    s->produced++;
}

static void consume(struct state *s)
{
    uint64_t other = rng_below(&s->consumer, s->o->threads - 1);
    unsigned thread = (unsigned)((s->producer + 1 + other) % s->o->threads);
    for (uint64_t i = 0; i < s->o->batch; i++)
        emit_free(&s->e, thread, s->consumed * s->o->batch + i);
    s->consumed++;
}

static void run(struct state *s)
{
    const struct bleed_options *o = s->o;
    emit_threads_begin(&s->e, 0, (unsigned)o->threads, "worker");
    while (2 * s->e.objects < o->ops && !s->e.failed) {
        produce(s);
        bool shifts = o->shift && s->produced % o->shift == 0;
        while (s->produced - s->consumed > (shifts ? 0 : o->lag) && !s->e.failed)
            consume(s);
        if (shifts)
            s->producer = (s->producer + 1) % (unsigned)o->threads;
    }
    while (s->consumed < s->produced && !s->e.failed)
        consume(s);
    emit_threads_end(&s->e, 0, (unsigned)o->threads);
}

static int bleed_emit(const void *options, uint64_t seed, struct trace_writer *out,
                      struct error *err)
{
    const struct bleed_options *o = options;
    if (o->min > o->max)
        return error_set(err, "bleed: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .size = rng_stream(seed, 0),
        .consumer = rng_stream(seed, 1),
        .sizes = dist_log_uniform(o->min, o->max),
    };
    emit_site_name(&s.e, 1, "object");
    run(&s);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(bleed) = {
    .name = "bleed",
    .summary = "one thread allocates, the others free: thread heaps blow up",
    .source = "Berger et al., Hoard, section 2.2, ASPLOS 2000; Larson & Krishnan, ISMM 1998",
    .options_size = sizeof(struct bleed_options),
    .options = bleed_rows,
    .emit = bleed_emit,
};
