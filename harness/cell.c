/*
 * cell.c - starts a cell's process, watches its time and resident memory, and turns however it
 * ended into an outcome.
 */
#include "harness/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/child_tie.h"
#include "harness/decoder.h"
#include "harness/pass.h"

const char *const pass_names[] = {
#define PASS_NAME(id, name, timed) #name,
    PASSES(PASS_NAME)
#undef PASS_NAME
        NULL,
    "program"};
const char *const touch_names[] = {"none", "first", "line", NULL};
const char *const status_names[] = {"none",           "ok",    "oom",     "failed",
                                    "not_applicable", "crash", "timeout", "memory_limit"};

bool pass_timed(enum pass pass)
{
    static const bool timed[PASS_COUNT] = {
#define PASS_TIMED(id, name, timed) timed,
        PASSES(PASS_TIMED)
#undef PASS_TIMED
    };
    return pass == PASS_PROGRAM || timed[pass];
}

#define SAID_BYTES ((rlim_t)4 << 20) /* most that a cell may print */

struct cell_command {
    const char *file;
    char *argv[CELL_UNDER_MAX + 4];
    char program[PATH_MAX], shared[16];
};

/*
 * In the child, between fork and exec: only system calls. The cell dies with the session, whatever
 * ends that; what it prints goes to one place, of limited size, and not among the session's output.
 */
static void child_start(const struct cell_command *command, char *const environment[], int said_fd,
                        pid_t session)
{
    static const char no_exec[] = "cannot execute the cell's program\n";
    struct rlimit said = {SAID_BYTES, SAID_BYTES};
    child_tie(session);
    setrlimit(RLIMIT_FSIZE, &said);
    if (dup2(said_fd, STDOUT_FILENO) >= 0 && dup2(said_fd, STDERR_FILENO) >= 0)
        execvpe(command->file, command->argv, environment);
    if (write(said_fd, no_exec, sizeof no_exec - 1) < 0)
        _exit(126);
    _exit(127);
}

/* Starts the process and what watches it; false if either cannot be had. */
static bool child_fork(const struct cell_command *command, char *const environment[],
                       struct cell_running *child)
{
    pid_t session = getpid();
    child->start_ns = clock_now_ns();
    child->pid = fork();
    if (child->pid == 0)
        child_start(command, environment, child->said_fd, session);
    if (child->pid > 0) {
        child->pid_fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
        if (child->pid_fd >= 0)
            return true;
        int why = errno; /* it cannot be watched */
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
        errno = why;
    }
    close(child->said_fd);
    return false;
}

/* False: a text is longer than a request holds, and errno says so. */
static bool request_text(char *to, size_t room, const char *text)
{
    errno = E2BIG;
    return snprintf(to, room, "%s", text ? text : "") < (int)room;
}

static bool request_fill(struct cell_request *r, const struct cell *cell, int ring_fd)
{
    *r = (struct cell_request){.plan_fd = cell->plan_fd,
                               .ring_fd = ring_fd,
                               .pass = cell->pass,
                               .touch = cell->touch,
                               .seed = cell->seed,
                               .config = cell->config,
                               .parallel = cell->parallel};
    return request_text(r->spec, sizeof r->spec, cell->spec_text) &&
           request_text(r->door, sizeof r->door, cell->door) &&
           request_text(r->live, sizeof r->live, cell->live) &&
           request_text(r->preload, sizeof r->preload, cell->preload->path);
}

/* What is executed is this program, by a path that means the same to whoever starts it. */
static void command_fill(struct cell_command *c, const struct cell *cell, int shared_fd)
{
    static const char self[] = "/proc/self/exe";
    ssize_t length = readlink(self, c->program, sizeof c->program - 1);
    int n = 0;
    c->program[length > 0 ? length : 0] = 0;
    c->file = cell->under ? cell->under[0] : self;
    snprintf(c->shared, sizeof c->shared, "%d", shared_fd);
    for (; cell->under && cell->under[n] && n < CELL_UNDER_MAX; n++)
        c->argv[n] = (char *)cell->under[n];
    c->argv[n++] = cell->under ? c->program : "alloclab";
    c->argv[n++] = "cell";
    c->argv[n++] = c->shared;
    c->argv[n] = NULL;
}

