/*
 * parallel.c - lanes: which recorded threads run on which OS thread, the common start, and the
 * clock. See parallel.h.
 *
 * OS threads are made once and sleep between passes, so that no pass pays for their making. At the
 * start of a pass each says that it is awake, and all leave together when the last one is; the pass
 * lasts from the first that left to the last that is done.
 */
#include "harness/parallel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/pass.h"

#define LINE      128        /* two cache lines: the prefetcher fetches pairs */
#define NO_THREAD UINT32_MAX /* the end of a lane's list */
#define LOOKS     200        /* for the others to be awake, before the CPU is given away */

const char *const affinity_names[] = {"none", "spread", NULL};

struct route {      /* the way of a recorded thread */
    uint64_t words; /* of the trace, the epilogue's apart */
    uint32_t next;  /* the thread that runs after it on its lane */
    uint32_t lane;
};

struct lane {
    _Alignas(LINE) struct parallel *parallel;
    struct replay *replay; /* of its copy */
    uint32_t first;        /* recorded thread */
    bool done;             /* all its words were replayed */
    uint64_t start_ns, end_ns;
    pthread_t os_thread;
    pid_t thread;
    sem_t go;
};

struct parallel {
    const struct plan *plan;
    struct parallel_loop loop;
    struct route *routes; /* by recorded thread */
    struct replay replays[PARALLEL_LANES_MAX];
    unsigned copies, copies_open, lanes_per_copy, lanes, lanes_made;
    size_t routes_bytes;
    bool ending;
    sem_t done;
    parallel_around *around;
    void *around_ctx;
    _Alignas(LINE) _Atomic unsigned awake;
    struct lane lane[PARALLEL_LANES_MAX];
};

static const uint64_t *words_of(const struct plan *plan, uint32_t thread)
{
    const struct plan_thread *threads = (const void *)((const char *)plan + plan->threads_offset);
    return (const void *)((const char *)plan + threads[thread].words_offset);
}

/* ---- lanes ---- */

static void *pages_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The lane for a thread that starts: one whose last thread has ended, or a new one. */
static bool lane_take(struct parallel *p, uint32_t *last, uint32_t thread)
{
    unsigned lane = 0;
    while (lane < p->lanes_per_copy && p->routes[last[lane]].lane != NO_THREAD)
        lane++;
    if (lane == PARALLEL_LANES_MAX)
        return false;
    if (lane == p->lanes_per_copy) {
        p->lanes_per_copy++;
        p->lane[lane].first = thread;
    } else {
        p->routes[last[lane]].next = thread;
    }
    p->routes[thread].lane = lane;
    last[lane] = thread;
    return true;
}

/*
 * Follows the runs. A thread's first word starts it, and if it ends in the trace, that is its last
 * word there; a route's lane is NO_THREAD before that and after.
 */
static bool lanes_find(struct parallel *p)
{
    const struct plan *plan = p->plan;
    const struct plan_run *runs = (const void *)((const char *)plan + plan->runs_offset);
    uint32_t last[PARALLEL_LANES_MAX];
    for (uint64_t i = 0; i < plan->threads; i++)
        p->routes[i] = (struct route){.next = NO_THREAD, .lane = NO_THREAD};
    for (uint64_t i = 0; i < plan->main_runs; i++) {
        uint32_t thread = runs[i].thread;
        struct route *route = &p->routes[thread];
        if (!runs[i].words)
            continue;
        if (!route->words && !lane_take(p, last, thread))
            return false;
        route->words += runs[i].words;
        if (PLAN_KIND(words_of(plan, thread)[route->words - 1]) == PLAN_STOP)
            route->lane = NO_THREAD;
    }
    return true;
}

/* ---- an OS thread ---- */

static bool fast_runs(void *ctx, struct replay *r, unsigned copy, uint64_t from, uint64_t to)
{
    (void)ctx, (void)copy;
    return replay_runs(r, from, to);
}

static bool fast_thread(void *ctx, struct replay *r, unsigned copy, uint32_t thread,
                        const uint64_t *end)
{
    (void)ctx, (void)copy;
    return replay_thread(r, thread, end);
}

