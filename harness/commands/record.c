/*
 * record.c - `alloclab record`: runs a command with the recorder preloaded, waits for it and its
 * descendants, and turns each capture that appeared into a trace.
 *
 * The command runs unchanged: its standard streams, the terminal's signals, and its exit status are
 * its own. The status is reported, and not passed on: 0 means recorded, whatever the command made
 * of it; 1 that a trace is not the whole truth (ops lost, or an order that cannot be); 2 that the
 * command could not be started or recorded.
 *
 * Captures lie in a folder beside the trace, because they are large and belong on the same file
 * system. One process image makes one capture; in the order of their start they become FILE, then
 * FILE with .1 before its extension, and so on.
 */
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/dropin.h"
#include "harness/flusher.h"
#include "harness/registry.h"
#include "harness/ticks.h"
#include "harness/unrecorded.h"
#include "traces/formats/capture.h"
#include "traces/recorder/capture.h"

enum { DONE = 0, UNTRUE = 1, REFUSED = 2 }; /* exit status */

enum { DEFAULT_DEPTH = 64 };

struct request {
    char *trace; /* FILE */
    bool children, keep, pack, clock, whole_command, paths;
    bool each;            /* call is timed */
    bool off;             /* until it is started */
    int signal;           /* starts and stops; 0: none */
    unsigned long sample; /* one object in so many */
    const char *only;     /* a program's name; NULL: all */
    enum capture_sites sites;
    unsigned depth; /* most frames of a stack */
    uint64_t ticks_per_s;
    char **command;
    char library[PATH_MAX], folder[PATH_MAX]; /* the recorder; where the captures go */
};

static const char usage[] = "record [-o FILE] [--children=record|skip] [--clock=yes|each|no] "
                            "[--start=on|off] [--signal=NAME] [--only=PROGRAM] [--sample=1/N] "
                            "[--sites=no|caller|stack[:DEPTH]] [--disclose=command|paths] "
                            "[--keep-capture] [--pack=yes|no] -- CMD ARGS";

/* ---- what the user asked for ---- */

/* Takes "--name=value" with one of two values. 1: taken, 0: another option, -1: another value. */
static int switch_take(const char *arg, const char *name, const char *on, const char *off,
                       bool *out, struct error *err)
{
    size_t length = strlen(name);
    if (strncmp(arg, name, length) != 0 || arg[length] != '=')
        return 0;
    const char *value = arg + length + 1;
    if (strcmp(value, on) != 0 && (!off || strcmp(value, off) != 0))
        return error_set(err, "%s: say %s=%s%s%s", arg, name, on, off ? " or " : "",
                         off ? off : "");
    *out = !strcmp(value, on);
    return 1;
}

/* What follows "--name=" if the option is that one, else NULL. */
static const char *value_of(const char *arg, const char *option)
{
    size_t length = strlen(option);
    return strncmp(arg, option, length) == 0 ? arg + length : NULL;
}

/* Takes "--signal=USR2". As switch_take(). */
static int signal_take(struct request *r, const char *arg, struct error *err)
{
    const char *value = value_of(arg, "--signal=");
    if (!value)
        return 0;
    for (int i = 1; i < NSIG; i++)
        if (sigabbrev_np(i) && !strcmp(sigabbrev_np(i), value))
            r->signal = i;
    if (r->signal == 0 || r->signal == SIGKILL || r->signal == SIGSTOP)
        return error_set(err, "%s: name a signal that can be caught, as in --signal=USR2", arg);
    return 1;
}

/* Takes "--sample=1/N". As switch_take(). */
static int sample_take(struct request *r, const char *arg, struct error *err)
{
    const char *value = value_of(arg, "--sample=");
    char *end;
    if (!value)
        return 0;
    if (strncmp(value, "1/", 2) == 0) {
        r->sample = strtoul(value + 2, &end, 10);
        if (*end == 0 && r->sample >= 1 && r->sample <= 1000000)
            return 1;
    }
    return error_set(err, "%s: say --sample=1/N, N from 1 to 1000000", arg);
}

/* Takes "--clock=each". As switch_take(). */
static int clock_take(struct request *r, const char *arg, struct error *err)
{
    const char *value = value_of(arg, "--clock=");
    if (!value)
        return 0;
    r->each = !strcmp(value, "each");
    r->clock = r->each || !strcmp(value, "yes");
    if (!r->clock && strcmp(value, "no") != 0)
        return error_set(err, "%s: say --clock=yes, --clock=each or --clock=no", arg);
    return 1;
}

