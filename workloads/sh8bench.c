/*
 * sh8bench.c - few sizes make up most of the blocks, blocks of a size come in runs, and the order
 * in which they are freed changes all the time.
 *
 * Models no program; it is one of the synthetic loads that vendors of allocators measured
 * themselves with, rebuilt from what is said about it.
 *
 *   a turn    of one of the threads, picked at random:
 *             1. it allocates `blocks` blocks
 *             2. it frees the blocks that it kept at its last turn
 *             3. it frees every other one of the new blocks, from the first on, and keeps the rest
 *   an order  is drawn for 2 and for 3, all four alike: first to last; last to first; at random;
 *             in chunks of `chunk` blocks, the last chunk first, each from its first to its last
 *   the end   when the calls so far and the frees still due reach `ops`, each thread frees what it
 *             kept, first to last, and ends
 *
 *   quantity           distribution
 *   size of a run      the k-th of 16 sizes floor(min * (max / min)^(k / 15)), k from 0, geometric
 *                      with mean `skew`, clipped at 15
 *   blocks of a run    uniform on [1, 8]; the last run of a turn is cut off
 *
 * Which design it hurts: free lists that are good in one order only. Last to first suits a stack
 * and a bump pointer, first to last makes a stack hand out addresses that run backwards; chunks
 * defeat coalescing with the neighbour just freed; a sorted list searches at random.
 *
 * All frees are by the thread that allocated. Threads: 0 .. threads - 1. No scopes. Clock: an op
 * takes 100 ns. Site: 1 + k for the k-th size.
 *
 * Source: the SmartHeap benchmarks of MicroQuill, in the description of the mimalloc-bench
 * collection; Leijen, Zorn & de Moura, "Mimalloc: Free List Sharding in Action" (APLAS 2019),
 * which measures with sh6bench and sh8bench.
 *
 * What it cannot tell: figures to be held against published ones of the original, whose exact sizes
 * and orders this does not have.
 */
#include "workloads/lib/batch.h"
#include "workloads/lib/dist.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_THREADS 64
#define SIZES       16
#define MOST_RUN    8
#define CHUNKS      (BATCH_RANDOM + 1) /* the order after those of batch.h */

struct sh8bench_options {
    uint64_t ops, threads, blocks, chunk, min, max;
    double skew;
};

#define FIELD(name) offsetof(struct sh8bench_options, name)
static const struct option sh8bench_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL, "calls in the trace, about"},
    {"threads", OPTION_COUNT, FIELD(threads), "4", 1, MAX_THREADS, NULL, "threads"},
    {"blocks", OPTION_COUNT, FIELD(blocks), "1k", 1, 1e7, NULL, "blocks allocated in a turn"},
    {"chunk", OPTION_COUNT, FIELD(chunk), "16", 1, 1e6, NULL,
     "blocks of a chunk, where chunks are freed"},
    {"min", OPTION_SIZE, FIELD(min), "8", 1, 1 << 30, NULL, "smallest size, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "1000", 1, 1 << 30, NULL, "largest size, bytes"},
    {"skew", OPTION_REAL, FIELD(skew), "3", 0, 100, NULL,
     "mean position among the 16 sizes; smaller favours small ones more"},
    {0},
};
#undef FIELD

struct state {
    struct emit e;
    const struct sh8bench_options *o;
    struct rng schedule, size, run, order;
    struct dist positions;
    uint64_t sizes[SIZES];
    struct ids kept[MAX_THREADS], fresh, victims;
    uint64_t live;
};

static void alloc_blocks(struct state *s, unsigned thread)
{
    uint64_t left = s->o->blocks;
    while (left && !s->e.failed) {
        unsigned k = (unsigned)dist_draw(&s->positions, &s->size);
        uint64_t run = rng_between(&s->run, 1, MOST_RUN);
        for (run = run < left ? run : left; run > 0; run--, left--)
            ids_push(&s->e, &s->fresh, emit_alloc(&s->e, thread, s->sizes[k], 1 + k));
    }
    s->live += s->o->blocks;
}

static void free_chunks(struct state *s, unsigned thread, struct ids *ids)
{
    uint64_t chunk = s->o->chunk, chunks = (ids->n + chunk - 1) / chunk;
    while (chunks-- > 0)
        for (uint64_t i = chunks * chunk; i < ids->n && i < (chunks + 1) * chunk; i++)
            emit_free(&s->e, thread, ids->items[i]);
    ids->n = 0;
}

static void free_blocks(struct state *s, unsigned thread, struct ids *ids)
{
    unsigned order = (unsigned)rng_below(&s->order, CHUNKS + 1);
    s->live -= ids->n;
    if (order == CHUNKS)
        free_chunks(s, thread, ids);
    else
        batch_free(&s->e, thread, ids, order, &s->order);
}

static void turn(struct state *s, unsigned thread)
{
    struct ids *kept = &s->kept[thread];
    alloc_blocks(s, thread);
    free_blocks(s, thread, kept);
    for (uint64_t i = 0; i < s->fresh.n; i++)
        ids_push(&s->e, i % 2 ? kept : &s->victims, s->fresh.items[i]);
    s->fresh.n = 0;
    free_blocks(s, thread, &s->victims);
}

static int sh8bench_emit(const void *options, uint64_t seed, struct trace_writer *out,
                         struct error *err)
{
    const struct sh8bench_options *o = options;
    if (o->min > o->max)
        return error_set(err, "sh8bench: min is greater than max: swap them");
    unsigned threads = (unsigned)o->threads;
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .schedule = rng_stream(seed, 0),
        .size = rng_stream(seed, 1),
        .run = rng_stream(seed, 2),
        .order = rng_stream(seed, 3),
        .positions = dist_geometric(o->skew, 0, SIZES - 1),
    };
    for (unsigned k = 0; k < SIZES; k++)
        s.sizes[k] = dist_log_point(o->min, o->max, k, SIZES - 1);
    emit_threads_begin(&s.e, 0, threads, "worker");
    while (s.e.calls + s.live < o->ops && !s.e.failed)
        turn(&s, (unsigned)rng_below(&s.schedule, threads));
    for (unsigned t = 0; t < threads; t++) {
        emit_free_all(&s.e, t, &s.kept[t]);
        emit_thread_end(&s.e, t);
        ids_free(&s.kept[t]);
    }
    ids_free(&s.fresh);
    ids_free(&s.victims);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(sh8bench) = {
    .name = "sh8bench",
    .summary = "skewed sizes in runs, freed first to last, last to first, at random, in chunks",
    .source = "MicroQuill SmartHeap benchmarks; Leijen, Zorn & de Moura, APLAS 2019",
    .options_size = sizeof(struct sh8bench_options),
    .options = sh8bench_rows,
    .emit = sh8bench_emit,
};