static const struct parallel_loop fast_loop = {.runs = fast_runs, .thread = fast_thread};

static void start_together(struct parallel *p)
{
    atomic_fetch_add_explicit(&p->awake, 1, memory_order_relaxed);
    for (unsigned looks = 0; atomic_load_explicit(&p->awake, memory_order_relaxed) < p->lanes;)
        if (++looks > LOOKS)
            sched_yield();
}

static bool lane_run(struct lane *lane)
{
    const struct parallel *p = lane->parallel;
    unsigned copy = (unsigned)(lane->replay - p->replays);
    for (uint32_t t = lane->first; t != NO_THREAD; t = p->routes[t].next)
        if (!p->loop.thread(p->loop.ctx, lane->replay, copy, t,
                            words_of(p->plan, t) + p->routes[t].words))
            return false;
    return true;
}

static void *lane_main(void *arg)
{
    struct lane *lane = arg;
    struct parallel *p = lane->parallel;
    lane->thread = gettid();
    sem_post(&p->done);
    for (;;) {
        while (sem_wait(&lane->go))
            ;
        if (p->ending)
            return NULL;
        start_together(p);
        lane->start_ns = clock_now_ns();
        if (p->around)
            p->around(p->around_ctx, (unsigned)(lane - p->lane), true);
        lane->done = lane_run(lane);
        if (p->around)
            p->around(p->around_ctx, (unsigned)(lane - p->lane), false);
        lane->end_ns = clock_now_ns();
        sem_post(&p->done);
    }
}

/* ---- open, close ---- */

/* Lane i runs on the i-th of the CPUs that the process may use, beginning again after the last. */
static int lane_pin(const struct lane *lane, unsigned i)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return errno;
    unsigned wanted = i % (unsigned)CPU_COUNT(&allowed);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || wanted--)
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return pthread_setaffinity_np(lane->os_thread, sizeof one, &one);
}

static int lane_make(struct parallel *p, unsigned i, enum affinity affinity, struct error *err)
{
    struct lane *lane = &p->lane[i];
    lane->parallel = p;
    lane->replay = &p->replays[i / p->lanes_per_copy];
    lane->first = p->lane[i % p->lanes_per_copy].first;
    sem_init(&lane->go, 0, 0);
    int why = pthread_create(&lane->os_thread, NULL, lane_main, lane);
    if (why)
        return error_set(err, "parallel replay: thread %u of %u cannot start: %s", i + 1, p->lanes,
                         strerror(why));
    p->lanes_made++;
    while (sem_wait(&p->done)) /* it has said which thread it is */
        ;
    why = affinity == AFFINITY_SPREAD ? lane_pin(lane, i) : 0;
    return why ? error_set(err, "--affinity spread: thread %u cannot be bound to a CPU: %s", i + 1,
                           strerror(why))
               : 0;
}

static int lanes_open(struct parallel *p, const struct allocator *design, struct heap *heap,
                      enum touch touch, const struct parallel_config *config, struct error *err)
{
    p->routes = pages_map(p->routes_bytes);
    if (!p->routes)
        return error_set(err, "parallel replay: no memory for %llu threads: %s",
                         (unsigned long long)p->plan->threads, strerror(errno));
    if (!lanes_find(p) || p->lanes_per_copy * (uint64_t)config->copies > PARALLEL_LANES_MAX)
        return error_set(err,
                         "parallel replay: %s%u threads at once, in each of %u copies: at most %d "
                         "run in all; replay it serially, or fewer copies",
                         p->lanes_per_copy == PARALLEL_LANES_MAX ? "more than " : "",
                         p->lanes_per_copy, config->copies, PARALLEL_LANES_MAX);
    p->lanes = p->lanes_per_copy * p->copies;
    for (; p->copies_open < p->copies; p->copies_open++)
        if (replay_open(&p->replays[p->copies_open], p->plan, design, heap, touch, err))
            return -1;
    for (unsigned i = 0; i < p->lanes; i++)
        if (lane_make(p, i, config->affinity, err))
            return -1;
    return 0;
}

