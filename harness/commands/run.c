/*
 * run.c - `alloclab run`: every allocator on every target, into a results folder, with a table at
 * the end.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/comparison.h"
#include "harness/machine.h"
#include "harness/registry.h"
#include "harness/session_args.h"

struct arguments {
    const char *allocators, *targets, *directory, *base, *door, *counters;
};

enum {
    ARG_ALLOCATORS,
    ARG_TARGETS,
    ARG_DIRECTORY,
    ARG_REPEATS,
    ARG_PASSES,
    ARG_EVERY,
    ARG_LOCALITY_OPS,
    ARG_MINIMUM,
    ARG_OPEN_RATE,
    ARG_OPEN_LOAD,
    ARG_OPEN_SCHEDULE,
    ARG_TOUCH,
    ARG_RELEASE,
    ARG_BASE,
    ARG_VIA,
    ARG_DOOR,
    ARG_SEED,
    ARG_SECONDS,
    ARG_LEAST,
    ARG_MEMORY,
    ARG_REPLAY,
    ARG_PLAN_MEMORY,
    ARG_COPIES,
    ARG_AFFINITY,
    ARG_COUNTERS,
    ARG_THP
};

static const char *const arg_names[] = {[ARG_ALLOCATORS] = "-a",
                                        [ARG_TARGETS] = "-w",
                                        [ARG_DIRECTORY] = "-o",
                                        [ARG_REPEATS] = "-r",
                                        [ARG_PASSES] = "--passes",
                                        [ARG_EVERY] = "--latency-every",
                                        [ARG_LOCALITY_OPS] = "--locality-ops",
                                        [ARG_MINIMUM] = "--latency-replays",
                                        [ARG_OPEN_RATE] = "--open-rate",
                                        [ARG_OPEN_LOAD] = "--open-load",
                                        [ARG_OPEN_SCHEDULE] = "--open-schedule",
                                        [ARG_TOUCH] = "--touch",
                                        [ARG_RELEASE] = "--release",
                                        [ARG_BASE] = "--base",
                                        [ARG_VIA] = "--via",
                                        [ARG_DOOR] = "--door",
                                        [ARG_SEED] = "--seed",
                                        [ARG_SECONDS] = "--limit-seconds",
                                        [ARG_LEAST] = "--min-ms",
                                        [ARG_MEMORY] = "--limit-memory",
                                        [ARG_REPLAY] = "--replay",
                                        [ARG_PLAN_MEMORY] = "--plan-memory",
                                        [ARG_COPIES] = "--copies",
                                        [ARG_AFFINITY] = "--affinity",
                                        [ARG_COUNTERS] = "--counters",
                                        [ARG_THP] = "--thp",
                                        NULL};

static int passes_parse(struct session *s, char *text, struct error *err)
{
    char *rest;
    bool any = false;
    memset(s->passes, 0, sizeof s->passes);
    for (char *piece = strtok_r(text, ",", &rest); piece; piece = strtok_r(NULL, ",", &rest)) {
        int pass;
        if (choice_parse("--passes", piece, pass_names, &pass, err))
            return -1;
        s->passes[pass] = true;
        any = true;
    }
    return any ? 0 : choice_parse("--passes", "", pass_names, &(int){0}, err);
}

/* A prime, so that it does not keep step with what the program repeats. */
static int every_parse(struct session *s, const char *text, struct error *err)
{
    uint64_t every;
    if (number_parse("--latency-every", text, 1, 1000000, &every, err))
        return -1;
    for (uint64_t i = 2; i * i <= every; i++)
        if (every % i == 0)
            return error_set(err,
                             "--latency-every: %llu is not a prime (nor 1): a program that repeats "
                             "something every %llu ops would have the same ones timed each time",
                             (unsigned long long)every, (unsigned long long)i);
    s->config.latency_every = (unsigned)every;
    return 0;
}

/* Where the text of an option is kept that is read later; NULL: it is read at once. */
static const char **text_place(struct arguments *a, int option)
{
    switch (option) {
    case ARG_ALLOCATORS:
        return &a->allocators;
    case ARG_TARGETS:
        return &a->targets;
    case ARG_DIRECTORY:
        return &a->directory;
    case ARG_BASE:
        return &a->base;
    case ARG_DOOR:
        return &a->door;
    case ARG_COUNTERS:
        return &a->counters;
    default:
        return NULL;
    }
}

static const char *const release_choices[] = {"auto", "free", "scope", "both", NULL};

static int thp_parse(struct session *s, const char *text, struct error *err)
{
    int choice;
    if (choice_parse("--thp", text, thp_names, &choice, err))
        return -1;
    s->thp = (enum thp)choice;
    return 0;
}

static int replay_parse(struct session *s, const char *text, struct error *err)
{
    static const char *const choices[] = {"serial", "parallel", "stream", "auto", NULL};
    int choice;
    if (choice_parse("--replay", text, choices, &choice, err))
        return -1;
    s->parallel = choice == 1;
    s->stream = choice < 2 ? STREAM_NEVER : choice == 2 ? STREAM_ALWAYS : STREAM_AUTO;
    return 0;
}

