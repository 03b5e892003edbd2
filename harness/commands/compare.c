/*
 * compare.c - `alloclab compare`: is the second results folder worse than the first? For CI: what
 * repeats exactly fails the build on a small change, times only on a significant and large one.
 *
 * Exit status: 0 not worse; 1 something regressed, or failed that was ok; 2 bad input; 3, under
 * --strict alone, a regression cannot be excluded (undecided times, cells that one folder lacks).
 */
#include <stdlib.h>
#include <string.h>

#include "harness/args.h"
#include "harness/judge.h"
#include "harness/machine.h"
#include "harness/registry.h"

enum { ARG_EXACT, ARG_TIMED };

static const char *const arg_names[] = {
    [ARG_EXACT] = "--exact-percent", [ARG_TIMED] = "--timed-percent", NULL};

struct request {
    const char *base, *other;
    struct judge_limits limits;
    bool strict;
};

static int percent_parse(const char *option, const char *text, double *ratio, struct error *err)
{
    char *end;
    double percent = strtod(text, &end);
    if (end == text || *end || !(percent >= 0 && percent <= 1000))
        return error_set(err, "%s: '%s' is not a number from 0 to 1000", option, text);
    *ratio = percent / 100;
    return 0;
}

/* The flag and the folders stand anywhere; what is left over are options with values. */
static int arguments_read(struct request *r, int argc, char **argv, struct error *err)
{
    struct args args = {.argc = argc, .argv = argv, .at = 1};
    int option = 0;
    while (args.at < argc) {
        const char *word = argv[args.at];
        if (word[0] != '-' && !r->other) {
            *(r->base ? &r->other : &r->base) = word;
            args.at++;
        } else if (!strcmp(word, "--strict")) {
            r->strict = true;
            args.at++;
        } else if ((option = args_next(&args, arg_names, err)) < 0 ||
                   percent_parse(arg_names[option], args.value,
                                 option == ARG_EXACT ? &r->limits.exact : &r->limits.timed, err)) {
            return -1;
        }
    }
    return r->other ? 0
                    : error_set(err, "name two results folders; usage: alloclab compare BASE_DIR "
                                     "NEW_DIR");
}

/* ---- the report ---- */

static void change_print(const struct finding *f)
{
    double change = f->base_value > 0 ? 100 * (f->other_value / f->base_value - 1) : 0;
    printf("  %s: %s %.6g, now %.6g", f->other->label, metric_row_of(f->metric)->name,
           f->base_value, f->other_value);
    if (f->timed)
        printf(": ratio %.3f (%.3f..%.3f), q %.2g, counts from %.1f %% on", f->ratio.estimate,
               f->ratio.low, f->ratio.high, f->test.q, 100 * f->least);
    else if (f->base_value > 0)
        printf(" (%+.2f %%)", change);
    putchar('\n');
}

static void changes_print(const struct judgement *j, enum finding_kind kind, bool timed,
                          const char *title)
{
    if (j->kinds[timed][kind])
        printf("%s\n", title);
    for (unsigned i = 0; i < j->finding_count; i++)
        if (j->findings[i].kind == kind && j->findings[i].timed == timed)
            change_print(&j->findings[i]);
}

static const char *state_of(const struct stored_cell *cell)
{
    return cell->detail ? cell->detail : cell->ok ? "ok" : "not applicable";
}

static void matches_print(const struct judgement *j, enum match_kind kind, const char *title)
{
    if (j->match_kinds[kind])
        printf("%s\n", title);
    for (unsigned i = 0; i < j->match_count; i++) {
        const struct match *m = &j->matches[i];
        if (m->kind != kind)
            continue;
        printf("  %s", (m->other ? m->other : m->base)->label);
        if (kind == MATCH_FAILED || kind == MATCH_MENDED || kind == MATCH_NOT_MEASURED)
            printf(": %s, now %s", state_of(m->base), state_of(m->other));
        putchar('\n');
    }
}

static void options_print(const struct judgement *j)
{
    for (unsigned i = 0; i < j->match_count; i++) {
        const struct match *m = &j->matches[i];
        if (m->base && m->other && strcmp(m->base->key, m->other->key))
            printf("warning: options differ: %s, compared with '%s'\n", m->other->label,
                   m->base->options);
    }
}

/* Columns that one of the folders has, as of an older or a newer alloclab. */
static void columns_print(const struct stored *base, const struct stored *other)
{
    for (enum metric metric = 0; metric < METRIC_COUNT; metric++)
        if (base->has[metric] != other->has[metric])
            printf("warning: column %s is in %s alone: not compared\n", metric_row_of(metric)->name,
                   (base->has[metric] ? base : other)->directory);
}

