/*
 * larson.c - a server that never stops: each thread replaces random objects of its array, and hands
 * the whole array on to a new thread when it ends.
 *
 * Models a server whose threads come and go while its data stays, after the description of the
 * benchmark of that name.
 *
 *   main       fills `threads` arrays of `slots` objects each, one array after the other, and
 *              starts a thread on each
 *   a step     the thread frees the object in a random place of its array and allocates another
 *              one for that place
 *   handover   after `life` steps the thread ends, and a new one goes on with its array: what the
 *              old one left is freed by its successors
 *   turns      one of the running threads, all alike, does a burst of steps
 *   the end    when the calls so far and the frees still due reach `ops`, the threads end, and main
 *              frees the arrays
 *
 *   quantity            distribution
 *   steps of a burst    geometric, at least 1, mean `burst`
 *   size of an object   uniform on [min, max]
 *
 * threads * slots objects are live from the filling on (one fewer within a step), and lifetimes, in
 * steps on an array, are geometric with mean `slots`. The k-th free after a handover meets an
 * object of an earlier thread with probability (1 - 1 / slots)^(k - 1).
 *
 * Which design it hurts: those that leave a dead thread's heap alone, or search it at each of its
 * successors' frees; and one lock for all.
 *
 * Threads: 0 is main; the others are numbered as they begin. No scopes. Clock: an op takes 100 ns.
 * Site: 1 object.
 *
 * Source: Larson & Krishnan, "Memory Allocation for Long-Running Server Applications" (ISMM 1998).
 *
 * What it cannot tell: throughput over several cores, which the original measures, as long as the
 * trace is replayed serially.
 */
#include "workloads/lib/emit.h"
#include "workloads/lib/turns.h"
#include "workloads/lib/workload.h"

#define OP_NS       100
#define MAX_THREADS 64

struct larson_options {
    uint64_t ops, threads, slots, life, min, max;
    double burst;
};

#define FIELD(name) offsetof(struct larson_options, name)
static const struct option larson_rows[] = {
    {"ops", OPTION_COUNT, FIELD(ops), "1m", 1, 1e9, NULL,
     "calls in the trace, about; more if filling takes more"},
    {"threads", OPTION_COUNT, FIELD(threads), "8", 1, MAX_THREADS, NULL, "threads at a time"},
    {"slots", OPTION_COUNT, FIELD(slots), "1k", 1, 1e7, NULL, "objects in an array"},
    {"life", OPTION_COUNT, FIELD(life), "5k", 1, 1e9, NULL, "steps after which a thread ends"},
    {"burst", OPTION_REAL, FIELD(burst), "32", 1, 10000, NULL,
     "mean steps that a thread does before another one runs"},
    {"min", OPTION_SIZE, FIELD(min), "8", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "1000", 1, 1 << 30, NULL, "largest object, bytes"},
    {0},
};
#undef FIELD

struct slot_array {
    struct ids objects;
    unsigned thread;
    uint64_t steps; /* of this thread */
};

struct state {
    struct emit e;
    const struct larson_options *o;
    struct turns turns;
    struct rng size, victim;
    struct dist sizes;
    struct slot_array arrays[MAX_THREADS];
    unsigned next_thread;
};

static void start_thread(struct state *s, struct slot_array *array)
{
    array->thread = s->next_thread++;
    array->steps = 0;
    emit_thread_begin(&s->e, array->thread);
}

static void step(struct state *s, struct slot_array *array)
{
    uint64_t i = rng_below(&s->victim, array->objects.n);
    emit_free(&s->e, array->thread, array->objects.items[i]);
    array->objects.items[i] = emit_alloc(&s->e, array->thread, dist_draw(&s->sizes, &s->size), 1);
    if (++array->steps == s->o->life) {
        emit_thread_end(&s->e, array->thread);
        start_thread(s, array);
    }
}

static void fill(struct state *s)
{
    for (unsigned i = 0; i < s->o->threads; i++)
        for (uint64_t k = 0; k < s->o->slots && !s->e.failed; k++)
            ids_push(&s->e, &s->arrays[i].objects,
                     emit_alloc(&s->e, 0, dist_draw(&s->sizes, &s->size), 1));
}

static void run(struct state *s)
{
    uint64_t live = s->o->threads * s->o->slots;
    emit_thread_begin(&s->e, 0);
    fill(s);
    for (unsigned i = 0; i < s->o->threads; i++)
        start_thread(s, &s->arrays[i]);
    while (s->e.calls + live < s->o->ops && !s->e.failed) {
        uint64_t steps;
        struct slot_array *array = &s->arrays[turns_next(&s->turns, s->o->threads, &steps)];
        for (; steps > 0 && s->e.calls + live < s->o->ops; steps--)
            step(s, array);
    }
    for (unsigned i = 0; i < s->o->threads; i++)
        emit_thread_end(&s->e, s->arrays[i].thread);
    for (unsigned i = 0; i < s->o->threads; i++)
        emit_free_all(&s->e, 0, &s->arrays[i].objects);
    emit_thread_end(&s->e, 0);
}

static int larson_emit(const void *options, uint64_t seed, struct trace_writer *out,
                       struct error *err)
{
    const struct larson_options *o = options;
    if (o->min > o->max)
        return error_set(err, "larson: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .turns = turns_init(seed, 0, o->burst),
        .size = rng_stream(seed, 1),
        .victim = rng_stream(seed, 2),
        .sizes = dist_uniform(o->min, o->max),
        .next_thread = 1,
    };
    emit_thread_name(&s.e, 0, "main");
    emit_site_name(&s.e, 1, "object");
    run(&s);
    for (unsigned i = 0; i < o->threads; i++)
        ids_free(&s.arrays[i].objects);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(larson) = {
    .name = "larson",
    .summary = "a server's threads replace random objects and hand their arrays on at their end",
    .source = "Larson & Krishnan, ISMM 1998",
    .options_size = sizeof(struct larson_options),
    .options = larson_rows,
    .emit = larson_emit,
};
