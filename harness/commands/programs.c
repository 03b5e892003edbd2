/*
 * programs.c - `alloclab programs`: whole programs on each allocator, into a results folder, with a
 * table that says which allocator changed a program's time.
 */
#include "harness/programs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/comparison.h"
#include "harness/machine.h"
#include "harness/registry.h"
#include "harness/session_args.h"

enum {
    ARG_ALLOCATORS,
    ARG_LIST,
    ARG_DIRECTORY,
    ARG_REPEATS,
    ARG_BASE,
    ARG_SEED,
    ARG_SECONDS,
    ARG_THP
};

static const char *const arg_names[] = {[ARG_ALLOCATORS] = "-a",
                                        [ARG_LIST] = "-w",
                                        [ARG_DIRECTORY] = "-o",
                                        [ARG_REPEATS] = "-r",
                                        [ARG_BASE] = "--base",
                                        [ARG_SEED] = "--seed",
                                        [ARG_SECONDS] = "--limit-seconds",
                                        [ARG_THP] = "--thp",
                                        NULL};

struct arguments {
    const char *allocators, *list, *directory, *base;
};

static int option_take(struct session *s, void *arguments, int option, char *text,
                       struct error *err)
{
    struct arguments *a = arguments;
    uint64_t number = 0;
    int result = 0, choice = 0;
    switch (option) {
    case ARG_ALLOCATORS:
        a->allocators = text;
        break;
    case ARG_LIST:
        a->list = text;
        break;
    case ARG_DIRECTORY:
        a->directory = text;
        break;
    case ARG_BASE:
        a->base = text;
        break;
    case ARG_REPEATS:
        result = number_parse("-r", text, 1, 1000, &number, err);
        s->repeats = (unsigned)number;
        break;
    case ARG_SEED:
        return number_parse("--seed", text, 0, UINT64_MAX, &s->seed, err);
    case ARG_SECONDS:
        result = number_parse("--limit-seconds", text, 1, 1000000, &number, err);
        s->limits.seconds = (double)number;
        break;
    default:
        result = choice_parse("--thp", text, thp_names, &choice, err);
        s->thp = (enum thp)choice;
    }
    return result;
}

static int arguments_read(struct session *s, struct arguments *a, int argc, char **argv,
                          struct error *err)
{
    if (session_options(s, a, arg_names, option_take, argc, argv, err))
        return -1;
    if (!a->allocators || !a->list || !a->directory)
        return error_set(err, "%s is missing; usage: alloclab programs -a SPECS -w LIST -o DIR",
                         !a->allocators ? "-a SPEC,.."
                         : !a->list     ? "-w LIST"
                                        : "-o DIR");
    return 0;
}

/* ---- the table ---- */

struct line {
    const struct kept *any; /* a row with figures; NULL: there is none */
    const struct kept *failure;
    unsigned contender;
    double *values; /* room for one a block */
    struct stats_interval wall;
};

static struct stats_interval median_of(const struct session *s, const struct line *line,
                                       unsigned target, enum metric metric)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->kept_count; i++) {
        const struct kept *k = &s->kept[i];
        if (k->target == target && k->contender == line->contender && k->known[metric])
            line->values[count++] = k->value[metric];
    }
    return stats_median(line->values, count);
}

static int line_order(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (!x->any != !y->any)
        return x->any ? -1 : 1;
    return (x->wall.estimate > y->wall.estimate) - (x->wall.estimate < y->wall.estimate);
}

static void ratio_print(const struct comparison *c, bool base)
{
    char text[64] = "-";
    if (c && c->ratio.bounded)
        snprintf(text, sizeof text, "%.3f [%.3f, %.3f]", c->ratio.estimate, c->ratio.low,
                 c->ratio.high);
    else if (c)
        snprintf(text, sizeof text, "%.3f", c->ratio.estimate);
    printf(" %-21s %-18s", base ? "base" : text,
           !c                                ? ""
           : c->blocks < BLOCKS_ENOUGH       ? "too few blocks"
           : c->verdict == VERDICT_UNDECIDED ? "could be chance"
                                             : verdict_names[c->verdict]);
}

static void line_print(const struct session *s, const struct comparisons *found,
                       const struct line *line, unsigned target)
{
    printf("  %-24s", s->contenders[line->contender].text);
    if (line->any) {
        ratio_print(comparisons_find(found, line->any, METRIC_program_wall_ns),
                    found->base[target] == line->contender);
        printf(" %9.1f %9.1f %9.1f %9.1f %9.0f", line->wall.estimate / 1e6,
               median_of(s, line, target, METRIC_program_user_ns).estimate / 1e6,
               median_of(s, line, target, METRIC_program_system_ns).estimate / 1e6,
               median_of(s, line, target, METRIC_program_peak_resident_bytes).estimate / 1048576,
               median_of(s, line, target, METRIC_program_faults_count).estimate);
    }
    if (line->failure)
        printf("  %s: %s", status_names[line->failure->status], line->failure->detail);
    putchar('\n');
}

