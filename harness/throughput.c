/*
 * throughput.c - the timed pass: the fast loop between two clock reads, over and over. The first
 * pass over the new heap is reported apart (cold: pages come from the kernel, predictors learn),
 * and the steady figure is the median of the others. What was live when the recording started is
 * made before the clock starts; the epilogue follows after it has stopped. Of a trace that is
 * decoded while it is replayed, the clock runs for the words that are there and stands while the
 * replay waits for more; the steady figure is the median of the passes that no wait disturbed, or if
 * there was none, of a long trace, the mean of the parts that none did (way.h).
 *
 * A parallel replay (parallel.h) is timed from the common start of all threads to the end of the
 * last; what they waited for each other is reported beside it and not taken off.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "harness/noise.h"
#include "harness/pass.h"
#include "harness/way.h"

#define KEPT_PASSES 4096

struct cpu_time { /* of all threads of the process */
    uint64_t user_ns, system_ns;
};

struct timing {
    uint64_t passes, cold_ns;
    struct cpu_time cold_cpu, steady_cpu;          /* in the first pass; in all others */
    uint64_t kept, stride, steady_ns[KEPT_PASSES]; /* every stride-th pass */
    uint64_t total_ns;                             /* of all steady passes */
    uint64_t decode_wait_ns;                       /* in all of them and those in parts */
    uint64_t part_passes;                          /* of which only parts count, see way.h */
    double part_ns, part_ops;                      /* these parts, added up */
};

/* Notes a steady pass. When the table is full, every other one in it makes room, so that short
   passes, too, go on until the time is over. */
static void steady_note(struct timing *timing, uint64_t took)
{
    if (timing->passes++ % timing->stride)
        return;
    if (timing->kept == KEPT_PASSES) {
        timing->kept /= 2;
        timing->stride *= 2;
        for (uint64_t i = 0; i < timing->kept; i++)
            timing->steady_ns[i] = timing->steady_ns[2 * i];
    }
    timing->steady_ns[timing->kept++] = took;
}

struct cold { /* what the report on the first pass needs */
    const struct cell_heap *heap;
    uint64_t huge_before; /* bytes in huge pages before the heap was made */
    bool huge_known;
};

/* What the cold pass cost the kernel and the door. */
static void cold_report(const struct cell_setup *setup, const struct cold *cold, uint64_t faults)
{
    uint64_t huge;
    if (cold->huge_known && huge_read(&huge))
        outcome_set(setup->outcome, METRIC_anon_huge_bytes,
                    huge > cold->huge_before ? (double)(huge - cold->huge_before) : 0);
    outcome_set(setup->outcome, METRIC_minor_faults_count, (double)faults);
    if (!(setup->spec->design->traits & ALLOCATOR_FOREIGN) && !setup->parallel.copies)
        outcome_set(setup->outcome, METRIC_door_calls_count,
                    (double)os_counts(cold->heap->os).calls_count);
}

/* ---- passes ---- */

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_usec * 1000;
}

static struct cpu_time cpu_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct cpu_time){timeval_ns(usage.ru_utime), timeval_ns(usage.ru_stime)};
}

/* Adds what was spent since `before`. */
static void cpu_add(struct cpu_time *sum, struct cpu_time before)
{
    struct cpu_time now = cpu_now();
    sum->user_ns += now.user_ns - before.user_ns;
    sum->system_ns += now.system_ns - before.system_ns;
}

/* One pass and its epilogue; its time, or 0 if memory ran out. `cold`: of the first pass, else
   NULL. */
static uint64_t pass_run(const struct cell_setup *setup, struct way *way, const struct cold *cold,
                         struct cpu_time *spent)
{
    uint64_t faults = cold ? faults_now() : 0;
    if (!way_begin(way))
        return 0;
    struct cpu_time before = cpu_now();
    uint64_t took = way_run(way);
    cpu_add(spent, before);
    if (took && cold)
        cold_report(setup, cold, faults_now() - faults);
    return took && way_end(way) ? took : 0;
}

/* Adds up what lanes did in a steady pass. */
static void lanes_note(const struct cell_setup *setup, const struct parallel *parallel)
{
    for (unsigned i = 0; i < parallel_lanes(parallel); i++)
        parallel_lane(parallel, i, &setup->outcome->lane[i]);
}

/* A steady pass of which `counted` ops count. */
static void part_note(struct timing *timing, double took, double counted, double ops)
{
    timing->part_passes++;
    timing->part_ns += took * counted / ops;
    timing->part_ops += counted;
}

/* Of a pass, all copies together. */
static double ops_replayed(const struct cell_setup *setup)
{
    unsigned copies = setup->parallel.copies;
    return (double)setup->plan->ops * (copies ? copies : 1);
}

