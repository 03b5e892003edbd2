/*
 * latency.c - the latency pass, in three parts, on one CPU that the process keeps to.
 *
 *   raw      the plan once, on a fresh heap: the latencies of one run of the program, page faults
 *            and interrupts of the machine among them.
 *   causes   the plan again on another fresh heap, with the door's calls and the process's page
 *            faults looked at around the slowest ops of the first part: what the op did then.
 *   minimum  the plan 25 times or more from the same state: a heap on one pool (os.h), at the same
 *            address, its pages there from the first of these runs on, huge ones where the kernel
 *            gives them (as a program with deadlines would have them: else the walk of page tables,
 *            in a guest a long one, is part of every cold op). The least time of each op is
 *            kept. Interrupts hit another op each time and so vanish; what is left is what the
 *            design's own code takes at its worst, on this plan. It is replayed until as many runs again, and 50 at least, did
 *            not lower the greatest of these, or as often as was asked for. If two of the runs did
 *            not return the same addresses, they were not the same, and there is no minimum. Once
 *            more then, to look at the ops that are slowest by their least times.
 *
 * Memory that does not come through the door cannot be made as it was: the second and third part
 * are left out.
 */
#include "harness/latency.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/noise.h"
#include "harness/pass.h"
#include "harness/ticks.h"

#define STILL      50 /* replays that lower nothing end it, or as many as came before */
#define POOL_BYTES ((size_t)1 << 40) /* of addresses; nothing of it exists before it is touched */

struct pass {
    const struct cell_setup *setup;
    struct latency *found;
    struct latency_replay loop;
    struct ticks_pair start;
    struct os *os; /* of the replay that runs: for causes */
    uint64_t calls, faults;
    struct latency_tail *tails; /* by op (or by timed op), which the causes are looked at for */
    uint32_t tail_count, next;
    bool looked;     /* the op that ends has just been looked at */
    bool by_timed;   /* their `op` is the number of a timed op, as in `least` */
    uint32_t *least; /* by timed op: ticks << 1 | 1 if it is an alloc or a free */
    uint64_t at, timed;
    uint64_t places;
    uint64_t lowest;           /* the greatest of the least times, when it last fell */
    unsigned replays, fell_at; /* so far; the one at which it did */
};

/* ---- raw ---- */

/* Keeps the op if it is among the `room` slowest: the table is a heap with the least of them at 0.
 */
