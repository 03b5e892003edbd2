/*
 * open_pass.c - the open pass: the plan on a new heap, by the loop of the throughput pass,
 * with an arrival (open.h) at each scope that begins outside of all others. A short plan is replayed
 * until there were enough arrivals for a 99.9th percentile, each time by a schedule of its own; the
 * first time is the cold one and counts too. One CPU, the clock read
 * twice an arrival, never within one. A cell without a rate is a closed loop: it finds out how long
 * arrivals take, so that the session can set a rate for all.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "harness/pass.h"

#define ENOUGH        2000    /* arrivals */
#define PASSES_MAX    100     /* of plans with few of them */
#define SLEEP_OVER_NS 2000000 /* shorter waits are spent looking at the clock */
#define SPIN_NS       1000000 /* and so is the end of longer ones: a sleep may last too long */

static uint64_t real_now(void *ctx)
{
    (void)ctx;
    return clock_now_ns();
}

static void real_wait(void *ctx, uint64_t until)
{
    (void)ctx;
    uint64_t now = clock_now_ns();
    if (until > now + SLEEP_OVER_NS) {
        uint64_t ns = until - now - SPIN_NS;
        struct timespec rest = {.tv_sec = (time_t)(ns / 1000000000),
                                .tv_nsec = (long)(ns % 1000000000)};
        nanosleep(&rest, NULL);
    }
    while (clock_now_ns() < until)
        ;
}

/* The arrivals' times in the recorded order. */
static void times_read(const struct plan *plan, uint64_t *times, const uint64_t **next)
{
    const struct plan_run *runs = (const void *)((const char *)plan + plan->runs_offset);
    const struct plan_thread *threads = (const void *)((const char *)plan + plan->threads_offset);
    uint64_t count = 0;
    for (uint64_t i = 0; i < plan->threads; i++)
        next[i] = (const void *)((const char *)plan + threads[i].words_offset);
    for (uint64_t i = 0; i < plan->main_runs; i++) {
        const uint64_t *p = next[runs[i].thread], *const end = p + runs[i].words;
        for (; p < end; p += PLAN_KIND(*p) == PLAN_RARE ? 2 : 1)
            if (PLAN_KIND(*p) == PLAN_ARRIVE)
                times[count++] = PLAN_TIME(*p);
        next[runs[i].thread] = end;
    }
}

/* The schedule of a pass, over the one before. */
static void schedule_fill(const struct cell_setup *setup, uint64_t *due, uint64_t pass)
{
    const struct plan *plan = setup->plan;
    const struct open_config *open = &setup->config.open;
    times_read(plan, due, (const uint64_t **)(due + plan->arrivals));
    open_due(due, plan->arrivals, open->schedule, open->rate, setup->seed + pass);
}

/* Its memory, there before the clock starts. NULL with the outcome set. */
static uint64_t *schedule_map(const struct cell_setup *setup, size_t *bytes)
{
    const struct plan *plan = setup->plan;
    *bytes = (plan->arrivals + plan->threads) * sizeof(uint64_t);
    uint64_t *due = mmap(NULL, *bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (due == MAP_FAILED) {
        outcome_fail(setup->outcome, OUTCOME_OOM, "no memory for a schedule of %zu bytes: %s",
                     *bytes, strerror(errno));
        return NULL;
    }
    return due;
}

static bool plan_serve(struct replay *r, struct open_server *server)
{
    const struct plan *plan = r->plan;
    if (!replay_pass_begin(r) || !replay_runs(r, 0, plan->main_runs))
        return false;
    open_end(server);
    if (!replay_runs(r, plan->main_runs, plan->runs))
        return false;
    replay_pass_end(r);
    return true;
}

static bool passes_serve(const struct cell_setup *setup, struct replay *r,
                         struct open_server *server, uint64_t *due)
{
    r->arrive = open_arrive;
    r->arrive_ctx = server;
    for (uint64_t pass = 0; pass < PASSES_MAX && server->arrivals < ENOUGH; pass++) {
        if (due)
            schedule_fill(setup, due, pass);
        if (!plan_serve(r, server))
            return false;
    }
    return true;
}

static void quantiles_report(struct outcome *o, const struct histogram *h,
                             const enum metric metrics[4])
{
    static const uint64_t one_in[] = {2, 100, 1000};
    for (int i = 0; i < 3; i++)
        if (h->total >= one_in[i])
            outcome_set(o, metrics[i], (double)histogram_quantile(h, one_in[i]));
    outcome_set(o, metrics[3], (double)h->max);
}

static void open_report(const struct cell_setup *setup, const struct open_server *s)
{
    static const enum metric response[] = {METRIC_open_response_p50_ns, METRIC_open_response_p99_ns,
                                           METRIC_open_response_p999_ns,
                                           METRIC_open_response_max_ns},
                             service[] = {METRIC_open_service_p50_ns, METRIC_open_service_p99_ns,
                                          METRIC_open_service_p999_ns, METRIC_open_service_max_ns};
    struct outcome *o = setup->outcome;
    double count = (double)s->arrivals;
    outcome_set(o, METRIC_open_arrivals_count, count);
    outcome_set(o, METRIC_open_service_mean_ns, (double)s->busy_ns / count);
    quantiles_report(o, &s->times->service, service);
    if (s->due) {
        outcome_set(o, METRIC_open_rate_per_s, setup->config.open.rate);
        outcome_set(o, METRIC_open_late_ratio, (double)s->late / count);
        outcome_set(o, METRIC_open_utilisation_ratio, (double)s->busy_ns / (double)s->span_ns);
        quantiles_report(o, &s->times->response, response);
    }
    o->status = OUTCOME_OK;
}

static void heap_serve(const struct cell_setup *setup, struct open_server *server, uint64_t *due)
{
    struct cell_heap h;
    struct replay replay;
    if (!cell_replay_open(&h, &replay, setup, false, setup->touch))
        return;
    outcome_set(setup->outcome, METRIC_harness_bytes,
                (double)(setup->plan->bytes + replay.tables_bytes));
    if (passes_serve(setup, &replay, server, due)) {
        open_report(setup, server);
        cell_heap_close(&h, setup);
    } else {
        cell_heap_exhausted(&h, setup, "arrival %llu: the allocator returned NULL",
                            (unsigned long long)server->arrivals);
    }
    replay_close(&replay);
}

void open_pass(const struct cell_setup *setup)
{
    struct open_times *times = &setup->outcome->open;
    struct open_server server = {.clock = {.now = real_now, .wait = real_wait}, .times = times};
    size_t bytes = 0;
    uint64_t *due = NULL;
    if (!setup->plan->arrivals) {
        outcome_fail(setup->outcome, OUTCOME_NOT_APPLICABLE,
                     "no scopes: there are no frames or requests that could arrive");
        return;
    }
    cpu_keep();
    prctl(PR_SET_TIMERSLACK, 1);
    memset(times, 0, sizeof *times); /* its pages are there before the clock is read */
    times->schedule = setup->config.open.schedule;
    times->rate = setup->config.open.rate;
    if (times->rate > 0 && !(due = schedule_map(setup, &bytes)))
        return;
    server.due = due;
    heap_serve(setup, &server, due);
    if (due)
        munmap(due, bytes);
}
