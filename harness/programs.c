/*
 * programs.c - see programs.h: the session's side.
 */
#include "harness/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workloads/lib/rng.h"

/* ---- the list ---- */

static int program_add(struct session *s, struct program_list *list, const char *name,
                       const char *command, struct error *err)
{
    unsigned n = s->target_count;
    struct target *targets = realloc(s->targets, (n + 1) * sizeof *targets);
    if (targets)
        s->targets = targets;
    char **commands = targets ? realloc(list->commands, (n + 1) * sizeof *commands) : NULL;
    if (commands)
        list->commands = commands;
    if (!commands || !(commands[n] = strdup(command)))
        return error_set(err, "out of memory for %u programs", n + 1);
    struct target *t = &s->targets[s->target_count++];
    *t = (struct target){.trace_fd = -1, .plans = {{-1, -1, -1, -1}, {-1, -1, -1, -1}}};
    snprintf(t->name, sizeof t->name, "%s", name);
    return 0;
}

static int line_read(struct session *s, struct program_list *list, char *line, struct error *err)
{
    char *name = line + strspn(line, " \t");
    name[strcspn(name, "\n")] = 0;
    if (!*name || *name == '#')
        return 0;
    char *command = name + strcspn(name, " \t");
    if (*command)
        *command++ = 0;
    command += strspn(command, " \t");
    if (!*command)
        return error_set(err, "'%.80s' has no command: NAME COMMAND.. is expected", name);
    if (strlen(command) >= sizeof((struct program_run *)NULL)->command ||
        strlen(name) >= sizeof s->targets->name)
        return error_set(err, "'%.80s': name or command is too long", name);
    for (unsigned i = 0; i < s->target_count; i++)
        if (!strcmp(s->targets[i].name, name))
            return error_set(err, "'%.80s' is there twice", name);
    return program_add(s, list, name, command, err);
}

int programs_read(struct session *s, const char *path, struct program_list *list, struct error *err)
{
    char *line = NULL;
    size_t room = 0;
    unsigned number = 0;
    int result = 0;
    struct error why;
    FILE *f = fopen(path, "re");
    if (!f)
        return error_set(err, "%s: %s", path, strerror(errno));
    while (!result && getline(&line, &room, f) >= 0) {
        number++;
        result = line_read(s, list, line, &why);
    }
    if (result)
        error_set(err, "%s:%u: %s", path, number, why.text);
    else if (ferror(f))
        result = error_set(err, "%s: cannot read: %s", path, strerror(errno));
    else if (!s->target_count)
        result = error_set(err, "%s: no program in it: a line each, NAME COMMAND..", path);
    free(line);
    fclose(f);
    return result;
}

void programs_free(struct session *s, struct program_list *list)
{
    for (unsigned i = 0; list->commands && i < s->target_count; i++)
        free(list->commands[i]);
    free(list->commands);
}

/* ---- processes ---- */

/* Waits; false: it was killed, since the limit of time had passed. */
static bool process_wait(pid_t pid, double seconds, int *status)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    bool in_time = fd < 0 || poll(&ready, 1, (int)(seconds * 1000)) > 0;
    if (!in_time)
        kill(-pid, SIGKILL); /* it, and what it started */
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    if (fd >= 0)
        close(fd);
    return in_time;
}

/* Starts a command in a process group of its own, silent but for stderr if `loud`. */
static pid_t process_start(const char *file, char *const argv[], char *const environment[],
                           bool loud)
{
    pid_t session = getpid(), pid = fork();
    if (pid)
        return pid;
    int null = open("/dev/null", O_RDWR);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != session || setpgid(0, 0) || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(null, STDOUT_FILENO) < 0 || (!loud && dup2(null, STDERR_FILENO) < 0))
        _exit(127);
    execvpe(file, argv, environment);
    _exit(127);
}