static bool child_spawn(const struct cell *cell, struct cell_running *child)
{
    struct cell_command command;
    char **environment =
        cell->preload->path[0] ? preload_environment(cell->preload, cell->door) : environ;
    if (!environment)
        return false;
    command_fill(&command, cell, child->shared_fd);
    child->said_fd = memfd_create("alloclab-said", MFD_CLOEXEC);
    bool started = child->said_fd >= 0 && child_fork(&command, environment, child);
    int why = errno;
    if (environment != environ)
        free(environment);
    errno = why;
    return started;
}

static uint64_t child_resident(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    return resident_read(path);
}

/* False: the cell is over a limit, its outcome says which, and it is killed. */
static bool limits_hold(const struct cell *cell, struct cell_running *child)
{
    if (child->decoding)
        decoder_watch(&child->decoder);
    double seconds = (double)(clock_now_ns() - child->start_ns) / 1e9;
    uint64_t resident = child_resident(child->pid);
    struct outcome *outcome = &child->shared->outcome;
    if (resident > cell->limits.resident_bytes)
        outcome_fail(outcome, OUTCOME_MEMORY_LIMIT, "resident %llu MiB, over the limit of %llu MiB",
                     (unsigned long long)resident >> 20,
                     (unsigned long long)cell->limits.resident_bytes >> 20);
    else if (seconds > cell->limits.seconds)
        outcome_fail(outcome, OUTCOME_TIMEOUT, "not done after %.0f s", cell->limits.seconds);
    else
        return true;
    child->stopped = true;
    kill(child->pid, SIGKILL);
    return false;
}

/* Waits for the child's end, or for a limit. */
static void child_watch(const struct cell *cell, struct cell_running *child, void (*idle)(void *),
                        void *arg)
{
    struct pollfd ready = {.fd = child->pid_fd, .events = POLLIN};
    while (!child->stopped && poll(&ready, 1, 100) <= 0)
        if (limits_hold(cell, child) && idle)
            idle(arg);
}

/* The last line that the cell printed: where a design says what was wrong. */
static void last_line(int fd, char *line, size_t bytes)
{
    char text[1024] = "";
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > (off_t)sizeof text - 1 ? size - (off_t)sizeof text + 1 : 0;
    ssize_t got = pread(fd, text, sizeof text - 1, from);
    line[0] = 0;
    if (got <= 0)
        return;
    while (got > 0 && text[got - 1] == '\n')
        text[--got] = 0;
    const char *start = strrchr(text, '\n');
    snprintf(line, bytes, "%s", start ? start + 1 : text);
}

static void end_judge(const struct cell_running *child, int wait_status, struct outcome *outcome)
{
    char said[400];
    last_line(child->said_fd, said, sizeof said);
    if (WIFSIGNALED(wait_status)) {
        int number = WTERMSIG(wait_status);
        outcome_fail(outcome, OUTCOME_CRASH, "%s%s%s", strsignal(number), said[0] ? ": " : "",
                     said);
    } else if (WEXITSTATUS(wait_status) || outcome->status == OUTCOME_NONE) {
        outcome_fail(outcome, OUTCOME_CRASH, "exit status %d%s%s", WEXITSTATUS(wait_status),
                     said[0] ? ": " : "", said);
    }
}