/* Takes "--only=nginx". As switch_take(). */
static int only_take(struct request *r, const char *arg, struct error *err)
{
    const char *value = value_of(arg, "--only=");
    if (!value)
        return 0;
    if (!*value)
        return error_set(err, "%s: name a program, as in --only=nginx", arg);
    r->only = value;
    return 1;
}

/* Takes "--disclose=command". As switch_take(). */
static int disclose_take(struct request *r, const char *arg, struct error *err)
{
    const char *value = value_of(arg, "--disclose=");
    if (!value)
        return 0;
    if (!strcmp(value, "command"))
        return r->whole_command = true;
    if (!strcmp(value, "paths"))
        return r->paths = true;
    return error_set(err, "%s: say --disclose=command or --disclose=paths", arg);
}

/* Takes "--sites=stack:32". As switch_take(). */
static int sites_take(struct request *r, const char *arg, struct error *err)
{
    const char *value = value_of(arg, "--sites=");
    if (!value)
        return 0;
    r->sites = CAPTURE_SITES_NO;
    if (!strcmp(value, "no"))
        return 1;
    r->sites = CAPTURE_SITES_CALLER;
    if (!strcmp(value, "caller"))
        return 1;
    r->sites = CAPTURE_SITES_STACK;
    r->depth = DEFAULT_DEPTH;
    char *end = NULL;
    if (strncmp(value, "stack:", 6) == 0 && value[6] >= '1' && value[6] <= '9') {
        unsigned long depth = strtoul(value + 6, &end, 10);
        r->depth = depth <= CAPTURE_DEPTH ? (unsigned)depth : 0;
    }
    if (strcmp(value, "stack") != 0 && (!end || *end || r->depth == 0))
        return error_set(err, "%s: say --sites=no, caller, stack, or stack:N, N from 1 to %d", arg,
                         CAPTURE_DEPTH);
#if !defined(__x86_64__)
    return error_set(err, "%s: stacks are walked on x86-64 alone; say --sites=caller", arg);
#endif
    return 1;
}

static int option_take(struct request *r, const char *arg, struct error *err)
{
    int taken = switch_take(arg, "--children", "record", "skip", &r->children, err);
    if (taken == 0)
        taken = switch_take(arg, "--start", "off", "on", &r->off, err);
    if (taken == 0)
        taken = signal_take(r, arg, err);
    if (taken == 0)
        taken = sample_take(r, arg, err);
    if (taken == 0)
        taken = only_take(r, arg, err);
    if (taken == 0)
        taken = clock_take(r, arg, err);
    if (taken == 0)
        taken = switch_take(arg, "--pack", "yes", "no", &r->pack, err);
    if (taken == 0)
        taken = sites_take(r, arg, err);
    if (taken == 0)
        taken = disclose_take(r, arg, err);
    if (taken == 0 && !strcmp(arg, "--keep-capture")) {
        r->keep = true;
        taken = 1;
    }
    return taken ? taken : error_set(err, "unknown option %s; usage: alloclab %s", arg, usage);
}

static int request_parse(struct request *r, int argc, char **argv, struct error *err)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "-o")) {
            const char *name = i + 1 < argc ? argv[++i] : "";
            if (!*name)
                return error_set(err, "-o '': name the file that the trace goes to");
            free(r->trace);
            r->trace = strdup(name);
        } else if (option_take(r, argv[i], err) < 0) {
            return -1;
        }
    }
    i += i < argc && !strcmp(argv[i], "--");
    if (i == argc)
        return error_set(err, "no command to record; usage: alloclab %s", usage);
    r->command = argv + i;
    if (!r->trace) {
        const char *slash = strrchr(r->command[0], '/');
        if (asprintf(&r->trace, "%s.trace", slash ? slash + 1 : r->command[0]) < 0)
            return error_set(err, "no memory");
    }
    return 0;
}

