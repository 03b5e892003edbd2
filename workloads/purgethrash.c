/*
 * purgethrash.c - the live set swings up and down around a steady base: what a design gives back to
 * the kernel, it needs again at once.
 *
 * Models a server whose load breathes: each wave of requests needs memory that the last one has
 * just freed.
 *
 *   first     objects are allocated until `base` pages of 4096 bytes are live; they stay
 *   a cycle   objects are allocated until A pages have come on top, and the load holds for `pause`
 *             ms; these objects are freed, in the order `order`, and it holds for `pause` ms again
 *   the end   the base is freed, the oldest object first
 *
 *   quantity            distribution
 *   amplitude A, pages  log-uniform on [max(1, swing / 64), swing]: whatever threshold a design
 *                       has within these bounds, and whether it counts bytes or pages, a known part
 *                       of the cycles crosses it, ln(swing / threshold) / ln(64)
 *   size of an object   log-uniform on [min, max]
 *
 * Between two cycles exactly the base is live. A design that gives everything back pays, per cycle,
 * the calls that do so and A page faults; one that gives nothing back keeps `swing` pages resident.
 * Purging by age pays if `pause` is longer than its delay: sweep `pause`.
 *
 * Which design it hurts: eager trimming of the heap's top with a fixed threshold, unmapping of
 * large objects and of empty spans without a delay, and decay times near the pause. It also shows,
 * as peak against steady resident bytes, what never purging costs.
 *
 * One thread, no scopes. Clock: an op takes 100 ns, and the pauses. Sites: 1 base, 2 swing.
 *
 * Source: Evans, "Tick Tock, malloc Needs a Clock" (Applicative 2015), on why jemalloc went from
 * ratio-based to decay-based purging; mallopt(3), M_TRIM_THRESHOLD, on the cost of trimming too
 * often.
 *
 * What it cannot tell: time that a purging thread takes from other cores; and a serial replay does
 * not wait, it only moves the virtual clock of the passes that have one.
 */
#include "workloads/lib/batch.h"
#include "workloads/lib/dist.h"
#include "workloads/lib/workload.h"

#define OP_NS 100
#define MS_NS UINT64_C(1000000)
#define RANGE 64 /* greatest amplitude to the smallest */

enum { SITE_BASE = 1, SITE_SWING };

struct purgethrash_options {
    uint64_t base, swing, cycles, pause, min, max;
    unsigned order;
};

#define FIELD(name) offsetof(struct purgethrash_options, name)
static const struct option purgethrash_rows[] = {
    {"base", OPTION_COUNT, FIELD(base), "1k", 0, 1e6, NULL, "steady objects, pages of 4096 bytes"},
    {"swing", OPTION_COUNT, FIELD(swing), "4k", 1, 1e6, NULL,
     "greatest amplitude, pages of 4096 bytes"},
    {"cycles", OPTION_COUNT, FIELD(cycles), "100", 1, 1e6, NULL, "ups and downs"},
    {"pause", OPTION_COUNT, FIELD(pause), "20", 0, 1e6, NULL,
     "virtual time at the top and at the bottom, ms"},
    {"min", OPTION_SIZE, FIELD(min), "256", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "4k", 1, 1 << 30, NULL, "largest object, bytes"},
    {"order", OPTION_CHOICE, FIELD(order), "lifo", 0, 0, BATCH_ORDERS,
     "in which the objects of a cycle are freed"},
    {0},
};
#undef FIELD

struct state {
    struct emit e;
    struct rng amplitude, size, order;
    struct dist sizes;
};

/* Allocates until as many bytes as `pages` pages hold, or more by a part of the last object. */
static void grow(struct state *s, struct ids *ids, uint64_t pages, unsigned site)
{
    uint64_t bytes = 0;
    while (bytes < pages * BATCH_PAGE_BYTES && !s->e.failed) {
        uint64_t size = dist_draw(&s->sizes, &s->size);
        ids_push(&s->e, ids, emit_alloc(&s->e, 0, size, site));
        bytes += size;
    }
}

static void run(struct state *s, const struct purgethrash_options *o)
{
    struct ids base = {0}, swing = {0};
    struct dist amplitudes = dist_log_uniform(o->swing > RANGE ? o->swing / RANGE : 1, o->swing);
    grow(s, &base, o->base, SITE_BASE);
    for (uint64_t i = 0; i < o->cycles && !s->e.failed; i++) {
        grow(s, &swing, dist_draw(&amplitudes, &s->amplitude), SITE_SWING);
        s->e.clock_ns += o->pause * MS_NS;
        batch_free(&s->e, 0, &swing, o->order, &s->order);
        s->e.clock_ns += o->pause * MS_NS;
    }
    emit_free_all(&s->e, 0, &base);
    ids_free(&base);
    ids_free(&swing);
}

static int purgethrash_emit(const void *options, uint64_t seed, struct trace_writer *out,
                            struct error *err)
{
    const struct purgethrash_options *o = options;
    if (o->min > o->max)
        return error_set(err, "purgethrash: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .amplitude = rng_stream(seed, 0),
        .size = rng_stream(seed, 1),
        .order = rng_stream(seed, 2),
        .sizes = dist_log_uniform(o->min, o->max),
    };
    static const char *const sites[] = {"base", "swing"};
    emit_site_names(&s.e, sites, sizeof sites / sizeof *sites);
    run(&s, o);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(purgethrash) = {
    .name = "purgethrash",
    .summary = "the live set swings around a base: memory given back is needed again",
    .source = "Evans, Tick Tock, malloc Needs a Clock (2015); mallopt(3)",
    .options_size = sizeof(struct purgethrash_options),
    .options = purgethrash_rows,
    .emit = purgethrash_emit,
};