static int library_check(const struct contender *c, struct error *err)
{
    char *argv[] = {"alloclab", "program", "check", (char *)c->preload.path, NULL};
    if (!via_malloc(c))
        return error_set(err,
                         "%s has no drop-in library, so no program runs on it: `alloclab exec "
                         "--list` says which designs have one",
                         c->text);
    if (!c->preload.path[0])
        return 0;
    char **environment = preload_environment(&c->preload, "");
    int status = -1;
    pid_t pid = environment ? process_start("/proc/self/exe", argv, environment, true) : -1;
    if (pid > 0)
        process_wait(pid, 30, &status);
    free(environment);
    return status ? error_set(err, "%s: no program can be run on %s", c->text, c->preload.path) : 0;
}

int programs_check(const struct session *s, struct error *err)
{
    char *version[] = {"hyperfine", "--version", NULL};
    int status = -1;
    pid_t pid = process_start(version[0], version, environ, false);
    if (pid > 0)
        process_wait(pid, 30, &status);
    if (status)
        return error_set(err, "hyperfine is not there: install the Debian package hyperfine "
                              "(scripts/install.sh programs)");
    for (unsigned i = 0; i < s->contender_count; i++)
        if (library_check(&s->contenders[i], err))
            return -1;
    return 0;
}

/* ---- one run ---- */

/* A number of hyperfine's JSON file, in seconds; false: it is not there. */
static bool json_seconds(const char *text, const char *key, double *ns)
{
    char *end, quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(text, quoted);
    if (!at)
        return false;
    *ns = strtod(at + strlen(quoted), &end) * 1e9;
    return end != at + strlen(quoted);
}

static bool times_read(const char *path, struct outcome *o)
{
    static const struct {
        const char *key;
        enum metric metric;
    } wanted[] = {{"mean", METRIC_program_wall_ns},
                  {"user", METRIC_program_user_ns},
                  {"system", METRIC_program_system_ns}};
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        double ns;
        if (!json_seconds(text, wanted[i].key, &ns))
            return false;
        outcome_set(o, wanted[i].metric, ns);
    }
    return true;
}

static void run_judge(const struct program_run *run, int hyperfine, const char *json,
                      struct outcome *o)
{
    if (hyperfine || !run->ended) {
        outcome_fail(o, OUTCOME_FAILED, "hyperfine ended with status %d",
                     WIFEXITED(hyperfine) ? WEXITSTATUS(hyperfine) : -1);
    } else if (WIFSIGNALED(run->wait_status)) {
        outcome_fail(o, OUTCOME_CRASH, "%s", strsignal(WTERMSIG(run->wait_status)));
    } else if (WEXITSTATUS(run->wait_status)) {
        outcome_fail(o, OUTCOME_FAILED, "exit status %d of: %.400s", WEXITSTATUS(run->wait_status),
                     run->command);
    } else if (!times_read(json, o)) {
        outcome_fail(o, OUTCOME_FAILED, "%.400s: not as hyperfine writes it", json);
    } else {
        outcome_set(o, METRIC_program_peak_resident_bytes, (double)run->peak_bytes);
        outcome_set(o, METRIC_program_faults_count, (double)run->faults);
        o->status = OUTCOME_OK;
    }
}

/* Lets hyperfine time one run of `alloclab program`, which reads `fd`. */
static void hyperfine_run(const struct session *s, struct program_run *run, int fd,
                          const char *label, struct outcome *o)
{
    char self[PATH_MAX] = "", command[PATH_MAX + 32], json[1200], number[16];
    int status = -1;
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 || strchr(self, '\''))
        outcome_fail(o, OUTCOME_FAILED, "alloclab's own path cannot be given to hyperfine");
    snprintf(command, sizeof command, "'%s' program", self);
    snprintf(json, sizeof json, "%s/hyperfine/%04u.json", s->results->directory, s->order);
    snprintf(number, sizeof number, "%d", fd);
    setenv(PROGRAM_FD_VARIABLE, number, 1);
    char *argv[] = {"hyperfine", "-N",          "--runs",        "1",  "--style", "none",
                    "-n",        (char *)label, "--export-json", json, command,   NULL};
    pid_t pid = o->status ? -1 : process_start(argv[0], argv, environ, false);
    unsetenv(PROGRAM_FD_VARIABLE);
    if (pid < 0)
        outcome_fail(o, OUTCOME_FAILED, "cannot start hyperfine: %s", strerror(errno));
    else if (!process_wait(pid, s->limits.seconds, &status))
        outcome_fail(o, OUTCOME_TIMEOUT, "not done after %.0f s", s->limits.seconds);
    else
        run_judge(run, status, json, o);
}

