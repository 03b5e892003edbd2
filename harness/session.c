/*
 * session.c - the order of cells and what becomes of each.
 *
 * Passes that are not timed (memory, verify, drain) run once; timed ones run in `repeats` blocks. A
 * block runs every allocator on every target once; within a target null comes first, since its time
 * is the harness's own cost that the block's other rows carry, and the rest is shuffled by the
 * printed seed. Cells run one at a time, but for those of the drain pass, which mostly wait.
 */
#include "harness/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/array.h"
#include "harness/pass.h"
#include "workloads/lib/rng.h"

#define FLOOR_NAME      "null"
#define PLAN_SHARE      4 /* --replay auto: a plan may take one part in so many of all memory */
#define PARALLEL_TRAITS (ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE)

const char *const release_names[] = {"free", "scope"};

struct job { /* one cell of the session */
    unsigned contender, target, block;
    enum plan_release release;
    enum pass pass;
    unsigned copies; /* of a parallel replay; 0 = serial */
    bool streamed;
    double floor;          /* null's figure, in this block; 0 = unknown */
    struct flight *flight; /* its cell, and behind it those of the jobs that follow */
    unsigned flights;      /* how many of these have begun */
};

struct flight { /* a cell that runs while others are waited for */
    bool begun; /* false: the job does not apply */
    struct cell cell;
    struct cell_running running;
};

/* ---- progress: one line, rewritten, only on a terminal ---- */

struct progress {
    const struct session *s;
    const struct job *job;
};

static void progress_print(const struct progress *p)
{
    const struct session *s = p->s;
    if (s->quiet)
        return;
    fprintf(stderr, "\r\033[K[%u/%u] %s: %s on %s", s->order + 1, s->cells_total,
            pass_names[p->job->pass], s->contenders[p->job->contender].text,
            s->targets[p->job->target].name);
}

static void progress_clear(const struct session *s)
{
    if (!s->quiet)
        fprintf(stderr, "\r\033[K");
}

/* ---- one cell ---- */

/* What the memory pass of the same cell found, or NULL if there was none. */
static const struct kept *memory_find(const struct session *s, const struct job *job)
{
    for (unsigned i = 0; i < s->kept_count; i++) {
        const struct kept *k = &s->kept[i];
        if (k->contender == job->contender && k->target == job->target &&
            k->release == job->release && k->pass == PASS_MEMORY && k->status == OUTCOME_OK)
            return k;
    }
    return NULL;
}

/*
 * Designs that released nothing stand apart: those that do not promise to reuse what is freed,
 * unless scopes' exits gave memory back. That they did shows in the memory pass (less was committed
 * at the peak than was ever handed out); without one it is taken from their having scopes. So do
 * designs called through the contract in a session that ranks what is called through malloc.
 */
static const char *group_name(const struct session *s, const struct job *job,
                              const struct outcome *o)
{
    const struct contender *c = &s->contenders[job->contender];
    const struct kept *memory = memory_find(s, job);
    bool own = job->pass == PASS_MEMORY && o->status == OUTCOME_OK; /* not kept yet */
    const double *value = own ? o->value : memory ? memory->value : NULL;
    const bool *known = own ? o->known : memory ? memory->known : NULL;
    bool scopes = job->release == PLAN_RELEASE_SCOPE && c->runs->scope_enter;
    if (c->runs->traits & ALLOCATOR_FAKE)
        return "floor";
    if (scopes && known && known[METRIC_peak_committed_bytes])
        scopes = value[METRIC_peak_committed_bytes] < value[METRIC_handed_out_bytes];
    if (!(c->runs->traits & ALLOCATOR_REUSES) && !scopes)
        return "never_frees";
    return s->via == VIA_MALLOC && !via_malloc(c) ? "other_via" : "ranked";
}

static void plan_facts(const struct plan *plan, struct outcome *o)
{
    outcome_set(o, METRIC_ops, (double)plan->ops);
    if (plan->flags & PLAN_STREAM) /* objects are not known before they die */
        return;
    outcome_set(o, METRIC_escaped_objects, (double)plan->escaped_objects);
    outcome_set(o, METRIC_escaped_bytes, (double)plan->escaped_bytes);
}

