/*
 * drain.c - the drain pass: how much of its memory a design gives back once the program has freed
 * everything, and when. The plan is replayed with every page of every object written, then the
 * epilogue frees what is left; from that instant on resident memory is looked at over five seconds.
 *
 * All of it in real time, on a door as programs have it: what a design returns by age, it returns by
 * the machine's clock. While it waits the pass calls tick() every TICK_MS, as a program with a timer
 * would; there is no other call. Memory that does not come through the door (libc, rivals) gets the
 * time alone.
 *
 * The instants stand on a logarithmic scale, eight a tenfold from 1 ms on, so that 100 ms and 1 s are
 * among them, and five seconds last.
 */
#include <math.h>
#include <time.h>

#include "harness/observe.h"
#include "harness/pass.h"

#define PEAK_SAMPLES 400
#define TICK_MS      10
#define NS_PER_MS    UINT64_C(1000000)
#define LAST_MS      5000
#define PER_TENFOLD  8

struct drain {
    const struct cell_setup *setup;
    const struct allocator *design;
    struct cell_heap h;
    struct observe o;
    uint64_t baseline, peak;
    uint64_t every, next; /* ops between two looks at the peak, and the next */
};

static uint64_t resident_above(const struct drain *d)
{
    uint64_t resident = resident_of(d->setup);
    return resident > d->baseline ? resident - d->baseline : 0;
}

static void peak_look(struct drain *d)
{
    uint64_t resident = resident_above(d);
    d->peak = resident > d->peak ? resident : d->peak;
}

static bool drain_made(void *ctx, const struct object_at *object)
{
    (void)ctx;
    pages_touch(object->p, object->size);
    return true;
}

static bool drain_moved(void *ctx, const struct object_at *object, size_t old)
{
    (void)old;
    return drain_made(ctx, object);
}

static bool drain_step(void *ctx, uint64_t op)
{
    struct drain *d = ctx;
    if (op < d->next)
        return true;
    d->next = op + d->every;
    peak_look(d);
    return true;
}

static const struct observe_hooks drain_hooks = {
    .made = drain_made, .moved = drain_moved, .step = drain_step};

/* ---- the wait ---- */

/* Nanoseconds after the last free of sample i, the one at 0 first; the last is at LAST_MS. */
static uint64_t instant_ns(unsigned i)
{
    double ms = i ? pow(10, (double)(i - 1) / PER_TENFOLD) : 0;
    return ms < LAST_MS ? (uint64_t)(ms * (double)NS_PER_MS + 0.5) : LAST_MS * NS_PER_MS;
}

static void until(uint64_t at_ns)
{
    uint64_t now = clock_now_ns();
    uint64_t left = at_ns > now ? at_ns - now : 0;
    struct timespec rest = {.tv_sec = (time_t)(left / 1000000000),
                            .tv_nsec = (long)(left % 1000000000)};
    if (left)
        nanosleep(&rest, NULL);
}

/* Lets the design do its background work until the instant. */
static void wait_ticking(struct drain *d, uint64_t *next_tick, uint64_t at_ns)
{
    for (; d->design->tick && *next_tick <= at_ns; *next_tick += TICK_MS * NS_PER_MS) {
        until(*next_tick);
        d->design->tick(d->h.heap, clock_now_ns());
    }
    until(at_ns);
}

static void sample_take(struct drain *d, struct drain_sample *s, uint64_t freed_ns)
{
    bool foreign = d->design->traits & ALLOCATOR_FOREIGN;
    s->ns = clock_now_ns() - freed_ns;
    s->resident = resident_above(d);
    s->committed = foreign ? SAMPLE_UNKNOWN : os_counts(d->h.os).committed_bytes;
}

static void wait_out(struct drain *d)
{
    static const struct {
        uint64_t ms;
        enum metric metric;
    } told[] = {{0, METRIC_drain_resident_0ms_bytes},
                {100, METRIC_drain_resident_100ms_bytes},
                {1000, METRIC_drain_resident_1s_bytes},
                {LAST_MS, METRIC_drain_resident_5s_bytes}};
    struct outcome *o = d->setup->outcome;
    uint64_t freed = clock_now_ns(), next_tick = freed + TICK_MS * NS_PER_MS, at;
    do {
        struct drain_sample *s = &o->drain[o->drain_samples];
        at = instant_ns(o->drain_samples++);
        wait_ticking(d, &next_tick, freed + at);
        sample_take(d, s, freed);
        for (unsigned i = 0; i < sizeof told / sizeof *told; i++)
            if (told[i].ms * NS_PER_MS == at)
                outcome_set(o, told[i].metric, (double)s->resident);
    } while (at < LAST_MS * NS_PER_MS && o->drain_samples < DRAIN_SAMPLES);
}

/* ---- the pass ---- */

static bool runs_done(struct drain *d, uint64_t from, uint64_t to)
{
    if (observe_runs(&d->o, from, to) == OBSERVE_DONE)
        return true;
    cell_heap_exhausted(&d->h, d->setup, "op %llu: the allocator returned NULL",
                        (unsigned long long)d->o.op);
    return false;
}

static bool drain_replay(struct drain *d)
{
    const struct plan *plan = d->setup->plan;
    struct outcome *o = d->setup->outcome;
    if (!replay_pass_begin(&d->o.replay)) {
        cell_heap_exhausted(&d->h, d->setup, "no memory to begin");
        return false;
    }
    if (!runs_done(d, 0, plan->main_runs))
        return false;
    peak_look(d);
    outcome_set(o, METRIC_drain_resident_before_bytes, (double)resident_above(d));
    outcome_set(o, METRIC_drain_resident_peak_bytes, (double)d->peak);
    d->o.hooks = &(const struct observe_hooks){.made = NULL};
    if (!runs_done(d, plan->main_runs, plan->runs))
        return false;
    replay_pass_end(&d->o.replay);
    return true;
}

void drain_pass(const struct cell_setup *setup)
{
    struct drain d = {.setup = setup,
                      .design = setup->spec->design,
                      .every = (setup->plan->ops + setup->plan->start_objects) / PEAK_SAMPLES + 1};
    d.baseline = resident_of(setup);
    d.o = (struct observe){.hooks = &drain_hooks, .ctx = &d};
    if (!cell_replay_open(&d.h, &d.o.replay, setup, false, TOUCH_NONE))
        return;
    d.baseline += d.o.replay.tables_bytes;
    if (drain_replay(&d)) {
        wait_out(&d);
        setup->outcome->status = OUTCOME_OK;
        cell_heap_close(&d.h, setup);
    }
    replay_close(&d.o.replay);
}
