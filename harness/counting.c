/*
 * counting.c - the counters pass: the timed pass's replay loop, with the kernel's counters of the
 * replaying threads on around it and off outside of it.
 *
 * The first pass over the new heap is counted by software events alone (page faults: that is where
 * they are). Then the groups of hardware events take turns, one a pass, so that none ever shares
 * the PMU with another and each counts its passes from the first instruction to the last; what
 * other programs take of the PMU shows as a running share below 1. Each group has PASSES passes,
 * whatever the machine's speed, so that exact counters give the same figures again. Software events
 * count in every pass.
 *
 * What is around the loop reaches in as little as can be: what goes on last goes off first, hardware
 * last of all, and everything that is written to was touched before.
 */
#include <string.h>
#include <sys/resource.h>

#include "harness/counter_group.h"
#include "harness/way.h"

#define PASSES 5

struct counting {
    struct counter_thread *threads; /* by lane */
    struct counters_found *found;
    bool cold;
    unsigned pass; /* steady, from 0 */
};

static unsigned hardware_groups(const struct counter_thread *t)
{
    unsigned count = 0;
    for (unsigned group = 0; group < t->groups; group++)
        count += !t->group[group].software;
    return count;
}

/* The hardware group whose turn it is; t->groups = none. */
static unsigned hardware_turn(const struct counting *c, const struct counter_thread *t)
{
    unsigned count = hardware_groups(t), turn = count ? c->pass % count : 0, group = 0;
    if (c->cold || !count)
        return t->groups;
    for (; t->group[group].software || turn; group++)
        turn -= !t->group[group].software;
    return group;
}

static void counting_around(void *ctx, unsigned lane, bool before)
{
    struct counting *c = ctx;
    struct counter_thread *t = &c->threads[lane];
    struct counter_count *counts = c->cold ? c->found->cold[lane] : c->found->steady[lane];
    unsigned turn = hardware_turn(c, t);
    for (unsigned group = 0; before && group < t->groups; group++)
        if (t->group[group].software)
            counter_start(t, group);
    if (turn < t->groups && before)
        counter_start(t, turn);
    if (turn < t->groups && !before)
        counter_stop(t, turn, counts);
    for (unsigned group = t->groups; !before && group-- > 0;)
        if (t->group[group].software)
            counter_stop(t, group, counts);
}

/* Each lane has a file for each counter. */
static void files_allow(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files))
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files); /* if that fails, the counters that are left out say so */
}

static bool passes_count(struct counting *c, struct way *way, bool any_ops)
{
    c->cold = true;
    if (!way_begin(way) || !way_run(way) || !way_end(way))
        return false;
    unsigned groups = hardware_groups(&c->threads[0]), passes = PASSES * (groups ? groups : 1);
    c->cold = false;
    for (c->pass = 0; c->pass < passes && any_ops; c->pass++)
        if (!way_begin(way) || !way_run(way) || !way_end(way))
            return false;
    return true;
}

/* The columns of results.csv, from all lanes together. */
static void columns_set(const struct cell_setup *setup, bool cold)
{
    static struct counter_count sum[COUNTERS_MAX];
    const struct counter_list *list = &setup->config.counters;
    const struct counters_found *found = &setup->outcome->counters;
    unsigned copies = setup->parallel.copies ? setup->parallel.copies : 1;
    double ops = (double)setup->plan->ops * copies;
    counter_sum(list, cold ? found->cold : found->steady, found->lanes, sum);
    for (uint32_t i = 0; i < list->counters && ops > 0; i++) {
        int column = cold ? list->counter[i].cold_column : list->counter[i].column;
        if (column != COUNTER_NO_COLUMN && !setup->outcome->known[column] &&
            counter_judge(list, sum, i) == COUNTER_COUNTED)
            outcome_set(setup->outcome, (enum metric)column, sum[i].value / ops);
    }
}

void counters_pass(const struct cell_setup *setup)
{
    static struct counter_thread threads[PARALLEL_LANES_MAX]; /* not on the heap under test */
    struct counters_found *found = &setup->outcome->counters;
    struct counting c = {.threads = threads, .found = found};
    struct cell_heap h;
    struct way way;
    if (!cell_heap_open(&h, setup, false))
        return;
    if (!way_open(&way, setup, h.heap))
        return;
    files_allow();
    found->lanes = way_lanes(&way);
    for (unsigned lane = 0; lane < found->lanes; lane++) {
        memset(found->cold[lane], 0, sizeof found->cold[lane]);
        memset(found->steady[lane], 0, sizeof found->steady[lane]);
        counter_thread_open(&threads[lane], &perf_door_kernel, &setup->config.counters,
                            way_thread(&way, lane));
        counter_refusals(&threads[lane], found->cold[lane]);
        counter_refusals(&threads[lane], found->steady[lane]);
    }
    way_around(&way, counting_around, &c);
    if (passes_count(&c, &way, setup->plan->ops)) {
        setup->outcome->status = OUTCOME_OK;
        columns_set(setup, true);
        columns_set(setup, false);
        cell_heap_close(&h, setup);
    } else {
        cell_heap_exhausted(&h, setup, "the allocator returned NULL in pass %u",
                            c.cold ? 0 : c.pass + 1);
    }
    for (unsigned lane = 0; lane < found->lanes; lane++)
        counter_thread_close(&threads[lane]);
    way_close(&way);
}
