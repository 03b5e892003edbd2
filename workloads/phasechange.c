/*
 * phasechange.c - a program in phases: each has its own few sizes, and leaves some survivors behind
 * among which the next one must find room.
 *
 * Models a compiler or a batch job: parse, analyse, transform, write; what a phase allocates mostly
 * dies with it, but a symbol table here and a result there stay.
 *
 *   a phase   draws its `mix` sizes. `allocs` times an object is allocated, of one of these sizes;
 *             when more than `live` of the phase's objects are live, one of them, picked at
 *             random, is freed after the alloc
 *   its end   survivors of the phase `stay` phases before are freed, the oldest first. Then each
 *             object still live, in random order, survives with probability `survive`, or is freed
 *   the end   all survivors are freed, those of the oldest phase first
 *
 *   quantity             distribution
 *   sizes of a phase     log-uniform on [min, max], drawn anew for each phase
 *   size of an object    position k in the phase's sizes, from 0, with probability 2^-(k + 1): one
 *                        size makes up half of a phase. The last one has what is left
 *
 * Between phases, only survivors are live: at most stay * live of them, on average
 * stay * survive * live.
 *
 * Which design it hurts: size classes, whose spans are pinned by survivors and are of no use to the
 * next phase's sizes; and best fit without coalescing, whose free list is full of the last phase's
 * sizes. A design that places objects by their age or scope has the survivors together.
 *
 * One thread, no scopes. Clock: an op takes 100 ns. Sites: 1 + k for position k, the same in all
 * phases.
 *
 * Source: phases and the few sizes that dominate each: Wilson, Johnstone, Neely & Boles, "Dynamic
 * Storage Allocation: A Survey and Critical Review", section 2.4 (IWMM 1995), on ramps, peaks and
 * plateaus; Johnstone & Wilson, "The Memory Fragmentation Problem: Solved?" (ISMM 1998).
 *
 * What it cannot tell: lifetimes within a phase are geometric here, while real ones depend on the
 * call site; a design that learns from sites gets no more than the survivors' share from this.
 */
#include "workloads/lib/batch.h"
#include "workloads/lib/dist.h"
#include "workloads/lib/workload.h"

#define OP_NS    100
#define MAX_MIX  32
#define MAX_STAY 64

struct phasechange_options {
    uint64_t phases, allocs, live, mix, stay, min, max;
    double survive;
};

#define FIELD(name) offsetof(struct phasechange_options, name)
static const struct option phasechange_rows[] = {
    {"phases", OPTION_COUNT, FIELD(phases), "8", 1, 1e6, NULL, "phases"},
    {"allocs", OPTION_COUNT, FIELD(allocs), "50k", 1, 1e8, NULL, "objects allocated in a phase"},
    {"live", OPTION_COUNT, FIELD(live), "10k", 1, 1e8, NULL, "objects of a phase live at once"},
    {"mix", OPTION_COUNT, FIELD(mix), "4", 1, MAX_MIX, NULL, "sizes in a phase"},
    {"min", OPTION_SIZE, FIELD(min), "16", 1, 1 << 30, NULL, "smallest object, bytes"},
    {"max", OPTION_SIZE, FIELD(max), "8k", 1, 1 << 30, NULL, "largest object, bytes"},
    {"survive", OPTION_REAL, FIELD(survive), "0.02", 0, 1, NULL,
     "part of a phase's last objects that outlives it"},
    {"stay", OPTION_COUNT, FIELD(stay), "4", 1, MAX_STAY, NULL, "phases that a survivor stays"},
    {0},
};
#undef FIELD

struct state {
    struct emit e;
    const struct phasechange_options *o;
    struct rng mix, pick, victim, fate;
    struct dist sizes, picks;
    struct ids live, survivors[MAX_STAY]; /* by phase mod `stay` */
};

static void run_phase(struct state *s, uint64_t phase)
{
    const struct phasechange_options *o = s->o;
    uint64_t sizes[MAX_MIX];
    for (uint64_t i = 0; i < o->mix; i++)
        sizes[i] = dist_draw(&s->sizes, &s->mix);
    for (uint64_t i = 0; i < o->allocs && !s->e.failed; i++) {
        unsigned k = (unsigned)dist_draw(&s->picks, &s->pick);
        ids_push(&s->e, &s->live, emit_alloc(&s->e, 0, sizes[k], 1 + k));
        if (s->live.n > o->live)
            emit_free(&s->e, 0, ids_take(&s->live, rng_below(&s->victim, s->live.n)));
    }
    struct ids *survivors = &s->survivors[phase % o->stay];
    emit_free_all(&s->e, 0, survivors);
    while (s->live.n && !s->e.failed) {
        uint64_t object = ids_take(&s->live, rng_below(&s->victim, s->live.n));
        if (rng_chance(&s->fate, o->survive))
            ids_push(&s->e, survivors, object);
        else
            emit_free(&s->e, 0, object);
    }
}

static int phasechange_emit(const void *options, uint64_t seed, struct trace_writer *out,
                            struct error *err)
{
    const struct phasechange_options *o = options;
    if (o->min > o->max)
        return error_set(err, "phasechange: min is greater than max: swap them");
    struct state s = {
        .e = {.out = out, .err = err, .step_ns = OP_NS},
        .o = o,
        .mix = rng_stream(seed, 0),
        .pick = rng_stream(seed, 1),
        .victim = rng_stream(seed, 2),
        .fate = rng_stream(seed, 3),
        .sizes = dist_log_uniform(o->min, o->max),
        .picks = dist_geometric(1, 0, o->mix - 1), /* each next one half as likely */
    };
    for (uint64_t phase = 0; phase < o->phases && !s.e.failed; phase++)
        run_phase(&s, phase);
    for (uint64_t i = 0; i < o->stay; i++)
        emit_free_all(&s.e, 0, &s.survivors[(o->phases + i) % o->stay]);
    for (uint64_t i = 0; i < o->stay; i++)
        ids_free(&s.survivors[i]);
    ids_free(&s.live);
    return s.e.failed ? -1 : 0;
}

WORKLOAD(phasechange) = {
    .name = "phasechange",
    .summary = "phases with sizes of their own, and survivors between them",
    .source = "Wilson et al., section 2.4, IWMM 1995; Johnstone & Wilson, ISMM 1998",
    .options_size = sizeof(struct phasechange_options),
    .options = phasechange_rows,
    .emit = phasechange_emit,
};