static void tail_keep(struct latency_tail *table, uint32_t *count, uint32_t room,
                      const struct latency_tail *tail)
{
    uint32_t i;
    if (*count < room) {
        for (i = (*count)++; i && table[(i - 1) / 2].ticks > tail->ticks; i = (i - 1) / 2)
            table[i] = table[(i - 1) / 2];
    } else if (tail->ticks > table[0].ticks) {
        uint32_t child;
        for (i = 0; (child = 2 * i + 1) < room; i = child) {
            if (child + 1 < room && table[child + 1].ticks < table[child].ticks)
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
        tail_keep(p->found->tail, &p->found->tails, LATENCY_TAILS, &tail);
}

/* ---- causes ---- */

static void cause_look(void *ctx, uint64_t op, bool before)
{
    struct pass *p = ctx;
    struct latency_tail *tail = &p->tails[p->next];
    if (p->next >= p->tail_count || tail->op != (p->by_timed ? p->at : op))
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
    p->looked = true;
}

static void ignore_note(void *ctx, enum latency_kind kind, uint64_t op, uint64_t size,
                        uint64_t ticks)
{
    (void)ctx, (void)kind, (void)op, (void)size, (void)ticks;
}

/* By op, which is the order in which the replays meet them. */
static void tails_sort(struct latency_tail *table, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct latency_tail tail = table[i];
        uint32_t k = i;
        for (; k && table[k - 1].op > tail.op; k--)
            table[k] = table[k - 1];
        table[k] = tail;
    }
}

static void causes_begin(struct pass *p, struct latency_tail *table, uint32_t count, bool by_timed)
{
    p->tails = table;
    p->tail_count = count;
    p->by_timed = by_timed;
    p->next = 0;
    p->at = 0;
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
    if (!cell_replay_open(&h, &replay, setup, false, setup->touch))
        return false;
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

/* A replay on the pool. What fails here is no failure of the cell: its latencies are known. */
static bool pool_replay(struct pass *p, void *pool)
{
    static struct outcome unused;
    struct cell_setup setup = *p->setup;
    setup.outcome = &unused;
    setup.door.pool = pool;
    setup.door.pool_bytes = POOL_BYTES;
    p->at = p->next = 0;
    if (!heap_replay(p, &setup, false)) {
        note_put(p, unused.detail);
        return false;
    }
    if (p->replays++ && p->places != p->loop.places) {
        note_put(p, "replays from the same state did not return the same addresses");
        return false;
    }
    p->places = p->loop.places;
    return true;
}

/* The greatest of the least times of alloc and free. */
static uint64_t greatest(const struct pass *p)
{
    uint32_t most = 0;
    for (uint64_t i = 0; i < p->timed; i++)
        if (p->least[i] & 1 && p->least[i] > most)
            most = p->least[i];
    return most >> 1;
}

static bool pool_replays(struct pass *p, void *pool)
{
    unsigned most = p->setup->config.latency_replays;
    p->loop.note = least_note;
    p->replays = p->fell_at = 0;
    causes_begin(p, p->found->tail, p->found->tails, false);
    while (p->replays < most && (p->replays - p->fell_at < STILL || p->replays < 2 * p->fell_at)) {
        if (!pool_replay(p, pool))
            return false;
        uint64_t now = greatest(p);
        if (p->replays == 1 || now < p->lowest - p->lowest / HISTOGRAM_PARTS) {
            p->lowest = now;
            p->fell_at = p->replays;
        }
    }
    return true;
}

static void worst_note(void *ctx, enum latency_kind kind, uint64_t op, uint64_t size,
                       uint64_t ticks)
{
    struct pass *p = ctx;
    (void)ticks;
    if (kind >= LATENCY_OPS)
        return;
    p->at++;
    if (!p->looked)
        return;
    struct latency_tail *tail = &p->tails[p->next - 1];
    tail->op = op;
    tail->kind = kind;
    tail->size = size;
    p->looked = false;
}

/* The ops that are slowest by their least times, and what they do. */
static void worst_find(struct pass *p, void *pool)
{
    struct latency *found = p->found;
    found->worsts = 0;
    for (uint64_t i = 0; i < p->timed; i++) {
        struct latency_tail tail = {.op = i, .ticks = p->least[i] >> 1};
        tail.least_ticks = tail.ticks;
        if (p->least[i] & 1)
            tail_keep(found->worst, &found->worsts, LATENCY_WORST, &tail);
    }
    tails_sort(found->worst, found->worsts);
    causes_begin(p, found->worst, found->worsts, true);
    p->loop.note = worst_note;
    p->loop.around = cause_look;
    p->looked = false;
    if (!pool_replay(p, pool))
        found->worsts = 0;
    p->loop.around = NULL;
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
    outcome_set(o, METRIC_replay_min_runs_count, p->replays);
    outcome_set(o, METRIC_replay_min_still_count, p->replays - p->fell_at);
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
    if (p->setup->door.thp == OS_THP_DEFAULT)
        madvise(pool, POOL_BYTES, MADV_HUGEPAGE); /* where it is refused, pages stay small */
    if (pool_replays(p, pool)) {
        least_report(p);
        worst_find(p, pool);
    }
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
    tails_sort(p->found->tail, p->found->tails);
    if (p->timed && through_door(setup->spec)) {
        causes_begin(p, p->found->tail, p->found->tails, false);
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