struct parallel *parallel_open(const struct plan *plan, const struct allocator *design,
                               struct heap *heap, enum touch touch,
                               const struct parallel_config *config, struct error *err)
{
    if (!(plan->flags & PLAN_PARALLEL)) {
        error_set(err, "parallel replay: the plan was made without turns");
        return NULL;
    }
    struct parallel *p = pages_map(sizeof *p);
    if (!p) {
        error_set(err, "parallel replay: no memory for its lanes: %s", strerror(errno));
        return NULL;
    }
    p->plan = plan;
    p->loop = fast_loop;
    p->copies = config->copies;
    p->routes_bytes = (plan->threads + 1) * sizeof *p->routes;
    sem_init(&p->done, 0, 0);
    if (lanes_open(p, design, heap, touch, config, err)) {
        parallel_close(p);
        return NULL;
    }
    return p;
}

void parallel_close(struct parallel *p)
{
    p->ending = true;
    for (unsigned i = 0; i < p->lanes_made; i++)
        sem_post(&p->lane[i].go);
    for (unsigned i = 0; i < p->lanes_made; i++) {
        pthread_join(p->lane[i].os_thread, NULL);
        sem_destroy(&p->lane[i].go);
    }
    for (unsigned i = 0; i < p->copies_open; i++)
        replay_close(&p->replays[i]);
    if (p->routes)
        munmap(p->routes, p->routes_bytes);
    sem_destroy(&p->done);
    munmap(p, sizeof *p);
}

void parallel_loop_set(struct parallel *p, const struct parallel_loop *loop)
{
    p->loop = *loop;
}

/* ---- a pass ---- */

bool parallel_begin(struct parallel *p)
{
    for (unsigned i = 0; i < p->copies; i++) {
        replay_layout_next(&p->replays[i]);
        if (!replay_pass_begin(&p->replays[i]) ||
            !p->loop.runs(p->loop.ctx, &p->replays[i], i, 0, p->plan->start_runs))
            return false;
    }
    return true;
}

uint64_t parallel_run(struct parallel *p)
{
    bool done = true;
    atomic_store_explicit(&p->awake, 0, memory_order_relaxed);
    for (unsigned i = 0; i < p->lanes; i++)
        sem_post(&p->lane[i].go);
    for (unsigned i = 0; i < p->lanes; i++)
        while (sem_wait(&p->done))
            ;
    uint64_t start = UINT64_MAX, end = 0;
    for (unsigned i = 0; i < p->lanes; i++) {
        const struct lane *lane = &p->lane[i];
        done &= lane->done;
        start = lane->start_ns < start ? lane->start_ns : start;
        end = lane->end_ns > end ? lane->end_ns : end;
    }
    return !done ? 0 : end > start ? end - start : 1;
}

bool parallel_end(struct parallel *p)
{
    for (unsigned i = 0; i < p->copies; i++) {
        if (!p->loop.runs(p->loop.ctx, &p->replays[i], i, p->plan->main_runs, p->plan->runs))
            return false;
        replay_pass_end(&p->replays[i]);
    }
    return true;
}

/* ---- what there is to know ---- */

void parallel_around_set(struct parallel *p, parallel_around *around, void *ctx)
{
    p->around = around;
    p->around_ctx = ctx;
}

pid_t parallel_thread(const struct parallel *p, unsigned lane)
{
    return p->lane[lane].thread;
}

unsigned parallel_lanes(const struct parallel *p)
{
    return p->lanes;
}

size_t parallel_tables_bytes(const struct parallel *p)
{
    size_t bytes = sizeof *p + p->routes_bytes;
    for (unsigned i = 0; i < p->copies; i++)
        bytes += p->replays[i].tables_bytes;
    return bytes;
}

void parallel_lane(const struct parallel *p, unsigned i, struct lane_share *share)
{
    const struct lane *lane = &p->lane[i];
    uint64_t wait_ns = 0;
    share->copy = i / p->lanes_per_copy;
    share->first_thread = lane->first;
    share->recorded_threads = 0;
    for (uint32_t t = lane->first; t != NO_THREAD; t = p->routes[t].next) {
        wait_ns += lane->replay->threads[t].wait_ns;
        share->recorded_threads++;
    }
    share->wait_ns += wait_ns;
    share->busy_ns += lane->end_ns - lane->start_ns - wait_ns;
}