/* Tries whether the recorder will be able to allocate room on the file system of `folder`. */
static int folder_try(const char *folder, struct error *err)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0; /* a file system without nameless files: the recorder will tell */
    int status = fallocate(fd, 0, 0, (off_t)CAPTURE_ROOM_BYTES * 4);
    int error = errno;
    close(fd);
    if (status != 0)
        return error_set(err,
                         "%s: cannot allocate room for captures here: %s; name a trace (-o) on"
                         " another file system",
                         folder, strerror(error));
    return 0;
}

static int folder_make(struct request *r, struct error *err)
{
    char full[PATH_MAX], template[PATH_MAX];
    if (snprintf(template, sizeof template, "%s.captures.XXXXXX", r->trace) >= PATH_MAX)
        return error_set(err, "%s: the path is too long", r->trace);
    struct stat status;
    if (stat(r->trace, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set(err, "%s: exists and is not a regular file: choose another name",
                         r->trace);
    if (!mkdtemp(template) || !realpath(template, full))
        return error_set(err, "%s: cannot create a folder beside it: %s", r->trace,
                         strerror(errno));
    memcpy(r->folder, full, sizeof full);
    if (geteuid() == 0) /* servers give up their rights: who knows the folder's name may write */
        chmod(full, S_ISVTX | 0733);
    if (folder_try(full, err)) {
        rmdir(full);
        return -1;
    }
    return 0;
}

/* ---- stamps ---- */

/* True if the processors' counters run at one rate and show one time: the kernel trusts them. */
static bool counter_is_a_clock(void)
{
#if defined(__x86_64__)
    char sources[256] = "";
    unsigned a, b, c, d = 0;
    FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/available_clocksource", "re");
    if (f && !fgets(sources, sizeof sources, f))
        *sources = 0;
    if (f)
        fclose(f);
    bool invariant = __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
    return invariant && strstr(sources, "tsc"); /* it is dropped there when it was seen to differ */
#else
    return false;
#endif
}

/* Of the time stamp counter; 0: it cannot be used. Takes 2 ms, which every recording pays: enough for captures
 * of less than 50 ms, because longer ones say themselves at what rate it ran (traces/capture_read.c). */
static uint64_t ticks_per_s(void)
{
    const struct timespec wait = {.tv_nsec = 2 * 1000 * 1000};
    struct ticks_pair before = ticks_pair();
    if (!counter_is_a_clock())
        return 0;
    nanosleep(&wait, NULL);
    struct ticks_pair after = ticks_pair();
    return (uint64_t)((double)(after.ticks - before.ticks) * 1e9 / (double)(after.ns - before.ns));
}

/* ---- running the command ---- */

static volatile sig_atomic_t command_pid; /* to whom SIGTERM goes; 0 once it has ended */
static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    if (command_pid == 0)
        interrupted = 1;
    else if (signal != SIGINT &&
             signal != SIGQUIT) /* the terminal sends those to the command itself */
        kill(command_pid, signal);
}

static const int caught[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};

static void signals_set(void (*handler)(int))
{
    struct sigaction action = {.sa_handler =
                                   handler}; /* no SA_RESTART: waiting can be broken off */
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        sigaction(caught[i], &action, NULL);
}

/* NULL: not set. */
static int setenv_if(const char *name, const char *value)
{
    return value ? setenv(name, value, 1) : unsetenv(name);
}

static int environment_set(const struct request *r)
{
    char signal[16], sample[24], sites[16] = "caller";
    snprintf(signal, sizeof signal, "%d", r->signal);
    snprintf(sample, sizeof sample, "%lu", r->sample);
    if (r->sites == CAPTURE_SITES_STACK)
        snprintf(sites, sizeof sites, "%u", r->depth);
    char only[16], ticks[24];
    snprintf(only, sizeof only, "%d", (int)getpid());
    snprintf(ticks, sizeof ticks, "%" PRIu64, r->ticks_per_s);
    int failed = preload_add(r->library) || setenv(CAPTURE_ENV_DIR, r->folder, 1) ||
                 setenv(CAPTURE_ENV_CLOCK, r->each ? "each" : "some", 1) ||
                 setenv(CAPTURE_ENV_TICKS, ticks, 1) ||
                 setenv_if(CAPTURE_ENV_ONLY, r->children ? r->only : only) ||
                 setenv_if(CAPTURE_ENV_START, r->off ? "off" : NULL) ||
                 setenv_if(CAPTURE_ENV_SIGNAL, r->signal ? signal : NULL) ||
                 setenv_if(CAPTURE_ENV_SITES, r->sites ? sites : NULL) ||
                 setenv_if(CAPTURE_ENV_SAMPLE, r->sample > 1 ? sample : NULL);
    return failed ? -1 : 0;
}

/* In the child: becomes the command, or writes errno to `report`. */
static void command_become(const struct request *r, int report)
{
    signals_set(SIG_DFL);
    if (r->children && !r->only)
        unrecorded_notes(r->folder, r->command[0]);
    if (environment_set(r) == 0)
        execvp(r->command[0], r->command);
    int error = errno;
    ssize_t ignored = write(report, &error, sizeof error);
    (void)ignored;
    _exit(127);
}

/* Starts the command; its pid, or -1. */
static pid_t command_start(const struct request *r, struct error *err)
{
    int report[2], error = 0;
    if (pipe2(report, O_CLOEXEC) != 0)
        return error_set(err, "no pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        command_become(r, report[1]);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return error_set(err, "cannot fork: %s", strerror(errno));
    }
    command_pid = pid;
    ssize_t n;
    do
        n = read(report[0], &error, sizeof error);
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n > 0) {
        waitpid(pid, NULL, 0);
        return error_set(err, "%s: cannot be started: %s", r->command[0], strerror(error));
    }
    return pid;
}