static int minimum_parse(struct session *s, const char *text, struct error *err)
{
    uint64_t number;
    if (number_parse("--latency-replays", text, 1, 10000, &number, err))
        return -1;
    s->config.latency_replays = (unsigned)number;
    return 0;
}

/* The options of the open pass. */
static int open_take(struct open_config *open, int option, const char *text, struct error *err)
{
    int choice = 0;
    if (option == ARG_OPEN_SCHEDULE) {
        int result = choice_parse("--open-schedule", text, open_schedule_names, &choice, err);
        open->schedule = (enum open_schedule)choice;
        return result;
    }
    char *end;
    bool load = option == ARG_OPEN_LOAD;
    double number = strtod(text, &end);
    if (end == text || *end || !(number > 0) || number > (load ? 100 : 1e9))
        return error_set(err, "%s: '%s' is not a number above 0, at most %s", arg_names[option],
                         text, load ? "100 (1 = as much as can be served)" : "1e9 (per second)");
    *(load ? &open->load : &open->rate) = number;
    return 0;
}

static int option_take(struct session *s, void *arguments, int option, char *text,
                       struct error *err)
{
    const char **place = text_place(arguments, option);
    uint64_t number = 0;
    int choice = 0, result = 0;
    if (place) {
        *place = text;
        return 0;
    }
    if (option >= ARG_OPEN_RATE && option <= ARG_OPEN_SCHEDULE)
        return open_take(&s->config.open, option, text, err);
    switch (option) {
    case ARG_REPEATS:
        result = number_parse("-r", text, 1, 1000, &number, err);
        s->repeats = (unsigned)number;
        break;
    case ARG_PASSES:
        return passes_parse(s, text, err);
    case ARG_EVERY:
        return every_parse(s, text, err);
    case ARG_LOCALITY_OPS:
        return number_parse("--locality-ops", text, 1, UINT64_MAX, &s->config.locality_ops, err);
    case ARG_MINIMUM:
        return minimum_parse(s, text, err);
    case ARG_TOUCH:
        result = choice_parse("--touch", text, touch_names, &choice, err);
        s->touch = (enum touch)choice;
        break;
    case ARG_RELEASE:
        result = choice_parse("--release", text, release_choices, &choice, err);
        s->release = (enum release_choice)choice;
        break;
    case ARG_VIA:
        return via_parse(s, text, err);
    case ARG_SEED:
        return number_parse("--seed", text, 0, UINT64_MAX, &s->seed, err);
    case ARG_SECONDS:
        result = number_parse("--limit-seconds", text, 1, 1000000, &number, err);
        s->limits.seconds = (double)number;
        break;
    case ARG_LEAST:
        result = number_parse("--min-ms", text, 1, 1000000, &number, err);
        s->config.min_seconds = (double)number / 1000;
        break;
    case ARG_REPLAY:
        return replay_parse(s, text, err);
    case ARG_PLAN_MEMORY:
        return number_parse("--plan-memory", text, 1, UINT64_MAX, &s->plan_bytes, err);
    case ARG_COPIES:
        return copies_parse(s, text, err);
    case ARG_AFFINITY:
        result = choice_parse("--affinity", text, affinity_names, &choice, err);
        s->affinity = (enum affinity)choice;
        break;
    case ARG_THP:
        return thp_parse(s, text, err);
    case ARG_MEMORY:
        return number_parse("--limit-memory", text, 1, UINT64_MAX, &s->limits.resident_bytes, err);
    }
    return result;
}

static int arguments_read(struct session *s, struct arguments *a, int argc, char **argv,
                          struct error *err)
{
    if (session_options(s, a, arg_names, option_take, argc, argv, err))
        return -1;
    if (!a->targets || !a->directory || !*a->directory)
        return error_set(err, "%s is missing; usage: alloclab run -a SPECS -w TRACES -o DIR",
                         a->targets ? "-o DIR" : "-w WORKLOAD_OR_TRACE,..");
    if (!s->parallel && (s->copies_count || s->affinity))
        return error_set(err, "--copies and --affinity are for --replay parallel");
    if (s->plan_bytes && s->stream != STREAM_AUTO)
        return error_set(err, "--plan-memory is for --replay auto");
    bool frees_all = s->parallel || s->stream == STREAM_ALWAYS;
    if (frees_all && s->release != RELEASE_AUTO && s->release != RELEASE_FREE)
        return error_set(err,
                         "--replay %s executes every free: leave --release out, or give "
                         "--release free",
                         s->parallel ? "parallel" : "stream");
    if (a->counters && !s->passes[PASS_COUNTERS])
        return error_set(err, "--counters is for --passes counters");
    if (!s->copies_count)
        s->copies[s->copies_count++] = 1;
    return 0;
}