static void disturbed_print(const struct stored *s)
{
    unsigned cells = 0, rows = 0;
    for (unsigned i = 0; i < s->count; i++) {
        cells += s->cells[i].disturbed > 0;
        rows += s->cells[i].disturbed;
    }
    if (cells)
        printf("warning: %s: %u timed rows of %u cells were disturbed (docs/measuring.md, Noise)\n",
               s->directory, rows, cells);
}

static void undecided_print(const struct judgement *j, bool strict)
{
    unsigned count = j->kinds[1][FINDING_UNDECIDED], few = 0;
    for (unsigned i = 0; i < j->finding_count; i++)
        few += j->findings[i].timed && !j->findings[i].ratio.bounded;
    if (strict)
        changes_print(j, FINDING_UNDECIDED, true,
                      "undecided times: a regression that would count cannot be excluded");
    else if (count)
        printf("undecided times: %u: a regression that would count cannot be excluded (--strict "
               "lists them)\n",
               count);
    if (few)
        printf("times with too few repeats to show anything: %u: run both with -r 10\n", few);
}

static void verdict_print(const struct judgement *j, int status)
{
    unsigned exact = 0, timed = 0;
    for (unsigned i = 0; i < j->finding_count; i++)
        *(j->findings[i].timed ? &timed : &exact) += 1;
    printf("%u cells in both: %u exact figures (%u worse, %u better), %u times (%u worse, %u "
           "better, %u undecided): %s\n",
           j->match_kinds[MATCH_COMPARED], exact, j->kinds[0][FINDING_REGRESSED],
           j->kinds[0][FINDING_IMPROVED], timed, j->kinds[1][FINDING_REGRESSED],
           j->kinds[1][FINDING_IMPROVED], j->kinds[1][FINDING_UNDECIDED],
           status == 1   ? "REGRESSED"
           : status == 3 ? "inconclusive"
                         : "not worse");
}

static void report_print(const struct request *r, const struct judgement *j)
{
    options_print(j);
    matches_print(j, MATCH_FAILED, "was ok, and is no longer: counts as a regression");
    changes_print(j, FINDING_REGRESSED, false, "worse, of figures that repeat exactly");
    changes_print(j, FINDING_REGRESSED, true, "slower");
    changes_print(j, FINDING_IMPROVED, false, "better, of figures that repeat exactly");
    changes_print(j, FINDING_IMPROVED, true, "faster");
    undecided_print(j, r->strict);
    matches_print(j, MATCH_DIFFERENT, "not compared: another program under the same name");
    matches_print(j, MATCH_MENDED, "was not ok, and now is");
    matches_print(j, MATCH_NOT_MEASURED, "not compared: not measured in both");
    matches_print(j, MATCH_BASE_ONLY, "not compared: in the first folder alone");
    matches_print(j, MATCH_OTHER_ONLY, "not compared: in the second folder alone");
}

static int folders_compare(const struct request *r, const struct stored *base,
                           const struct stored *other, struct error *err)
{
    struct judgement j;
    if (!machine_compare(r->base, r->other, stdout, err) || judge(&j, base, other, &r->limits, err))
        return 2;
    int status = judgement_status(&j);
    columns_print(base, other);
    disturbed_print(base);
    disturbed_print(other);
    report_print(r, &j);
    verdict_print(&j, status);
    judgement_free(&j);
    return status == 3 && !r->strict ? 0 : status;
}

static int compare_main(int argc, char **argv)
{
    struct error err;
    struct stored base, other;
    struct request r = {.limits = {.exact = 0.005, .timed = 0.05}};
    int status = 2;
    if (!arguments_read(&r, argc, argv, &err) && !stored_open(&base, r.base, &err)) {
        if (!stored_open(&other, r.other, &err)) {
            status = folders_compare(&r, &base, &other, &err);
            stored_close(&other);
        }
        stored_close(&base);
    }
    if (status == 2)
        fprintf(stderr, "alloclab compare: %s\n", err.text);
    return status;
}

COMMAND(compare) = {
    .name = "compare",
    .usage = "compare BASE_DIR NEW_DIR [--strict] [--exact-percent N] [--timed-percent N]",
    .summary = "says what got worse from one results folder to another: exit status 1 if anything "
               "did, 3 if it cannot be excluded (only under --strict)",
    .main = compare_main};