/*
 * Waits for the command, and then for the descendants that it left running, because their captures
 * are not whole before they end; an interrupt breaks that off. The command's status as waitpid
 * gives it.
 */
static int command_wait(pid_t pid, bool descendants)
{
    int status = 0, ignored;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    command_pid = 0;
    while (descendants && !interrupted && (waitpid(-1, &ignored, 0) > 0 || errno == EINTR))
        continue;
    if (interrupted)
        fprintf(stderr, "alloclab record: interrupted: processes that the command left still run;"
                        " what they did until now is converted\n");
    return status;
}

/* Runs the command to its end, and writes out for its processes meanwhile. 0, or -1: it could not be
 * started. */
static int command_run(const struct request *r, int *status, struct error *err)
{
    static struct flusher flusher;
    if (r->children)
        prctl(PR_SET_CHILD_SUBREAPER, 1); /* what a daemon leaves behind is ours to wait for */
    signals_set(on_signal);
    flusher_prepare(&flusher, r->folder);
    pid_t pid = command_start(r, err);
    if (pid > 0) {
        flusher_start(&flusher);
        *status = command_wait(pid, r->children);
    }
    flusher_end(&flusher);
    signals_set(SIG_DFL);
    return pid > 0 ? 0 : -1;
}

/* ---- what came of it ---- */

/* FILE for the first capture, FILE with .n before its extension for the others. The caller frees
 * it. */
static char *output_name(const char *file, size_t n)
{
    const char *slash = strrchr(file, '/'), *dot = strrchr(slash ? slash : file, '.');
    const char *end = file + strlen(file);
    char *name;
    if (n == 0)
        return strdup(file);
    if (!dot || dot == file || dot[-1] == '/')
        dot = end;
    return asprintf(&name, "%.*s.%zu%s", (int)(dot - file), file, n, dot) < 0 ? NULL : name;
}

static void print_odd(const char *what, uint64_t count)
{
    if (count)
        fprintf(stderr, ", %" PRIu64 " %s", count, what);
}

static void trace_summary(const char *path, const struct trace_totals *t,
                          const struct capture_report *report)
{
    uint64_t lost = report->lost_records;
    fprintf(stderr,
            "%s: %s (pid %u): %" PRIu64 " ops, %" PRIu64 " %s, %" PRIu64 " objects (%" PRIu64
            " bytes) live at the end, %" PRIu64 " lost",
            path, report->program, report->pid, t->ops, t->threads,
            t->threads == 1 ? "thread" : "threads", t->end_live_objects, t->end_live_bytes, lost);
    print_odd("live at the start", report->inherited_objects);
    print_odd("not in the sample", report->skipped_calls);
    print_odd("without a site", report->siteless_calls);
    print_odd("freed while stopped", report->unseen_frees);
    print_odd("given out while live", report->odd.double_allocs);
    print_odd("frees of unknown addresses", report->odd.unknown_frees);
    print_odd("reallocs of unknown addresses", report->odd.unknown_reallocs);
    print_odd("forked and not recorded", report->unseen_children);
    print_odd("odd marks", report->odd_marks);
    print_odd("sizes cut to the limit", report->clamped_sizes);
    fputc('\n', stderr);
}

