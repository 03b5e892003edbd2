/*
 * latency.c - the latency pass, in three parts, on one CPU that the process keeps to.
 *
 *   raw      the plan once, on a fresh heap: the latencies of one run of the program, page faults
 *            and interrupts of the machine among them.
 *   causes   the plan again on another fresh heap, with the door's calls and the process's page
 *            faults looked at around the slowest ops of the first part: what the op did then.
 *   minimum  the plan REPLAYS times from the same state: a heap on one pool (os.h), at the same
 *            address, its pages there from the first of these runs on. The least time of each op is
 *            kept. Interrupts hit another op each time and so vanish; what is left is what the
 *            design's own code takes at its worst, on this plan. If two of the runs did not return
 *            the same addresses, they were not the same, and there is no minimum.
 *
 * Memory that does not come through the door cannot be made as it was: the second and third part
 * are left out.
 */
#include "harness/latency.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/noise.h"
#include "harness/pass.h"
#include "harness/ticks.h"

#define REPLAYS    25
#define POOL_BYTES ((size_t)1 << 40) /* of addresses; nothing of it exists before it is touched */

struct pass {
    const struct cell_setup *setup;
    struct latency *found;
    struct latency_replay loop;
    struct ticks_pair start;
    struct os *os; /* of the replay that runs: for causes */
    uint64_t calls, faults;
    unsigned next;   /* the next tail that the causes are looked at for */
    uint32_t *least; /* by timed op: ticks << 1 | 1 if it is an alloc or a free */
    uint64_t at, timed;
    uint64_t places;
};

/* ---- raw ---- */

/* Keeps the op if it is among the slowest: the table is a heap with the least of them at 0. */
static void tail_keep(struct latency *found, const struct latency_tail *tail)
{
    struct latency_tail *table = found->tail;
    uint32_t i;
    if (found->tails < LATENCY_TAILS) {
        for (i = found->tails++; i && table[(i - 1) / 2].ticks > tail->ticks; i = (i - 1) / 2)
            table[i] = table[(i - 1) / 2];
    } else if (tail->ticks > table[0].ticks) {
        uint32_t child;
        for (i = 0; (child = 2 * i + 1) < LATENCY_TAILS; i = child) {
            if (child + 1 < LATENCY_TAILS && table[child + 1].ticks < table[child].ticks)
                child++;
            if (table[child].ticks >= tail->ticks)
                break;
            table[i] = table[child];
        }
    } else {
        return;
    }
    table[i] = *tail;
}

static void raw_note(void *ctx, enum latency_kind kind, uint64_t op, uint64_t size, uint64_t ticks)
{
    struct pass *p = ctx;
    struct latency_tail tail = {.op = op, .size = size, .ticks = ticks, .kind = kind};
    histogram_add(&p->found->kind[kind], ticks);
    if (kind < LATENCY_OPS)
        tail_keep(p->found, &tail);
}

/* ---- causes ---- */

static void cause_look(void *ctx, uint64_t op, bool before)
{
    struct pass *p = ctx;
    struct latency_tail *tail = &p->found->tail[p->next];
    if (p->next >= p->found->tails || tail->op != op)
        return;
    if (before) {
        p->calls = os_counts(p->os).calls_count;
        p->faults = faults_now();
        return;
    }
    tail->causes = LATENCY_CAUSES_KNOWN;
    if (faults_now() != p->faults)
        tail->causes |= LATENCY_FAULT;
    if (os_counts(p->os).calls_count != p->calls)
        tail->causes |= LATENCY_DOOR;
    p->next++;
}

static void ignore_note(void *ctx, enum latency_kind kind, uint64_t op, uint64_t size,
                        uint64_t ticks)
{
    (void)ctx, (void)kind, (void)op, (void)size, (void)ticks;
}

/* By op, which is the order in which the replays meet them. */
static void tails_sort(struct latency *found)
{
    for (uint32_t i = 1; i < found->tails; i++) {
        struct latency_tail tail = found->tail[i];
        uint32_t k = i;
        for (; k && found->tail[k - 1].op > tail.op; k--)
            found->tail[k] = found->tail[k - 1];
        found->tail[k] = tail;
    }
}

/* ---- minimum ---- */

static void least_note(void *ctx, enum latency_kind kind, uint64_t op, uint64_t size,
                       uint64_t ticks)
{
    struct pass *p = ctx;
    struct latency_tail *tail = &p->found->tail[p->next];
    (void)size;
    if (kind >= LATENCY_OPS)
        return;
    uint32_t *least = &p->least[p->at++];
    uint32_t now = (uint32_t)(ticks < INT32_MAX ? ticks : INT32_MAX) << 1;
    now |= kind == LATENCY_ALLOC || kind == LATENCY_FREE;
    *least = now < *least ? now : *least;
    if (p->next < p->found->tails && tail->op == op) {
        tail->least_ticks = *least >> 1;
        p->next++;
    }
}

/* ---- a replay on a heap of its own ---- */

static bool heap_replay(struct pass *p, const struct cell_setup *setup, bool destroy)
{
    struct cell_heap h;
    struct replay replay;
    struct error err;
    if (!cell_heap_open(&h, setup, false))
        return false;
    if (replay_open(&replay, setup->plan, setup->spec->design, h.heap, setup->touch, &err)) {
        outcome_fail(setup->outcome, OUTCOME_OOM, "%s", err.text);
        return false;
    }
    p->os = h.os;
    p->loop.replay = &replay;
    bool done = latency_replay_run(&p->loop);
    if (!done)
        cell_heap_exhausted(&h, setup, "op %llu: the allocator returned NULL",
                            (unsigned long long)p->loop.op);
    outcome_set(setup->outcome, METRIC_harness_bytes,
                (double)(setup->plan->bytes + replay.tables_bytes));
    if (done && destroy)
        cell_heap_close(&h, setup);
    else if (done) /* the pool's door leaves it as it was before the heap was made */
        os_close(h.os);
    replay_close(&replay);
    return done;
}

