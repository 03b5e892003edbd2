/*
 * locality.c - the session's side of the locality pass: callgrind's command line, and its output
 * made into counts. The output goes to a memfd that the cell inherits, so no file is left behind
 * however the cell ends.
 */
#include "harness/locality.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/cell.h"
#include "harness/pass.h"

#define SIMULATOR "valgrind"
/* Valgrind makes a program some fifty times slower, of which a limit for a cell that hangs should
   not know: this much of it is left to the bound on the ops. */
#define SLOWER 4

#define CACHE_FIRST "32768,8,64"
#define CACHE_LAST  "8388608,16,64"
#define TLB_FIRST   "262144,4,4096"
#define TLB_LAST    "6291456,12,4096"
#define GEOMETRY(name, first, last)                                                                \
    {                                                                                              \
        name, first, last,                                                                         \
        {                                                                                          \
            "--I1=" first, "--D1=" first, "--LL=" last                                             \
        }                                                                                          \
    }

const struct locality_geometry locality_geometries[] = {
    [LOCALITY_CACHE] = GEOMETRY("cache", CACHE_FIRST, CACHE_LAST),
    [LOCALITY_TLB] = GEOMETRY("tlb", TLB_FIRST, TLB_LAST),
};

const char *const locality_event_names[] = {
#define LOCALITY_NAME(name) #name,
    LOCALITY_EVENTS(LOCALITY_NAME)
#undef LOCALITY_NAME
};

/* ---- callgrind's output ---- */

/* Which event each column of the totals is; LOCALITY_EVENT_COUNT: none of ours. */
struct columns {
    unsigned event[64], count;
};

static void columns_read(char *names, struct columns *columns)
{
    char *rest;
    columns->count = 0;
    for (char *name = strtok_r(names, " \n", &rest); name && columns->count < 64;
         name = strtok_r(NULL, " \n", &rest)) {
        unsigned event = 0;
        while (event < LOCALITY_EVENT_COUNT && strcmp(name, locality_event_names[event]))
            event++;
        columns->event[columns->count++] = event;
    }
}

static int totals_take(const char *numbers, const struct columns *columns,
                       uint64_t count[LOCALITY_EVENT_COUNT], struct error *err)
{
    bool there[LOCALITY_EVENT_COUNT + 1] = {false};
    char *end;
    for (unsigned i = 0; i < columns->count; i++) {
        uint64_t number = strtoull(numbers, &end, 10);
        numbers = end; /* at the end of the line: 0, again and again */
        there[columns->event[i]] = true;
        if (columns->event[i] < LOCALITY_EVENT_COUNT)
            count[columns->event[i]] = number;
    }
    numbers += strspn(numbers, " \n");
    if (*numbers)
        return error_set(err, "callgrind's totals are not numbers, one an event: %s", numbers);
    for (unsigned event = 0; event < LOCALITY_EVENT_COUNT; event++)
        if (!there[event])
            return error_set(err, "callgrind did not count %s", locality_event_names[event]);
    return 0;
}

int locality_totals(FILE *file, uint64_t count[LOCALITY_EVENT_COUNT], char *source, size_t bytes,
                    struct error *err)
{
    static const char creator[] = "creator: ", events[] = "events: ", totals[] = "totals: ";
    struct columns columns = {.count = 0};
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    int result = 0;
    memset(count, 0, LOCALITY_EVENT_COUNT * sizeof *count);
    source[0] = 0;
    while (!found && getline(&line, &room, file) > 0) {
        found = !strncmp(line, totals, sizeof totals - 1);
        if (found)
            result = totals_take(line + sizeof totals - 1, &columns, count, err);
        else if (!strncmp(line, events, sizeof events - 1))
            columns_read(line + sizeof events - 1, &columns);
        else if (!strncmp(line, creator, sizeof creator - 1))
            snprintf(source, bytes, "%.*s", (int)strcspn(line + sizeof creator - 1, "\n"),
                     line + sizeof creator - 1);
    }
    free(line);
    if (!found)
        return error_set(err, "callgrind left no totals");
    if (!result && !count[LOCALITY_Ir])
        return error_set(err, "callgrind counted nothing: did it not find the function "
                              "locality_counted in the program's symbols?");
    return result;
}

/* ---- a cell under callgrind ---- */