/* Converts one capture. 1: done, but not the whole truth; -1: not done. */
static int capture_finish(const struct request *r, const char *capture, size_t n, struct error *err)
{
    struct capture_options options = {.whole_command = r->whole_command,
                                      .clock = r->clock,
                                      .paths = r->paths,
                                      .running = interrupted};
    struct capture_report report = {0};
    char from[PATH_MAX], *path = output_name(r->trace, n);
    snprintf(from, sizeof from, "%s/%s", r->folder, capture);
    struct trace_writer *out = path ? trace_create(path, err) : NULL;
    int status = -1;
    if (out && capture_convert(from, out, &options, &report, err) == 0) {
        struct trace_totals totals = *trace_writer_totals(out);
        status = trace_finish(out, err);
        if (status == 0)
            trace_summary(path, &totals, &report);
    } else if (out) {
        trace_abandon(out);
    }
    free(path);
    if (status == 0)
        status = report.lost_records + report.odd.double_allocs > 0;
    return status;
}

/* Converts all captures, in the order of their start, if that is wanted now. Exit status. */
static int captures_finish(struct request *r)
{
    struct dirent **entries;
    struct error err;
    int n = scandir(r->folder, &entries, unrecorded_capture, alphasort), status = DONE;
    if (n <= 0) {
        fprintf(stderr, "alloclab record: %s: nothing was recorded: %s\n", r->command[0],
                n < 0 ? strerror(errno) : unrecorded_reason(r->command[0]));
        return REFUSED;
    }
    for (int i = 0; i < n; i++) {
        int done = r->pack ? capture_finish(r, entries[i]->d_name, (size_t)i, &err) : 0;
        if (done < 0) {
            fprintf(stderr, "alloclab record: %s\n", err.text);
            r->keep = true; /* nothing else is left of it */
        }
        if (done < 0 || (done > 0 && status == DONE))
            status = done < 0 ? REFUSED : UNTRUE;
        free(entries[i]);
    }
    free(entries);
    unrecorded_print(r->folder);
    if (status == UNTRUE)
        fprintf(stderr, "alloclab record: a trace above is not the whole truth: ops were lost, or"
                        " stand in an order that cannot be\n");
    return status;
}

static void folder_remove(const struct request *r)
{
    char path[2 * PATH_MAX];
    DIR *dir = opendir(r->folder);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        snprintf(path, sizeof path, "%s/%s", r->folder, e->d_name);
        if (unrecorded_capture(e) || unrecorded_is_notes(e))
            unlink(path);
    }
    if (dir)
        closedir(dir);
    if (rmdir(r->folder) != 0)
        fprintf(stderr, "alloclab record: %s: cannot remove: %s\n", r->folder, strerror(errno));
}

static void print_status(const struct request *r, int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "alloclab record: %s was killed by signal %d (%s)\n", r->command[0],
                WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        fprintf(stderr, "alloclab record: %s ended with exit status %d\n", r->command[0],
                WEXITSTATUS(status));
}

static int record_main(int argc, char **argv)
{
    struct request r = {.children = true, .clock = true, .pack = true};
    struct error err;
    int status = REFUSED, command_status;
    if (request_parse(&r, argc, argv, &err) || library_beside(CAPTURE_LIBRARY, r.library, &err) ||
        folder_make(&r, &err)) {
        fprintf(stderr, "alloclab record: %s\n", err.text);
        free(r.trace);
        return REFUSED;
    }
    r.ticks_per_s = ticks_per_s();
    if (command_run(&r, &command_status, &err)) {
        fprintf(stderr, "alloclab record: %s\n", err.text);
    } else {
        print_status(&r, command_status);
        status = captures_finish(&r);
    }
    if (r.keep || !r.pack)
        fprintf(stderr, "alloclab record: the captures are in %s\n", r.folder);
    else
        folder_remove(&r);
    free(r.trace);
    return status;
}

COMMAND(record) = {
    .name = "record",
    .usage = usage,
    .summary = "run a program unchanged and leave a trace of its allocations",
    .main = record_main,
};