static void note_put(struct pass *p, const char *why)
{
    snprintf(p->found->note, sizeof p->found->note, "no replay-minimum: %.*s",
             (int)sizeof p->found->note - 24, why);
}

/* The replays on the pool. What fails here is no failure of the cell: its latencies are known. */
static bool pool_replay(struct pass *p, void *pool)
{
    static struct outcome unused;
    struct cell_setup setup = *p->setup;
    setup.outcome = &unused;
    setup.door.pool = pool;
    setup.door.pool_bytes = POOL_BYTES;
    p->loop.note = least_note;
    for (int i = 0; i < REPLAYS; i++) {
        p->at = p->next = 0;
        if (!heap_replay(p, &setup, false)) {
            note_put(p, unused.detail);
            return false;
        }
        if (i && p->places != p->loop.places) {
            note_put(p, "replays from the same state did not return the same addresses");
            return false;
        }
        p->places = p->loop.places;
    }
    return true;
}

static void least_report(struct pass *p)
{
    static struct histogram all;
    struct outcome *o = p->setup->outcome;
    memset(&all, 0, sizeof all);
    for (uint64_t i = 0; i < p->timed; i++)
        if (p->least[i] & 1)
            histogram_add(&all, p->least[i] >> 1);
    p->found->least_known = true;
    double ns = p->found->tick_ns;
    if (!all.total)
        return;
    outcome_set(o, METRIC_replay_min_p50_ns, ns * (double)histogram_quantile(&all, 2));
    if (all.total >= 10000)
        outcome_set(o, METRIC_replay_min_p9999_ns, ns * (double)histogram_quantile(&all, 10000));
    outcome_set(o, METRIC_replay_min_max_ns, ns * (double)all.max);
    outcome_set(o, METRIC_replay_min_runs_count, REPLAYS);
}

static void minimum_part(struct pass *p)
{
    size_t bytes = p->timed * sizeof *p->least;
    void *least = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    void *pool = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (least == MAP_FAILED || pool == MAP_FAILED) {
        note_put(p, strerror(errno));
        return;
    }
    p->least = memset(least, 0xff, bytes);
    if (pool_replay(p, pool))
        least_report(p);
    munmap(pool, POOL_BYTES);
    munmap(least, bytes);
}

/* ---- the pass ---- */

static void raw_report(struct pass *p, const struct ticks_cost *cost)
{
    static struct histogram all;
    static const struct {
        uint64_t one_in;
        enum metric metric;
    } quantiles[] = {
        {2, METRIC_p50_ns}, {100, METRIC_p99_ns}, {1000, METRIC_p999_ns}, {10000, METRIC_p9999_ns}};
    struct outcome *o = p->setup->outcome;
    double ns = p->found->tick_ns;
    memset(&all, 0, sizeof all);
    for (int kind = 0; kind < LATENCY_OPS; kind++)
        histogram_merge(&all, &p->found->kind[kind]);
    outcome_set(o, METRIC_timed_ops_count, (double)all.total);
    outcome_set(o, METRIC_clock_cost_ns, ns * (double)cost->read);
    outcome_set(o, METRIC_clock_step_ns, ns * (double)cost->step);
    for (unsigned i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        if (all.total >= quantiles[i].one_in)
            outcome_set(o, quantiles[i].metric,
                        ns * (double)histogram_quantile(&all, quantiles[i].one_in));
    if (all.total)
        outcome_set(o, METRIC_max_ns, ns * (double)all.max);
    o->status = OUTCOME_OK;
}

static bool through_door(const struct spec *spec)
{
    for (; spec; spec = spec->inner)
        if (spec->design->traits & ALLOCATOR_FOREIGN)
            return false;
    return true;
}

/* The counters of two CPUs may differ, and a design with caches for each CPU must find its own. */
static void cpu_keep(void)
{
    cpu_set_t set;
    int cpu = sched_getcpu();
    CPU_ZERO(&set);
    if (cpu >= 0) {
        CPU_SET((unsigned)cpu, &set);
        sched_setaffinity(0, sizeof set, &set); /* where that is not allowed it stays most often */
    }
}

void latency_pass(const struct cell_setup *setup)
{
    static struct pass pass; /* not on the heap under test */
    struct pass *p = &pass;
    cpu_keep();
    struct ticks_cost cost = ticks_cost();
    pass =
        (struct pass){.setup = setup,
                      .found = &setup->outcome->latency,
                      .start = ticks_pair(),
                      .loop = {.every = setup->config.latency_every, .note = raw_note, .ctx = p}};
    memset(p->found, 0, sizeof *p->found); /* its pages are there before the clock is read */
    struct noise noise = noise_begin();
    if (!heap_replay(p, setup, true))
        return;
    noise_report(&noise, setup->outcome);
    p->timed = p->loop.timed;
    p->found->tick_ns = ticks_ns(&p->start);
    tails_sort(p->found);
    if (p->timed && through_door(setup->spec)) {
        p->loop.note = ignore_note;
        p->loop.around = cause_look;
        if (!heap_replay(p, setup, true))
            return;
        p->loop.around = NULL;
        minimum_part(p);
        p->found->tick_ns = ticks_ns(&p->start);
    }
    raw_report(p, &cost);
}