static void child_finish(const struct cell *cell, struct cell_running *child, void (*idle)(void *),
                         void *arg)
{
    int wait_status = 0;
    child_watch(cell, child, idle, arg);
    while (waitpid(child->pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    if (!child->stopped)
        end_judge(child, wait_status, &child->shared->outcome);
    close(child->pid_fd);
}

static bool open_sane(const struct open_times *t)
{
    return isfinite(t->rate) && t->schedule <= OPEN_RECORDED;
}

static bool tail_sane(const struct latency_tail *t)
{
    return t->kind < LATENCY_OPS && t->causes < 2 * LATENCY_CAUSES_KNOWN;
}

static bool latency_sane(const struct latency *l)
{
    bool sane = isfinite(l->tick_ns) && l->tails <= LATENCY_TAILS && l->worsts <= LATENCY_WORST &&
                *(const unsigned char *)&l->least_known <= 1;
    for (uint32_t i = 0; sane && i < l->tails; i++)
        sane = tail_sane(&l->tail[i]);
    for (uint32_t i = 0; sane && i < l->worsts; i++)
        sane = tail_sane(&l->worst[i]);
    return sane;
}

static bool counters_sane(const struct counters_found *f)
{
    bool sane = f->lanes <= PARALLEL_LANES_MAX;
    for (uint32_t lane = 0; sane && lane < f->lanes; lane++)
        for (uint32_t i = 0; i < COUNTERS_MAX; i++)
            sane &= isfinite(f->cold[lane][i].value) && isfinite(f->steady[lane][i].value);
    return sane;
}

/* The outcome lay in the reach of the design under test: a wild write must not reach further. */
static void outcome_guard(struct outcome *o)
{
    o->detail[sizeof o->detail - 1] = 0;
    o->mode[sizeof o->mode - 1] = 0;
    o->latency.note[sizeof o->latency.note - 1] = 0;
    memset(&o->locality, 0, sizeof o->locality); /* the session's own */
    bool sane = o->status > OUTCOME_NONE && o->status <= OUTCOME_MEMORY_LIMIT &&
                o->samples <= OUTCOME_SAMPLES && o->heapmap_samples <= HEAPMAP_SAMPLES &&
                o->heapmap_buckets <= HEAPMAP_BUCKETS && o->lanes <= PARALLEL_LANES_MAX &&
                o->drain_samples <= DRAIN_SAMPLES && counters_sane(&o->counters) &&
                latency_sane(&o->latency) && open_sane(&o->open);
    for (int i = 0; i < METRIC_COUNT && sane; i++)
        sane = *(const unsigned char *)&o->known[i] <= 1 && isfinite(o->value[i]);
    if (sane)
        return;
    memset(o, 0, sizeof *o);
    outcome_fail(o, OUTCOME_CRASH, "the cell wrote over its own results");
}

/* A decoder beside the cell, if the plan has no words. */
static bool decoder_begin(const struct cell *cell, struct cell_running *r)
{
    struct plan header;
    r->decoding =
        cell->trace_name && !plan_header(cell->plan_fd, &header, &r->refusal) &&
        !decoder_start(&r->decoder, cell->trace_fd, cell->trace_name, &header, &r->refusal);
    return r->decoding || !cell->trace_name;
}

void cell_begin(const struct cell *cell, struct cell_running *r)
{
    *r = (struct cell_running){.shared_fd = memfd_create("alloclab-cell", 0), .shared = MAP_FAILED};
    if (r->shared_fd >= 0 && ftruncate(r->shared_fd, sizeof *r->shared) == 0)
        r->shared =
            mmap(NULL, sizeof *r->shared, PROT_READ | PROT_WRITE, MAP_SHARED, r->shared_fd, 0);
    if (r->shared == MAP_FAILED)
        error_set(&r->refusal, "no memory for a cell's outcome: %s", strerror(errno));
    else if (!decoder_begin(cell, r))
        return;
    else if (!request_fill(&r->shared->request, cell, r->decoding ? r->decoder.ring_fd : -1) ||
             !child_spawn(cell, r))
        error_set(&r->refusal, "the cell could not start: %s", strerror(errno));
    else
        r->started = true;
}

void cell_look(const struct cell *cell, struct cell_running *r)
{
    struct pollfd ended = {.fd = r->pid_fd, .events = POLLIN};
    if (r->started && !r->stopped && poll(&ended, 1, 0) == 0)
        limits_hold(cell, r);
}

void cell_end(const struct cell *cell, struct cell_running *r, struct outcome *outcome,
              void (*idle)(void *), void *arg)
{
    if (r->started) {
        child_finish(cell, r, idle, arg);
        memcpy(outcome, &r->shared->outcome, sizeof *outcome);
        close(r->said_fd);
        outcome_guard(outcome);
    } else {
        outcome_fail(outcome, OUTCOME_CRASH, "%s", r->refusal.text);
    }
    uint64_t decoder_bytes = r->decoding ? decoder_end(&r->decoder) : 0;
    if (decoder_bytes)
        outcome_set(outcome, METRIC_decoder_bytes, (double)decoder_bytes);
    if (r->shared != MAP_FAILED)
        munmap(r->shared, sizeof *r->shared);
    if (r->shared_fd >= 0)
        close(r->shared_fd);
}

void cell_run(const struct cell *cell, struct outcome *outcome, void (*idle)(void *), void *arg)
{
    struct cell_running running;
    cell_begin(cell, &running);
    cell_end(cell, &running, outcome, idle, arg);
}