/* Rivals are called through malloc only, so a session that ranks them calls all designs so. */
static int via_judge(const struct session *s, enum via asked, struct error *err)
{
    const char *rival = NULL;
    for (unsigned i = 0; i < s->contender_count; i++)
        rival = !rival && s->contenders[i].rival ? s->contenders[i].text : rival;
    if (rival && asked == VIA_VTABLE)
        return error_set(err, "--via vtable: %s can be called through malloc only: leave --via out",
                         rival);
    if (rival && asked == VIA_AUTO)
        fprintf(stderr,
                "%s is called through malloc, and so are all designs that are ranked (--via "
                "malloc)\n",
                rival);
    return 0;
}

/* Else the table of times and memory would be empty: what only counted has one of its own. */
static bool times_or_memory(const struct session *s)
{
    bool any = false;
    for (enum pass pass = 0; pass < PASS_COUNT; pass++)
        any |= s->passes[pass] && pass != PASS_LOCALITY && pass != PASS_COUNTERS;
    return any;
}

/* Compares, writes that and prints the tables. */
static int conclude(const struct session *s, const struct arguments *a, struct error *err)
{
    struct comparisons comparisons;
    if (comparisons_make(s, a->base, &comparisons, err))
        return -1;
    int result = comparisons_write(s, &comparisons, err);
    if (times_or_memory(s))
        summary_print(s, &comparisons, stdout);
    locality_summary_print(s, stdout);
    counters_summary_print(s, stdout);
    summary_open_print(s, stdout);
    comparisons_free(&comparisons);
    return result;
}

static int session_measure(struct session *s, const struct arguments *a, int argc, char **argv,
                           struct error *err)
{
    struct results results;
    if (results_open(&results, a->directory, err))
        return -1;
    results.counters = &s->config.counters;
    results.place = &s->place;
    s->results = &results;
    if (machine_write(s, argc, argv, err))
        return -1;
    fprintf(stderr, "seed %llu, %u allocators, %u workloads, %u blocks\n",
            (unsigned long long)s->seed, s->contender_count, s->target_count, s->repeats);
    int result = session_run(s, err);
    if (!result)
        result = conclude(s, a, err);
    if (!result) {
        printf("\n%u cells, %u failed; results in %s: ", s->order, s->failed, a->directory);
        results_list(&results, stdout);
        putchar('\n');
    }
    struct error closing;
    if (results_close(&results, &closing) && !result) {
        *err = closing;
        result = -1;
    }
    return result;
}

static int session_execute(struct session *s, struct arguments *a, int argc, char **argv,
                           struct error *err)
{
    struct thp_hold hold;
    struct error ending;
    enum via asked = s->via;
    if (session_door(s, a->door ? a->door : "", err))
        return -1;
    if (session_contenders(s, a->allocators, true, err) || session_targets(s, a->targets, err))
        return -1;
    if (via_judge(s, asked, err) || !(a->base = session_base(s, a->base, "libc", err)) ||
        session_plan(s, err))
        return -1;
    if (s->passes[PASS_COUNTERS] &&
        session_counters(s, a->counters ? a->counters : "core,cache,tlb,software", err))
        return -1;
    if (thp_begin(&hold, s->thp, THP_SWITCH, err))
        return -1;
    int result = session_measure(s, a, argc, argv, err);
    if (thp_end(&hold, &ending)) {
        fprintf(stderr, "alloclab run: %s\n", ending.text);
        s->failed++;
    }
    return result;
}

static int run_main(int argc, char **argv)
{
    struct error err;
    struct arguments a = {.base = NULL};
    struct session s = {.repeats = 10,
                        .passes = {[PASS_THROUGHPUT] = true, [PASS_MEMORY] = true},
                        .touch = TOUCH_FIRST,
                        .limits = limits_default(),
                        .config = config_default(),
                        .seed = seed_default(),
                        .quiet = !isatty(STDERR_FILENO)};
    int result = arguments_read(&s, &a, argc, argv, &err);
    if (!result)
        result = session_execute(&s, &a, argc, argv, &err);
    if (result)
        fprintf(stderr, "alloclab run: %s\n", err.text);
    int status = result ? 2 : s.failed ? 1 : 0;
    session_free(&s);
    return status;
}

COMMAND(run) = {
    .name = "run",
    .usage = "run [-a SPEC,..] -w WORKLOAD_OR_TRACE,.. -o DIR [-r BLOCKS] [--passes "
             "PASS,..] [--latency-every PRIME] [--latency-replays N] [--locality-ops N] "
             "[--counters SET|EVENT[+EVENT..],..] [--open-load L|--open-rate PER_SECOND] "
             "[--open-schedule auto|uniform|poisson|recorded] "
             "[--touch none|first|line] [--release auto|free|scope|both] [--base SPEC] [--via "
             "vtable|malloc] [--door thp=on|off,numa=..,hugetlb=yes,commit_limit=BYTES] [--seed N] "
             "[--limit-seconds N] [--limit-memory BYTES] [--min-ms N] "
             "[--replay serial|parallel|stream|auto] [--plan-memory BYTES] [--copies N,..] "
             "[--affinity none|spread] [--thp asis|off|on]",
    .summary =
        "replays every workload on every allocator (default: all), measures, writes CSV files and "
        "prints a table",
    .main = run_main};