static bool passes_run(const struct cell_setup *setup, struct way *way, const struct cold *cold,
                       struct timing *timing)
{
    uint64_t wanted = setup->plan->ops ? (uint64_t)(setup->config.min_seconds * 1e9) : 0;
    timing->stride = 1;
    timing->cold_ns = pass_run(setup, way, cold, &timing->cold_cpu);
    if (timing->cold_ns &&
        setup->plan->ops) /* at once: a limit may end the cell in the next pass */
        outcome_set(setup->outcome, METRIC_cold_ns_per_op,
                    (double)timing->cold_ns / ops_replayed(setup));
    uint64_t waited = way->replay.decode_wait_ns, start = clock_now_ns();
    while (timing->cold_ns &&
           ((!timing->passes && !(timing->part_ops > 0)) || clock_now_ns() - start < wanted)) {
        uint64_t took = pass_run(setup, way, NULL, &timing->steady_cpu);
        if (!took)
            return false;
        if (!setup->ring || way->counted_ops == setup->plan->ops)
            steady_note(timing, took);
        else
            part_note(timing, (double)took, (double)way->counted_ops, ops_replayed(setup));
        timing->total_ns += took;
        if (way->parallel)
            lanes_note(setup, way->parallel);
    }
    timing->decode_wait_ns = way->replay.decode_wait_ns - waited;
    return timing->cold_ns != 0;
}

static int u64_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double median_ns(struct timing *timing)
{
    uint64_t *t = timing->steady_ns, n = timing->kept;
    qsort(t, n, sizeof *t, u64_order); /* after the run: whatever it allocates is not measured */
    uint64_t low = (n - 1) / 2, high = n / 2;
    return ((double)t[low] + (double)t[high]) / 2;
}

/* What lanes waited, in a pass and as a share of their time. */
static void waits_report(const struct cell_setup *setup, const struct timing *timing,
                         const struct parallel *parallel)
{
    struct outcome *o = setup->outcome;
    double sum = 0, most = 0, busiest = 0, total = (double)timing->total_ns;
    o->lanes = parallel_lanes(parallel);
    for (unsigned i = 0; i < o->lanes; i++) {
        struct lane_share *lane = &o->lane[i];
        sum += (double)lane->wait_ns;
        most = (double)lane->wait_ns > most ? (double)lane->wait_ns : most;
        busiest = (double)lane->busy_ns > busiest ? (double)lane->busy_ns : busiest;
        lane->wait_ns /= timing->passes;
        lane->busy_ns /= timing->passes;
    }
    outcome_set(o, METRIC_lanes_count, o->lanes);
    outcome_set(o, METRIC_wait_ns, sum / (double)timing->passes);
    outcome_set(o, METRIC_wait_ratio, sum / (total * o->lanes));
    outcome_set(o, METRIC_wait_most_ratio, most / total);
    outcome_set(o, METRIC_wait_stretch_ratio, 1 - busiest / total);
}

static void cpu_report(struct outcome *o, const struct timing *timing, double ops)
{
    double steady_ops = ops * (double)timing->passes;
    outcome_set(o, METRIC_cold_user_ns_per_op, (double)timing->cold_cpu.user_ns / ops);
    outcome_set(o, METRIC_cold_system_ns_per_op, (double)timing->cold_cpu.system_ns / ops);
    outcome_set(o, METRIC_user_ns_per_op, (double)timing->steady_cpu.user_ns / steady_ops);
    outcome_set(o, METRIC_system_ns_per_op, (double)timing->steady_cpu.system_ns / steady_ops);
}

static void timing_report(const struct cell_setup *setup, struct timing *timing)
{
    struct outcome *o = setup->outcome;
    o->status = OUTCOME_OK;
    if (!setup->plan->ops) /* nothing to divide by: not measured */
        return;
    double ops = ops_replayed(setup);
    double steady = timing->passes ? median_ns(timing) / ops : timing->part_ns / timing->part_ops;
    outcome_set(o, METRIC_ns_per_op, steady);
    outcome_set(o, METRIC_mops_per_s, 1000 / steady);
    uint64_t passes = timing->passes + timing->part_passes;
    outcome_set(o, METRIC_passes_count, (double)(timing->passes ? timing->passes : passes));
    if (setup->ring) /* and the process's CPU time is not the replay's alone */
        outcome_set(o, METRIC_decode_wait_ns, (double)timing->decode_wait_ns / (double)passes);
    else
        cpu_report(o, timing, ops);
}

void throughput_pass(const struct cell_setup *setup)
{
    static struct timing timing; /* touched before the clock starts; not on the heap under test */
    struct cell_heap h;
    struct cold cold = {.heap = &h};
    struct way way = {.parallel = NULL};
    memset(&timing, 0, sizeof timing);
    cold.huge_known = huge_read(&cold.huge_before);
    if (!cell_heap_open(&h, setup, false))
        return;
    if (!way_open(&way, setup, h.heap))
        return;
    outcome_set(setup->outcome, METRIC_harness_bytes,
                (double)(setup->plan->bytes + way_tables_bytes(&way)));
    struct noise noise = noise_begin();
    if (passes_run(setup, &way, &cold, &timing)) {
        noise_report(&noise, setup->outcome);
        timing_report(setup, &timing);
        if (way.parallel)
            waits_report(setup, &timing, way.parallel);
    } else {
        cell_heap_exhausted(&h, setup, "the allocator returned NULL in pass %llu",
                            (unsigned long long)(timing.cold_ns ? timing.passes + 1 : 0));
    }
    if (setup->outcome->status == OUTCOME_OK)
        cell_heap_close(&h, setup);
    way_close(&way);
}