static void totals_report(struct outcome *o, int fd, enum locality_model model)
{
    struct locality *l = &o->locality;
    struct error err;
    FILE *file = lseek(fd, 0, SEEK_SET) == 0 ? fdopen(dup(fd), "r") : NULL;
    if (!file)
        outcome_fail(o, OUTCOME_FAILED, "cannot read callgrind's output: %s", strerror(errno));
    else if (locality_totals(file, l->count[model], l->source, sizeof l->source, &err))
        outcome_fail(o, OUTCOME_FAILED, "%s", err.text);
    if (file)
        fclose(file);
}

static void model_run(const struct cell *cell, enum locality_model model, struct outcome *o,
                      void (*idle)(void *), void *arg)
{
    struct locality before = o->locality;
    const struct locality_geometry *geometry = &locality_geometries[model];
    char out[64];
    int fd = memfd_create("alloclab-callgrind", 0);
    if (fd < 0) {
        outcome_fail(o, OUTCOME_FAILED, "no memory for callgrind's output: %s", strerror(errno));
        return;
    }
    snprintf(out, sizeof out, "--callgrind-out-file=/proc/self/fd/%d", fd);
    /* Nothing from files and variables of the user: the figures would depend on them. */
    const char *const under[] = {SIMULATOR,
                                 "--command-line-only=yes",
                                 "-q",
                                 "--tool=callgrind",
                                 "--vgdb=no",
                                 "--cache-sim=yes",
                                 "--collect-atstart=no",
                                 "--toggle-collect=locality_counted",
                                 geometry->options[0],
                                 geometry->options[1],
                                 geometry->options[2],
                                 out,
                                 NULL};
    struct cell wrapped = *cell;
    wrapped.under = under;
    wrapped.limits.seconds *= SLOWER;
    cell_run(&wrapped, o, idle, arg);
    o->locality = before;
    if (o->status == OUTCOME_OK)
        totals_report(o, fd, model);
    close(fd);
}

static bool simulator_found(void)
{
    char path[PATH_MAX];
    const char *folders = getenv("PATH");
    for (const char *at = folders ? folders : ""; *at; at += strcspn(at, ":"), at += *at == ':')
        if (snprintf(path, sizeof path, "%.*s/" SIMULATOR, (int)strcspn(at, ":"), at) <
                (int)sizeof path &&
            access(path, X_OK) == 0)
            return true;
    return false;
}

static void report(struct outcome *o, double ops)
{
    const uint64_t *cache = o->locality.count[LOCALITY_CACHE];
    const uint64_t *tlb = o->locality.count[LOCALITY_TLB];
    double first = (double)cache[LOCALITY_Ir], second = (double)tlb[LOCALITY_Ir];
    o->locality.known = true;
    outcome_set(o, METRIC_locality_instructions_count, first);
    outcome_set(o, METRIC_locality_rerun_ratio, second / first);
    if (!(ops > 0)) /* nothing to divide by: not measured */
        return;
    outcome_set(o, METRIC_locality_instructions_per_op, first / ops);
    outcome_set(o, METRIC_locality_l1_misses_per_op,
                (double)(cache[LOCALITY_D1mr] + cache[LOCALITY_D1mw]) / ops);
    outcome_set(o, METRIC_locality_ll_misses_per_op,
                (double)(cache[LOCALITY_DLmr] + cache[LOCALITY_DLmw]) / ops);
    outcome_set(o, METRIC_locality_dtlb_misses_per_op,
                (double)(tlb[LOCALITY_D1mr] + tlb[LOCALITY_D1mw]) / ops);
    outcome_set(o, METRIC_locality_page_walks_per_op,
                (double)(tlb[LOCALITY_DLmr] + tlb[LOCALITY_DLmw]) / ops);
}

void locality_run(const struct cell *cell, struct outcome *outcome, void (*idle)(void *), void *arg)
{
    struct plan plan;
    struct error err;
    if (!simulator_found()) {
        outcome_fail(outcome, OUTCOME_FAILED,
                     "the locality pass needs valgrind, which is not installed: run `make "
                     "locality-deps`");
        return;
    }
    for (enum locality_model model = 0; model < LOCALITY_MODELS; model++) {
        model_run(cell, model, outcome, idle, arg);
        if (outcome->status != OUTCOME_OK)
            return;
    }
    if (plan_header(cell->plan_fd, &plan, &err))
        outcome_fail(outcome, OUTCOME_FAILED, "%s", err.text);
    else
        report(outcome, (double)plan.ops);
}