static void program_measure(const struct session *s, const struct contender *c,
                            const struct target *t, const char *program, struct outcome *o)
{
    char label[640];
    int fd = memfd_create("alloclab-program", 0);
    struct program_run *run = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof *run) == 0)
        run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (run == MAP_FAILED) {
        outcome_fail(o, OUTCOME_FAILED, "no memory for a run: %s", strerror(errno));
    } else {
        snprintf(run->command, sizeof run->command, "%s", program);
        snprintf(run->library, sizeof run->library, "%s", c->preload.path);
        snprintf(run->options, sizeof run->options, "%s",
                 c->preload.options ? c->preload.options : "");
        snprintf(run->door, sizeof run->door, "%s", s->door);
        run->load = c->preload.load;
        run->ours = c->preload.options;
        snprintf(label, sizeof label, "%s on %.350s", t->name, c->text);
        hyperfine_run(s, run, fd, label, o);
        munmap(run, sizeof *run);
    }
    if (fd >= 0)
        close(fd);
}

/* ---- the blocks ---- */

static int block_run(struct session *s, const struct program_list *list, struct kept *k,
                     struct rng *rng, unsigned *order, struct error *err)
{
    static struct outcome outcome; /* large */
    for (unsigned i = 0; i < s->contender_count; i++) {
        unsigned j = i + (unsigned)rng_below(rng, s->contender_count - i), taken = order[j];
        order[j] = order[i];
        order[i] = taken;
    }
    for (unsigned i = 0; i < s->contender_count; i++) {
        const struct contender *c = &s->contenders[order[i]];
        k->contender = order[i];
        memset(&outcome, 0, sizeof outcome);
        if (!s->quiet)
            fprintf(stderr, "\r\033[Kblock %u of %u: %s on %s", k->block + 1, s->repeats,
                    s->targets[k->target].name, c->text);
        program_measure(s, c, &s->targets[k->target], list->commands[k->target], &outcome);
        if (!s->quiet)
            fprintf(stderr, "\r\033[K");
        if (outcome.status != OUTCOME_OK) {
            s->failed++;
            fprintf(stderr, "alloclab programs: %s on %s: %s: %s\n", s->targets[k->target].name,
                    c->text, status_names[outcome.status], outcome.detail);
        }
        if (session_keep(s, k, &outcome, err))
            return -1;
    }
    return 0;
}

int programs_run(struct session *s, const struct program_list *list, struct error *err)
{
    char folder[1200];
    struct rng rng = rng_stream(s->seed, 0);
    struct kept k = {.pass = PASS_PROGRAM, .group = "ranked"};
    unsigned *order = calloc(s->contender_count, sizeof *order);
    int result = order ? 0 : error_set(err, "out of memory for %u allocators", s->contender_count);
    snprintf(folder, sizeof folder, "%s/hyperfine", s->results->directory);
    if (!result && mkdir(folder, 0777))
        result = error_set(err, "%s: %s", folder, strerror(errno));
    for (unsigned i = 0; !result && i < s->contender_count; i++)
        order[i] = i;
    for (k.block = 0; !result && k.block < s->repeats; k.block++)
        for (k.target = 0; !result && k.target < s->target_count; k.target++)
            result = block_run(s, list, &k, &rng, order, err);
    free(order);
    return result;
}
