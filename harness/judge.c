/*
 * judge.c - see judge.h.
 */
#include "harness/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/array.h"

/* Below these an exact figure's change is too small to mean anything, whatever its percentage: two
   of what is counted, a page, a hundredth of an event an op. */
#define SLACK_COUNT  2
#define SLACK_BYTES  4096
#define SLACK_RATIO  0.002
#define SLACK_PER_OP 0.01

static double slack_of(const struct metric_row *row)
{
    const char *per = strstr(row->name, "_per_op");
    if (per && !strcmp(per, "_per_op"))
        return SLACK_PER_OP;
    if (!strcmp(row->unit, "bytes"))
        return SLACK_BYTES;
    return strcmp(row->unit, "count") ? SLACK_RATIO : SLACK_COUNT;
}

/* ---- one figure ---- */

static double *copy_of(const struct stored_values *v)
{
    double *copy = malloc(v->count * sizeof *copy);
    if (copy)
        memcpy(copy, v->list, v->count * sizeof *copy);
    return copy;
}

static void exact_judge(struct finding *f, double *base, double *other, double least)
{
    const struct metric_row *row = metric_row_of(f->metric);
    f->base_value = stats_median(base, f->base->value[f->metric].count).estimate;
    f->other_value = stats_median(other, f->other->value[f->metric].count).estimate;
    double worse = f->other_value - f->base_value, slack = slack_of(row);
    if (!strcmp(row->better, "higher"))
        worse = -worse;
    if (fabs(worse) > fmax(least * f->base_value, slack))
        f->kind = worse > 0 ? FINDING_REGRESSED : FINDING_IMPROVED;
}

/* Their logarithms, in place; false: there is a 0 among them. */
static bool logs_take(double *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (values[i] <= 0)
            return false;
        values[i] = log(values[i]);
    }
    return true;
}

/* All but the verdict, which needs the q of the whole family; false: there is no ratio. */
static bool timed_judge(struct finding *f, double *base, double *other, double least)
{
    unsigned n = f->base->value[f->metric].count, m = f->other->value[f->metric].count;
    if (!logs_take(base, n) || !logs_take(other, m))
        return false;
    f->timed = true;
    f->test.p = stats_rank_sum(base, n, other, m).p;
    f->ratio = stats_shift_between(base, n, other, m);
    f->base_value = exp(stats_median(base, n).estimate);
    f->other_value = exp(stats_median(other, m).estimate);
    f->ratio.estimate = exp(f->ratio.estimate);
    f->ratio.low = f->ratio.bounded ? exp(f->ratio.low) : 0;
    f->ratio.high = f->ratio.bounded ? exp(f->ratio.high) : 0;
    double spread = fmax(stats_spread(base, n), stats_spread(other, m)); /* of logs: relative */
    f->least = fmax(least, exp(3 * spread) - 1);
    return true;
}

static void timed_decide(struct finding *f)
{
    bool significant = f->test.q <= STATS_ALPHA;
    double limit = 1 + f->least;
    if (significant && f->ratio.estimate > limit)
        f->kind = FINDING_REGRESSED;
    else if (significant && f->ratio.estimate < 1 / limit)
        f->kind = FINDING_IMPROVED;
    else if (!f->ratio.bounded || f->ratio.high > limit)
        f->kind = FINDING_UNDECIDED;
}

/* The cell's own test that callgrind counted the same twice: 1 in all rows, or not measured. */
static bool rerun_agrees(const struct stored_cell *cell)
{
    const struct stored_values *v = &cell->value[METRIC_locality_rerun_ratio];
    unsigned i = 0;
    while (i < v->count && v->list[i] == 1)
        i++;
    return i == v->count;
}

/* A figure that is the same on each run of the cell, and can be better or worse. */
static bool repeats(const struct metric_row *row, const struct match *match)
{
    if (!strcmp(row->better, "none"))
        return false;
    return !strcmp(row->how, "exact") || (!strcmp(row->how, "repeats") &&
                                          rerun_agrees(match->base) && rerun_agrees(match->other));
}

static int figure_judge(struct judgement *j, const struct match *match, enum metric metric,
                        const struct judge_limits *limits, struct error *err)
{
    const struct metric_row *row = metric_row_of(metric);
    bool timed = metric_is_time(row), exact = repeats(row, match);
    const struct stored_values *base = &match->base->value[metric],
                               *other = &match->other->value[metric];
    if ((!timed && !exact) || !base->count || !other->count)
        return 0;
    struct finding *grown =
        array_room(j->findings, j->finding_count, &j->finding_room, sizeof *grown);
    double *ours = copy_of(base), *theirs = copy_of(other);
    int result = grown && ours && theirs ? 0 : error_set(err, "out of memory to compare");
    if (grown)
        j->findings = grown;
    if (!result) {
        struct finding *f = &j->findings[j->finding_count];
        *f = (struct finding){.base = match->base, .other = match->other, .metric = metric};
        if (exact)
            exact_judge(f, ours, theirs, limits->exact);
        j->finding_count += exact || timed_judge(f, ours, theirs, limits->timed);
    }
    free(ours);
    free(theirs);
    return result;
}