static int target_print(const struct session *s, const struct comparisons *found, unsigned target,
                        struct error *err)
{
    struct line *lines = calloc(s->contender_count, sizeof *lines);
    double *values = calloc(s->repeats, sizeof *values);
    if (!lines || !values) {
        free(lines);
        free(values);
        return error_set(err, "out of memory for the table; the rows are in results.csv");
    }
    for (unsigned c = 0; c < s->contender_count; c++) {
        lines[c] = (struct line){.contender = c, .values = values};
        for (unsigned i = 0; i < s->kept_count; i++)
            if (s->kept[i].target == target && s->kept[i].contender == c)
                *(s->kept[i].status == OUTCOME_OK ? &lines[c].any : &lines[c].failure) =
                    &s->kept[i];
        lines[c].wall = median_of(s, &lines[c], target, METRIC_program_wall_ns);
    }
    qsort(lines, s->contender_count, sizeof *lines, line_order);
    printf("\n%s (medians of %u blocks)\n  %-24s %-21s %-18s %9s %9s %9s %9s %9s\n",
           s->targets[target].name, s->repeats, "allocator", "ratio of wall time", "", "wall ms",
           "user ms", "system ms", "peak MiB", "faults");
    for (unsigned c = 0; c < s->contender_count; c++)
        line_print(s, found, &lines[c], target);
    free(lines);
    free(values);
    return 0;
}

static int conclude(const struct session *s, const char *base, struct error *err)
{
    struct comparisons found;
    if (comparisons_make(s, base, &found, err))
        return -1;
    int result = comparisons_write(s, &found, err);
    for (unsigned t = 0; !result && t < s->target_count; t++)
        result = target_print(s, &found, t, err);
    if (!result && found.tests)
        printf("\nfaster, slower: significant at 5 %% by signed ranks, Benjamini-Hochberg over the "
               "%u tests of this run\n",
               found.tests);
    comparisons_free(&found);
    return result;
}

/* ---- the session ---- */

static int session_measure(struct session *s, const struct arguments *a,
                           const struct program_list *list, int argc, char **argv,
                           struct error *err)
{
    struct results results;
    if (results_open(&results, a->directory, err))
        return -1;
    s->results = &results;
    int result = machine_write(s, argc, argv, err);
    if (!result) {
        fprintf(stderr, "seed %llu, %u allocators, %u programs, %u blocks\n",
                (unsigned long long)s->seed, s->contender_count, s->target_count, s->repeats);
        result = programs_run(s, list, err);
    }
    result = result ? result : conclude(s, a->base, err);
    if (!result) {
        printf("\n%u runs, %u failed; results in %s: ", s->order, s->failed, a->directory);
        results_list(&results, stdout);
        puts(", hyperfine/");
    }
    struct error closing;
    if (results_close(&results, &closing) && !result) {
        *err = closing;
        result = -1;
    }
    return result;
}

static int session_execute(struct session *s, struct arguments *a, struct program_list *list,
                           int argc, char **argv, struct error *err)
{
    struct thp_hold hold;
    struct error ending;
    if (arguments_read(s, a, argc, argv, err) || session_door(s, "", err) ||
        session_contenders(s, a->allocators, false, err) ||
        !(a->base = session_base(s, a->base, "glibc", err)) ||
        programs_read(s, a->list, list, err) || programs_check(s, err) ||
        thp_begin(&hold, s->thp, THP_SWITCH, err))
        return -1;
    int result = session_measure(s, a, list, argc, argv, err);
    if (thp_end(&hold, &ending)) {
        fprintf(stderr, "alloclab programs: %s\n", ending.text);
        s->failed++;
    }
    return result;
}

static int programs_main(int argc, char **argv)
{
    struct error err;
    struct arguments a = {.base = NULL};
    struct program_list list = {.commands = NULL};
    struct session s = {.repeats = 10,
                        .via = VIA_MALLOC,
                        .limits = limits_default(),
                        .seed = seed_default(),
                        .quiet = !isatty(STDERR_FILENO)};
    int result = session_execute(&s, &a, &list, argc, argv, &err);
    if (result)
        fprintf(stderr, "alloclab programs: %s\n", err.text);
    int status = result ? 2 : s.failed ? 1 : 0;
    programs_free(&s, &list);
    session_free(&s);
    return status;
}

COMMAND(programs) = {
    .name = "programs",
    .usage = "programs -a SPEC,.. -w LIST -o DIR [-r BLOCKS] [--base SPEC] [--seed N] "
             "[--limit-seconds N] [--thp asis|off|on]",
    .summary = "runs whole programs on every allocator, by hyperfine (LIST: a line each, NAME "
               "COMMAND..)",
    .main = programs_main};