static int outcome_keep(struct session *s, const struct kept *as, const struct outcome *o,
                        struct error *err)
{
    struct kept *grown = array_room(s->kept, s->kept_count, &s->kept_room, sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory for %u rows", s->kept_count + 1);
    s->kept = grown;
    struct kept *k = &s->kept[s->kept_count++];
    *k = *as;
    k->status = o->status;
    snprintf(k->detail, sizeof k->detail, "%.*s", (int)sizeof k->detail - 1, o->detail);
    memcpy(k->value, o->value, sizeof k->value);
    memcpy(k->known, o->known, sizeof k->known);
    return 0;
}

struct row_ids session_ids(const struct session *s, const struct kept *k)
{
    const struct contender *c = &s->contenders[k->contender];
    bool replays = k->pass != PASS_PROGRAM;
    return (struct row_ids){
        .block = k->block,
        .threads = k->threads,
        .copies = k->copies ? k->copies : 1,
        .repeat = k->block,
        .allocator = c->spec.name,
        .options = c->spec.options_text,
        .workload = s->targets[k->target].name,
        .release = replays ? release_names[k->release] : "",
        .replay = !replays      ? ""
                  : k->streamed ? "stream"
                  : k->copies   ? "parallel"
                                : "serial",
        .affinity = k->copies ? affinity_names[s->affinity] : "",
        .via = via_malloc(c) ? "malloc" : "vtable",
        .touch = !replays                 ? ""
                 : pass_observes(k->pass) ? "page"
                                          : touch_names[s->touch],
        .door = via_malloc(c) && !c->preload.options ? "" : s->door,
        .pass = pass_names[k->pass],
        .rank_group = k->group,
        .thp = thp_names[s->thp],
    };
}

int session_keep(struct session *s, const struct kept *as, const struct outcome *o,
                 struct error *err)
{
    if (outcome_keep(s, as, o, err))
        return -1;
    struct row_ids ids = session_ids(s, &s->kept[s->kept_count - 1]);
    ids.order = s->order++;
    return s->results ? results_put(s->results, &ids, o, err) : 0;
}

/* What all of the session's cells have. */
static void cell_complete(const struct session *s, const struct job *job, struct cell *cell)
{
    const struct contender *c = &s->contenders[job->contender];
    cell->spec = &c->spec;
    cell->preload = &c->preload;
    cell->door = s->door;
    cell->seed = s->seed;
    cell->limits = s->limits;
    cell->config = s->config;
    cell->config.open = s->targets[job->target].open;
}

/* It takes a part of a pass once and in order, whatever its words come through. */
static bool pass_streams(enum pass pass)
{
    return pass == PASS_THROUGHPUT || pass == PASS_MEMORY || pass == PASS_VERIFY;
}

/* The progress line, and a look at the cells that have begun meanwhile. */
static void idle(void *arg)
{
    const struct progress *p = arg;
    progress_print(p);
    for (unsigned i = 1; i < p->job->flights; i++)
        cell_look(&p->job->flight[i].cell, &p->job->flight[i].running);
}

/* Runs a cell, or waits for one that has begun. */
static void cell_play(struct session *s, const struct job *job, const struct cell *cell,
                      struct outcome *o)
{
    struct progress progress = {.s = s, .job = job};
    progress_print(&progress);
    if (job->flights)
        cell_end(cell, &job->flight->running, o, idle, &progress);
    else
        (cell->pass == PASS_LOCALITY ? locality_run : cell_run)(cell, o, idle, &progress);
}

/* The cell of a job; false: it does not apply, and the outcome says why. */
static bool job_cell(const struct session *s, const struct job *job, const struct target *target,
                     int plan_fd, const struct plan *plan, struct outcome *o, struct cell *cell)
{
    const struct contender *c = &s->contenders[job->contender];
    if (job->release == PLAN_RELEASE_SCOPE && !c->runs->scope_enter) {
        outcome_fail(o, OUTCOME_NOT_APPLICABLE, "the design has no scopes");
        return false;
    }
    size_t align = (size_t)1 << plan->max_align_log2;
    if (align > ALLOCATOR_ALIGN && !(c->runs->traits & ALLOCATOR_ANY_ALIGN)) {
        outcome_fail(o, OUTCOME_NOT_APPLICABLE,
                     "the workload aligns to %zu bytes, the design to %zu", align, ALLOCATOR_ALIGN);
        return false;
    }
    unsigned missing = job->copies ? PARALLEL_TRAITS & ~c->runs->traits : 0;
    if (missing) {
        outcome_fail(o, OUTCOME_NOT_APPLICABLE, "parallel replay: %s",
                     missing & ALLOCATOR_SHARED ? "the design's heap is for one thread at a time"
                                                : "no thread may free what another allocated");
        return false;
    }
    if (target->streamed && !pass_streams(job->pass)) {
        outcome_fail(o, OUTCOME_NOT_APPLICABLE,
                     "streamed replay: the %s pass needs the plan in memory",
                     pass_names[job->pass]);
        return false;
    }
    *cell = (struct cell){.spec_text = c->preload.path[0] ? c->runs->name : c->text,
                          .plan_fd = plan_fd,
                          .trace_name = target->streamed ? trace_name(target->trace) : NULL,
                          .trace_fd = target->trace_fd,
                          .parallel = {.copies = job->copies, .affinity = s->affinity},
                          .pass = job->pass,
                          .touch = s->touch};
    cell_complete(s, job, cell);
    return true;
}

/* ---- live targets: played against each contender once, then replayed like any trace ---- */

/* Plays the game; the outcome is ok, or says why there is no trace. */
static int live_record(struct session *s, const struct job *job, struct target *played,
                       struct outcome *o, struct error *err)
{
    const struct contender *c = &s->contenders[job->contender];
    const char *name = s->targets[job->target].name;
    int fd = memfd_create("alloclab-game", 0);
    if (fd < 0)
        return error_set(err, "%s: no memory for the trace of a live game: %s", name,
                         strerror(errno));
    struct cell cell = {.spec_text = c->text, .plan_fd = fd, .live = name};
    cell_complete(s, job, &cell);
    cell_play(s, job, &cell, o);
    if (o->status != OUTCOME_OK) {
        close(fd);
        return 0;
    }
    o->status = OUTCOME_NONE;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return target_open_played(played, name, fd, err);
}

/* The target as the pass replays it: the locality pass may take its first ops only. */
static struct target *pass_target(struct session *s, unsigned target, enum pass pass,
                                  struct error *err)
{
    struct target *whole = &s->targets[target];
    if (pass != PASS_LOCALITY || whole->live ||
        trace_reader_totals(whole->trace)->ops <= s->config.locality_ops)
        return whole;
    if (!s->prefixes)
        s->prefixes = calloc(s->target_count, sizeof *s->prefixes);
    if (!s->prefixes) {
        error_set(err, "out of memory for %u workloads", s->target_count);
        return NULL;
    }
    struct target *prefix = &s->prefixes[target];
    if (!prefix->trace && target_open_prefix(prefix, whole, s->config.locality_ops, err))
        return NULL;
    return prefix;
}

/* The target whose plans the job replays: of a live one what it did against the contender. NULL
   with the outcome set if there is none; -1 if the session cannot go on. */
static int job_target(struct session *s, const struct job *job, struct target **target,
                      struct outcome *o, struct error *err)
{
    *target = pass_target(s, job->target, job->pass, err);
    if (!*target || !(*target)->live)
        return *target ? 0 : -1;
    if (!s->played)
        s->played = calloc((size_t)s->target_count * s->contender_count, sizeof *s->played);
    if (!s->played)
        return error_set(err, "out of memory for live games");
    if (!pass_observes(job->pass))
        outcome_fail(o, OUTCOME_NOT_APPLICABLE,
                     "a live game differs from design to design: times do not compare");
    else if (s->contenders[job->contender].runs->traits & ALLOCATOR_FOREIGN)
        outcome_fail(o, OUTCOME_NOT_APPLICABLE,
                     "addresses outside the door do not repeat: no live game");
    if (o->status) {
        *target = NULL;
        return 0;
    }
    *target = &s->played[job->target * s->contender_count + job->contender];
    if (!(*target)->trace && live_record(s, job, *target, o, err))
        return -1;
    if (o->status)
        *target = NULL;
    return 0;
}

/* ---- a job ---- */

static void failure_print(struct session *s, const struct job *job, const struct outcome *o)
{
    if (o->status == OUTCOME_OK && o->latency.note[0]) {
        progress_clear(s);
        fprintf(stderr, "alloclab: %s on %s: %s\n", s->contenders[job->contender].text,
                s->targets[job->target].name, o->latency.note);
    }
    if (o->status == OUTCOME_OK || o->status == OUTCOME_NOT_APPLICABLE)
        return;
    s->failed++;
    progress_clear(s);
    fprintf(stderr, "alloclab: %s on %s, %s pass: %s: %s\n", s->contenders[job->contender].text,
            s->targets[job->target].name, pass_names[job->pass], status_names[o->status],
            o->detail);
}

/* The oracle of a parallel replay runs on the plan that is timed. */
static bool parallel_pass(const struct session *s, enum pass pass)
{
    return s->parallel && (pass == PASS_THROUGHPUT || pass == PASS_VERIFY || pass == PASS_COUNTERS);
}

/* Where all is called through malloc, nothing has views of threads. Elsewhere all designs, with such
   views and without, are to be replayed in the same way. */
static unsigned plan_flags(const struct session *s, enum pass pass, unsigned contender,
                           unsigned release)
{
    if (pass == PASS_OPEN)
        return PLAN_ARRIVALS;
    if (parallel_pass(s, pass))
        return PLAN_PARALLEL;
    if (pass_observes(pass))
        return PLAN_OBSERVE;
    bool merged = s->via == VIA_MALLOC && release == PLAN_RELEASE_FREE &&
                  !s->contenders[contender].runs->thread_enter;
    return merged ? PLAN_MERGED : 0;
}

/* Which of null's figures the rows of its block carry, and in which column. */
static const struct floor_column {
    enum metric of, shown;
} floor_columns[PASS_COUNT] = {
    [PASS_THROUGHPUT] = {METRIC_ns_per_op, METRIC_harness_ns_per_op},
    [PASS_LATENCY] = {METRIC_p50_ns, METRIC_harness_p50_ns},
    [PASS_COUNTERS] = {METRIC_pmu_instructions_per_op, METRIC_harness_pmu_instructions_per_op},
    [PASS_LOCALITY] = {METRIC_locality_instructions_per_op, METRIC_harness_instructions_per_op},
};

/* Runs the cell on its plan; the number of threads in it, or -1. */
static int job_measure(struct session *s, struct job *job, struct target *target, struct outcome *o,
                       struct error *err)
{
    struct plan plan;
    int fd = target_plan(target, job->release,
                         plan_flags(s, job->pass, job->contender, job->release), err);
    if (fd < 0 || plan_header(fd, &plan, err))
        return -1;
    struct cell cell;
    job->streamed = target->streamed;
    if (job_cell(s, job, target, fd, &plan, o, &cell))
        cell_play(s, job, &cell, o);
    plan_facts(&plan, o);
    const struct floor_column *column = &floor_columns[job->pass];
    if (column->shown && job->floor > 0)
        outcome_set(o, column->shown, job->floor);
    if (column->shown && o->known[column->of])
        job->floor = o->value[column->of];
    return (int)plan.threads;
}

/* Throughput beside that of one copy of the same cell in the same block, if there was one. */
static void efficiency_set(const struct session *s, const struct job *job, struct outcome *o)
{
    for (unsigned i = 0; job->copies && o->known[METRIC_mops_per_s] && i < s->kept_count; i++) {
        const struct kept *k = &s->kept[i];
        if (k->contender == job->contender && k->target == job->target && k->block == job->block &&
            k->copies == 1 && k->known[METRIC_mops_per_s])
            outcome_set(o, METRIC_scaling_efficiency_ratio,
                        o->value[METRIC_mops_per_s] / (job->copies * k->value[METRIC_mops_per_s]));
    }
    if (job->copies == 1 && o->known[METRIC_mops_per_s])
        outcome_set(o, METRIC_scaling_efficiency_ratio, 1);
}

static int job_run(struct session *s, struct job *job, struct error *err)
{
    static struct outcome outcome; /* large */
    struct target *target;
    memset(&outcome, 0, sizeof outcome);
    if (job_target(s, job, &target, &outcome, err))
        return -1;
    int threads = target ? job_measure(s, job, target, &outcome, err) : 1;
    if (threads < 0)
        return -1;
    efficiency_set(s, job, &outcome);
    failure_print(s, job, &outcome);
    struct kept as = {.contender = job->contender,
                      .target = job->target,
                      .block = job->block,
                      .release = job->release,
                      .threads = (unsigned)threads,
                      .pass = job->pass,
                      .copies = job->copies,
                      .streamed = job->streamed,
                      .group = group_name(s, job, &outcome)};
    return session_keep(s, &as, &outcome, err);
}

/* ---- the blocks ---- */

static bool is_floor(const struct session *s, unsigned contender)
{
    return !strcmp(s->contenders[contender].runs->name, FLOOR_NAME);
}

/* The release modes of a contender on a target: bit 0 free, bit 1 scope. */
static unsigned release_modes(const struct session *s, unsigned contender, unsigned target)
{
    bool scoped = s->targets[target].scoped;
    bool can = s->contenders[contender].runs->scope_enter != NULL;
    if (s->parallel || s->targets[target].streamed) /* without scopes */
        return 1;
    switch (s->release) {
    case RELEASE_FREE:
        return 1;
    case RELEASE_SCOPE:
        return 2;
    case RELEASE_BOTH:
        return scoped ? 3 : 1;
    default:
        return scoped && can ? 2 : 1;
    }
}

/* How many cells differ in the number of copies alone. */
static unsigned copies_runs(const struct session *s, enum pass pass)
{
    return parallel_pass(s, pass) ? s->copies_count : 1;
}

static int contender_run(struct session *s, struct job *job, struct error *err)
{
    unsigned modes = release_modes(s, job->contender, job->target);
    double floor = job->floor;
    for (int mode = 0; mode < 2; mode++) {
        if (!(modes & 1u << mode))
            continue;
        job->release = (enum plan_release)mode;
        for (unsigned i = 0; i < copies_runs(s, job->pass); i++) {
            job->floor = floor;
            job->copies = parallel_pass(s, job->pass) ? s->copies[i] : 0;
            if (job_run(s, job, err))
                return -1;
        }
    }
    return 0;
}

/* Null first, the rest in random order. */
static void order_shuffle(const struct session *s, unsigned *order, struct rng *rng)
{
    unsigned first = 0;
    for (unsigned i = 0; i < s->contender_count; i++)
        order[i] = i;
    for (unsigned i = 0; i < s->contender_count; i++)
        if (is_floor(s, i)) {
            order[i] = order[first];
            order[first++] = i;
        }
    for (unsigned i = s->contender_count; i > first + 1; i--) {
        unsigned j = first + (unsigned)rng_below(rng, i - first);
        unsigned swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

/* ---- passes that mostly wait: several cells at a time ---- */

#define FLIGHTS_MAX 8

/* How many cells may run side by side on the plan: together they may take what one may, if each
   takes four times what the program holds. The machine's explicit huge pages are few: one at a
   time. */
static unsigned flights_room(const struct session *s, const struct plan *plan)
{
    struct os_config door;
    struct error err;
    if (door_parse(s->door, &door, &err) || door.hugetlb)
        return 1;
    uint64_t room = s->limits.resident_bytes / (4 * plan->peak_requested_bytes + 1);
    return room < 1 ? 1 : room < FLIGHTS_MAX ? (unsigned)room : FLIGHTS_MAX;
}

/* Begins the cell of a job, if it applies, and says how many may run beside each other. */
static int flight_begin(struct session *s, const struct job *job, unsigned *room, struct error *err)
{
    static struct outcome reason; /* large; the job will say it again */
    struct plan plan;
    struct target *target = &s->targets[job->target];
    int fd = target_plan(target, job->release,
                         plan_flags(s, job->pass, job->contender, job->release), err);
    if (fd < 0 || plan_header(fd, &plan, err))
        return -1;
    *room = flights_room(s, &plan);
    job->flight->begun = job_cell(s, job, target, fd, &plan, &reason, &job->flight->cell);
    if (job->flight->begun)
        cell_begin(&job->flight->cell, &job->flight->running);
    return 0;
}

/* The jobs in their order, each begun when there is room, so that its wait passes with others'. */
static int jobs_overlap(struct session *s, struct job *jobs, unsigned count, struct error *err)
{
    struct flight *flights = calloc(count, sizeof *flights);
    unsigned begun = 0, room = 1;
    int result = flights ? 0 : error_set(err, "out of memory for %u cells", count);
    for (unsigned i = 0; i < count && !result; i++) {
        for (; begun < count && begun < i + room && !result; begun++) {
            jobs[begun].flight = &flights[begun];
            result = flight_begin(s, &jobs[begun], &room, err);
        }
        jobs[i].flights = flights[i].begun ? begun - i : 0;
        result = result ? result : job_run(s, &jobs[i], err);
    }
    free(flights);
    return result;
}

/* Of passes whose cells wait; live targets have no plan before they are played. */
static int waiting_block(struct session *s, enum pass pass, unsigned target, const unsigned *order,
                         struct error *err)
{
    unsigned count = 0;
    struct job *jobs = calloc((size_t)s->contender_count * 2, sizeof *jobs);
    if (!jobs)
        return error_set(err, "out of memory for %u allocators", s->contender_count);
    for (unsigned i = 0; i < s->contender_count; i++)
        for (unsigned mode = 0; mode < 2; mode++)
            if (release_modes(s, order[i], target) & 1u << mode)
                jobs[count++] = (struct job){.contender = order[i],
                                             .target = target,
                                             .release = (enum plan_release)mode,
                                             .pass = pass};
    int result = jobs_overlap(s, jobs, count, err);
    free(jobs);
    return result;
}

/* ---- the open loop: one rate for all ---- */

/* Frames come evenly, requests at random, and what was recorded as it did. */
static enum open_schedule schedule_choose(const struct session *s, const struct target *t,
                                          bool clocked)
{
    if (s->config.open.schedule)
        return s->config.open.schedule;
    if (!t->generated && clocked)
        return OPEN_RECORDED;
    return strncmp(t->name, "frame", 5) ? OPEN_POISSON : OPEN_UNIFORM;
}

/* The rate by a closed loop of this contender; false: it cannot be measured so. */
static int open_calibrate(struct session *s, unsigned target, unsigned contender, struct error *err)
{
    static struct outcome outcome; /* large */
    struct target *t = &s->targets[target];
    struct plan plan;
    struct cell cell;
    struct job job = {.contender = contender, .target = target, .pass = PASS_OPEN};
    job.release = release_modes(s, contender, target) & 1 ? PLAN_RELEASE_FREE : PLAN_RELEASE_SCOPE;
    int fd = target_plan(t, job.release, plan_flags(s, PASS_OPEN, job.contender, job.release), err);
    if (fd < 0 || plan_header(fd, &plan, err))
        return -1;
    memset(&outcome, 0, sizeof outcome);
    if (job_cell(s, &job, t, fd, &plan, &outcome, &cell))
        cell_play(s, &job, &cell, &outcome);
    double mean = outcome.value[METRIC_open_service_mean_ns];
    if (outcome.status != OUTCOME_OK || mean <= 0)
        return 0;
    t->open.schedule = schedule_choose(s, t, plan.clocked);
    t->open.rate = s->config.open.rate > 0 ? s->config.open.rate : s->config.open.load * 1e9 / mean;
    progress_clear(s);
    fprintf(stderr,
            "open loop on %s: %llu arrivals a pass, %s, %.0f per second: %.0f %% of what %s can "
            "serve\n",
            t->name, (unsigned long long)plan.arrivals, open_schedule_names[t->open.schedule],
            t->open.rate, t->open.rate * mean / 1e7, s->contenders[contender].text);
    return 0;
}

/* One rate and one schedule for all designs on a target: before its first block libc, or else the
 * first design that can, says how long an arrival takes. */
static int open_settle(struct session *s, unsigned target, struct error *err)
{
    struct target *t = &s->targets[target];
    if (!t->scoped || t->streamed || t->live)
        return 0;
    for (unsigned turn = 0; turn < 2; turn++)
        for (unsigned i = 0; i < s->contender_count && !(t->open.rate > 0); i++) {
            const struct allocator *runs = s->contenders[i].runs;
            bool first = !strcmp(s->contenders[i].text, "libc");
            if (first == turn || runs->traits & ALLOCATOR_FAKE)
                continue;
            if (open_calibrate(s, target, i, err))
                return -1;
        }
    return 0;
}

/* ---- blocks, and the session ---- */

static int target_block(struct session *s, enum pass pass, unsigned block, unsigned target,
                        struct rng *rng, struct error *err)
{
    double floor = 0;
    int result = 0;
    unsigned *order = calloc(s->contender_count, sizeof *order);
    if (!order)
        return error_set(err, "out of memory for %u allocators", s->contender_count);
    order_shuffle(s, order, rng);
    bool waits = pass == PASS_DRAIN && !s->targets[target].live;
    if (waits)
        result = waiting_block(s, pass, target, order, err);
    else if (pass == PASS_OPEN)
        result = open_settle(s, target, err);
    for (unsigned i = 0; i < s->contender_count && !waits && !result; i++) {
        struct job job = {
            .contender = order[i], .target = target, .block = block, .pass = pass, .floor = floor};
        result = contender_run(s, &job, err);
        if (is_floor(s, order[i]))
            floor = job.floor;
    }
    free(order);
    return result;
}

static unsigned cells_count(const struct session *s)
{
    unsigned once = 0, passes = 0;
    for (unsigned c = 0; c < s->contender_count; c++)
        for (unsigned t = 0; t < s->target_count; t++)
            once += (unsigned)__builtin_popcount(release_modes(s, c, t));
    for (enum pass pass = 0; pass < PASS_COUNT; pass++)
        if (s->passes[pass])
            passes += pass_timed(pass) ? s->repeats * copies_runs(s, pass) : 1;
    return once * passes;
}

/* The target's plans for the contender's cells of the pass. */
static int pass_plan(struct session *s, unsigned target, enum pass pass, unsigned contender,
                     struct error *err)
{
    struct target *t = pass_target(s, target, pass, err);
    unsigned modes = release_modes(s, contender, target);
    for (unsigned mode = 0; t && mode < 2; mode++)
        if (modes & 1u << mode &&
            target_plan(t, (enum plan_release)mode, plan_flags(s, pass, contender, mode), err) < 0)
            return -1;
    return t ? 0 : -1;
}

/* Which targets are streamed; says so of those that were not asked to be. */
static int streams_settle(struct session *s, struct error *err)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * os_page_bytes();
    uint64_t budget = s->plan_bytes ? s->plan_bytes : all / PLAN_SHARE;
    for (unsigned i = 0; i < s->target_count; i++) {
        struct target *t = &s->targets[i];
        uint64_t bytes = target_plan_bytes(t);
        t->streamed = !t->live &&
                      (s->stream == STREAM_ALWAYS || (s->stream == STREAM_AUTO && bytes > budget));
        if (!t->streamed || s->stream == STREAM_ALWAYS)
            continue;
        if (s->release == RELEASE_SCOPE || s->release == RELEASE_BOTH)
            return error_set(err,
                             "%s: its plan would take about %llu MiB, so it is streamed, and that "
                             "executes every free: leave --release out, or give --replay serial",
                             t->name, (unsigned long long)bytes >> 20);
        fprintf(stderr,
                "%s: its plan would take about %llu MiB, over the %llu MiB for plans: it is "
                "streamed (--replay stream), and every free is executed\n",
                t->name, (unsigned long long)bytes >> 20, (unsigned long long)budget >> 20);
    }
    return 0;
}

int session_plan(struct session *s, struct error *err)
{
    if (streams_settle(s, err))
        return -1;
    for (unsigned target = 0; target < s->target_count; target++)
        for (unsigned contender = 0; contender < s->contender_count; contender++) {
            if (s->targets[target].live)
                continue;
            for (enum pass pass = 0; pass < PASS_COUNT; pass++)
                if (s->passes[pass] && pass_plan(s, target, pass, contender, err))
                    return -1;
        }
    return 0;
}

int session_run(struct session *s, struct error *err)
{
    struct rng rng = rng_stream(s->seed, 0);
    s->cells_total = cells_count(s);
    for (enum pass pass = 0; pass < PASS_COUNT; pass++) {
        unsigned blocks = !s->passes[pass] ? 0 : pass_timed(pass) ? s->repeats : 1;
        for (unsigned block = 0; block < blocks; block++)
            for (unsigned target = 0; target < s->target_count; target++)
                if (target_block(s, pass, block, target, &rng, err)) {
                    progress_clear(s);
                    return -1;
                }
    }
    progress_clear(s);
    return 0;
}

void session_free(struct session *s)
{
    for (unsigned i = 0; i < s->contender_count; i++)
        spec_free(&s->contenders[i].spec);
    for (unsigned i = 0; i < s->target_count; i++)
        target_close(&s->targets[i]);
    for (unsigned i = 0; s->played && i < s->target_count * s->contender_count; i++)
        if (s->played[i].trace)
            target_close(&s->played[i]);
    for (unsigned i = 0; s->prefixes && i < s->target_count; i++)
        if (s->prefixes[i].trace)
            target_close(&s->prefixes[i]);
    free(s->prefixes);
    free(s->played);
    free(s->contenders);
    free(s->targets);
    free(s->kept);
}