/* ---- cells ---- */

static int match_add(struct judgement *j, const struct stored_cell *base,
                     const struct stored_cell *other, struct error *err)
{
    struct match *grown = array_room(j->matches, j->match_count, &j->match_room, sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory to compare");
    j->matches = grown;
    j->matches[j->match_count++] = (struct match){.base = base, .other = other};
    return 0;
}

/* The cell of the folder that differs in options alone, if it is the only one, and has no partner of
   its own; else NULL. */
static const struct stored_cell *loose_find(const struct stored *in, const struct stored *from,
                                            const struct stored_cell *like)
{
    const struct stored_cell *found = NULL;
    for (unsigned i = 0; i < in->count; i++) {
        const struct stored_cell *cell = &in->cells[i];
        if (strcmp(cell->loose_key, like->loose_key) || stored_find(from, cell->key))
            continue;
        if (found)
            return NULL;
        found = cell;
    }
    return found;
}

/* The partner of a cell of `from` in `in`: the same cell, else the one that differs in options
   alone, if that is mutual. */
static const struct stored_cell *partner_find(const struct stored *in, const struct stored *from,
                                              const struct stored_cell *of)
{
    const struct stored_cell *same = stored_find(in, of->key);
    if (same)
        return same;
    const struct stored_cell *like = loose_find(in, from, of);
    return like && loose_find(from, in, like) == of ? like : NULL;
}

static int cells_match(struct judgement *j, const struct stored *base, const struct stored *other,
                       struct error *err)
{
    for (unsigned i = 0; i < base->count; i++)
        if (match_add(j, &base->cells[i], partner_find(other, base, &base->cells[i]), err))
            return -1;
    for (unsigned i = 0; i < other->count; i++)
        if (!partner_find(base, other, &other->cells[i]) &&
            match_add(j, NULL, &other->cells[i], err))
            return -1;
    return 0;
}

/* Cells of one name replayed other programs: what they asked for is not the same. */
static bool different(const struct match *m)
{
    static const enum metric asked[] = {METRIC_ops, METRIC_peak_requested_bytes};
    for (unsigned i = 0; i < sizeof asked / sizeof *asked; i++) {
        const struct stored_values *a = &m->base->value[asked[i]], *b = &m->other->value[asked[i]];
        if (a->count && b->count && a->list[0] != b->list[0])
            return true;
    }
    return false;
}

static enum match_kind match_judge(const struct match *m)
{
    if (!m->base || !m->other)
        return m->base ? MATCH_BASE_ONLY : MATCH_OTHER_ONLY;
    if (m->base->ok && !m->base->detail && m->other->detail)
        return MATCH_FAILED;
    if (!m->base->ok && m->other->ok)
        return MATCH_MENDED;
    if (!m->base->ok && !m->base->detail && !m->other->detail)
        return MATCH_COMPARED; /* applies in neither */
    if (!m->other->ok)
        return MATCH_NOT_MEASURED;
    return different(m) ? MATCH_DIFFERENT : MATCH_COMPARED;
}

static int times_decide(struct judgement *j, struct error *err)
{
    struct stats_hypothesis **family =
        calloc(j->finding_count + 1, sizeof(struct stats_hypothesis *));
    unsigned tests = 0;
    if (!family)
        return error_set(err, "out of memory to compare");
    for (unsigned i = 0; i < j->finding_count; i++)
        if (j->findings[i].timed)
            family[tests++] = &j->findings[i].test;
    stats_discoveries(family, tests);
    free(family);
    for (unsigned i = 0; i < j->finding_count; i++) {
        struct finding *f = &j->findings[i];
        if (f->timed)
            timed_decide(f);
        j->kinds[f->timed][f->kind]++;
    }
    return 0;
}

int judge(struct judgement *j, const struct stored *base, const struct stored *other,
          const struct judge_limits *limits, struct error *err)
{
    *j = (struct judgement){.matches = NULL};
    int result = cells_match(j, base, other, err);
    for (unsigned i = 0; i < j->match_count && !result; i++) {
        struct match *match = &j->matches[i];
        match->kind = match_judge(match);
        j->match_kinds[match->kind]++;
        for (enum metric metric = 0; metric < METRIC_COUNT && !result; metric++)
            if (match->kind == MATCH_COMPARED)
                result = figure_judge(j, match, metric, limits, err);
    }
    if (!result)
        result = times_decide(j, err);
    if (result)
        judgement_free(j);
    return result;
}

void judgement_free(struct judgement *j)
{
    free(j->matches);
    free(j->findings);
}

int judgement_status(const struct judgement *j)
{
    if (j->kinds[0][FINDING_REGRESSED] || j->kinds[1][FINDING_REGRESSED] ||
        j->match_kinds[MATCH_FAILED])
        return 1;
    bool open = j->kinds[1][FINDING_UNDECIDED] || j->match_kinds[MATCH_BASE_ONLY] ||
                j->match_kinds[MATCH_OTHER_ONLY] || j->match_kinds[MATCH_NOT_MEASURED] ||
                j->match_kinds[MATCH_DIFFERENT] || !j->finding_count;
    return open ? 3 : 0;
}
