/*
 * comparison.c - see comparison.h.
 *
 * A series is what has one value a block: the timed cells of a contender on a target, in one
 * release mode, with one number of copies. Rows are sorted so that a series' rows stand together,
 * and series that compare with each other do, too.
 */
#include "harness/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/array.h"

const char *const verdict_names[] = {"undecided", "faster", "slower", "floor"};

struct series {
    const struct kept **rows; /* by pass and block */
    unsigned count;
};

struct context {
    const struct session *s;
    struct comparisons *out;
    const struct kept **rows;
    unsigned row_count;
    struct series *series;
    unsigned series_count;
    double *logs; /* room for one value a block */
};

/* ---- series ---- */

/* By what makes a series; 0: the same one. */
static int series_order(const struct kept *x, const struct kept *y)
{
    const unsigned a[] = {x->target, x->copies, x->contender, x->release};
    const unsigned b[] = {y->target, y->copies, y->contender, y->release};
    for (unsigned i = 0; i < sizeof a / sizeof *a; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int within_order(const struct kept *x, const struct kept *y)
{
    if (x->pass != y->pass)
        return x->pass < y->pass ? -1 : 1;
    return (x->block > y->block) - (x->block < y->block);
}

static int row_order(const void *a, const void *b)
{
    const struct kept *x = *(const struct kept *const *)a, *y = *(const struct kept *const *)b;
    int order = series_order(x, y);
    return order ? order : within_order(x, y);
}

static int series_build(struct context *c, struct error *err)
{
    const struct session *s = c->s;
    c->rows = calloc(s->kept_count + 1, sizeof *c->rows);
    c->series = calloc(s->kept_count + 1, sizeof *c->series);
    c->logs = calloc(s->repeats + 1, sizeof *c->logs);
    if (!c->rows || !c->series || !c->logs)
        return error_set(err, "out of memory to compare %u rows", s->kept_count);
    for (unsigned i = 0; i < s->kept_count; i++)
        if (s->kept[i].status == OUTCOME_OK && pass_timed(s->kept[i].pass))
            c->rows[c->row_count++] = &s->kept[i];
    qsort(c->rows, c->row_count, sizeof *c->rows, row_order);
    for (unsigned i = 0; i < c->row_count; i++) {
        if (!i || series_order(c->rows[i - 1], c->rows[i]))
            c->series[c->series_count++].rows = &c->rows[i];
        c->series[c->series_count - 1].count++;
    }
    return 0;
}

/* A row of the series that has the metric, or NULL. */
static const struct kept *series_row(const struct series *series, enum metric metric)
{
    for (unsigned i = 0; i < series->count; i++)
        if (series->rows[i]->known[metric])
            return series->rows[i];
    return NULL;
}

/* Logarithms of the ratios a / b within blocks, into c->logs; their number. None if one is of a 0:
   leaving out such blocks alone would favour whoever has them. */
static unsigned logs_fill(const struct context *c, const struct series *a, const struct series *b,
                          enum metric metric)
{
    unsigned count = 0;
    for (unsigned i = 0, j = 0; i < a->count && j < b->count;) {
        const struct kept *x = a->rows[i], *y = b->rows[j];
        int order = within_order(x, y);
        if (!order && x->known[metric] && y->known[metric]) {
            if (x->value[metric] <= 0 || y->value[metric] <= 0)
                return 0;
            c->logs[count++] = log(x->value[metric] / y->value[metric]);
        }
        i += order <= 0;
        j += order >= 0;
    }
    return count;
}

static bool is_floor(const struct kept *k)
{
    return !strcmp(k->group, "floor");
}

/* In a session that calls through malloc, a ratio to a time without that call would say nothing. */
static bool comparable(const struct session *s, const struct kept *a, const struct kept *b)
{
    return s->via != VIA_MALLOC ||
           via_malloc(&s->contenders[a->contender]) == via_malloc(&s->contenders[b->contender]);
}

/* ---- against the base ---- */

/* Of each target the contender that is the base. */
static int bases_choose(struct context *c, const char *base, struct error *err)
{
    const struct session *s = c->s;
    c->out->base = calloc(s->target_count + 1, sizeof *c->out->base);
    if (!c->out->base)
        return error_set(err, "out of memory to compare");
    for (unsigned t = 0; t < s->target_count; t++)
        c->out->base[t] = s->contender_count;
    for (unsigned i = 0; i < c->series_count; i++) {
        const struct kept *k = c->series[i].rows[0];
        unsigned *chosen = &c->out->base[k->target];
        bool fits =
            base[0] ? !strcmp(s->contenders[k->contender].text, base) : !strcmp(k->group, "ranked");
        if (*chosen == s->contender_count && fits)
            *chosen = k->contender;
    }
    return 0;
}

static int comparison_add(struct context *c, const struct series *of, const struct series *base,
                          enum metric metric, struct error *err)
{
    const struct kept *k = series_row(of, metric);
    unsigned blocks = logs_fill(c, of, base, metric);
    if (!blocks || !comparable(c->s, k, base->rows[0]))
        return 0;
    struct comparison *grown =
        array_room(c->out->list, c->out->count, &c->out->room, sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory for %u comparisons", c->out->count + 1);
    c->out->list = grown;
    struct comparison *made = &c->out->list[c->out->count++];
    *made = (struct comparison){.of = k,
                                .base = series_row(base, metric),
                                .metric = metric,
                                .blocks = blocks,
                                .ratio = stats_shift(c->logs, blocks)};
    made->ratio.estimate = exp(made->ratio.estimate);
    made->ratio.low = made->ratio.bounded ? exp(made->ratio.low) : 0;
    made->ratio.high = made->ratio.bounded ? exp(made->ratio.high) : 0;
    made->test.p = stats_signed_rank(c->logs, blocks).p;
    return 0;
}

/* The series of `first`'s target and number of copies: how many from there on. */
static unsigned group_length(const struct context *c, unsigned first)
{
    const struct kept *k = c->series[first].rows[0];
    unsigned length = 1;
    for (; first + length < c->series_count; length++) {
        const struct kept *other = c->series[first + length].rows[0];
        if (other->target != k->target || other->copies != k->copies)
            break;
    }
    return length;
}

static int group_compare(struct context *c, const struct series *group, unsigned length,
                         struct error *err)
{
    unsigned contender = c->out->base[group[0].rows[0]->target];
    for (enum metric metric = 0; metric < METRIC_COUNT; metric++) {
        const struct series *base = NULL;
        if (!metric_is_time(metric_row_of(metric)))
            continue;
        for (unsigned i = 0; i < length && !base; i++)
            if (group[i].rows[0]->contender == contender && series_row(&group[i], metric))
                base = &group[i];
        for (unsigned i = 0; base && i < length; i++)
            if (&group[i] != base && comparison_add(c, &group[i], base, metric, err))
                return -1;
    }
    return 0;
}

static int verdicts_set(struct comparisons *out, struct error *err)
{
    struct stats_hypothesis **family = calloc(out->count + 1, sizeof(struct stats_hypothesis *));
    if (!family)
        return error_set(err, "out of memory for %u comparisons", out->count);
    for (unsigned i = 0; i < out->count; i++)
        if (!is_floor(out->list[i].of))
            family[out->tests++] = &out->list[i].test;
    stats_discoveries(family, out->tests);
    free(family);
    for (unsigned i = 0; i < out->count; i++) {
        struct comparison *made = &out->list[i];
        made->verdict = is_floor(made->of)           ? VERDICT_FLOOR
                        : made->test.q > STATS_ALPHA ? VERDICT_UNDECIDED
                        : made->ratio.estimate < 1   ? VERDICT_FASTER
                                                     : VERDICT_SLOWER;
        out->too_few |= made->blocks < BLOCKS_ENOUGH;
        out->tilde |= made->verdict == VERDICT_UNDECIDED;
    }
    return 0;
}

/* ---- against each other ---- */

struct pair {
    struct stats_hypothesis test;
    struct comparison *a, *b;
};

static int tied_add(const struct session *s, struct comparison *made, const struct kept *other,
                    struct error *err)
{
    const char *text = s->contenders[other->contender].text;
    const char *how = other->release == PLAN_RELEASE_SCOPE ? " (scope)" : "";
    size_t length = made->tied ? strlen(made->tied) : 0, room = length + strlen(text) + 16;
    char *grown = realloc(made->tied, room);
    if (!grown)
        return error_set(err, "out of memory to compare");
    made->tied = grown;
    snprintf(grown + length, room - length, "%s%s%s", length ? "; " : "", text, how);
    return 0;
}

static const struct series *series_find(const struct context *c, const struct kept *of)
{
    for (unsigned i = 0; i < c->series_count; i++)
        if (!series_order(c->series[i].rows[0], of))
            return &c->series[i];
    return NULL;
}

static unsigned pairs_fill(const struct context *c, struct comparison *made, unsigned count,
                           struct pair *pairs)
{
    unsigned total = 0;
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = i + 1; j < count; j++) {
            if (is_floor(made[i].of) || is_floor(made[j].of))
                continue;
            unsigned blocks = logs_fill(c, series_find(c, made[i].of), series_find(c, made[j].of),
                                        made[i].metric);
            pairs[total++] = (struct pair){
                .a = &made[i], .b = &made[j], .test.p = stats_signed_rank(c->logs, blocks).p};
        }
    return total;
}

/* What is tied among comparisons with the same base cells by the same metric. */
static int ties_set(const struct context *c, struct comparison *made, unsigned count,
                    struct error *err)
{
    size_t room = (size_t)count * count / 2 + 1;
    struct pair *pairs = calloc(room, sizeof *pairs);
    struct stats_hypothesis **family = calloc(room, sizeof(struct stats_hypothesis *));
    int result = pairs && family ? 0 : error_set(err, "out of memory to compare");
    unsigned total = result ? 0 : pairs_fill(c, made, count, pairs);
    for (unsigned i = 0; i < total; i++)
        family[i] = &pairs[i].test;
    if (total)
        stats_discoveries(family, total);
    for (unsigned i = 0; i < count && !result; i++)
        if (made[i].verdict == VERDICT_UNDECIDED && made[i].blocks >= BLOCKS_ENOUGH)
            result = tied_add(c->s, &made[i], made[i].base, err);
    for (unsigned i = 0; i < total && !result; i++)
        if (pairs[i].test.q > STATS_ALPHA && pairs[i].a->blocks >= BLOCKS_ENOUGH &&
            pairs[i].b->blocks >= BLOCKS_ENOUGH)
            if ((result = tied_add(c->s, pairs[i].a, pairs[i].b->of, err)) == 0)
                result = tied_add(c->s, pairs[i].b, pairs[i].a->of, err);
    free(family);
    free(pairs);
    return result;
}

static int all_compare(struct context *c, const char *base, struct error *err)
{
    struct comparisons *out = c->out;
    if (series_build(c, err) || bases_choose(c, base, err))
        return -1;
    for (unsigned i = 0, length; i < c->series_count; i += length) {
        length = group_length(c, i);
        if (group_compare(c, &c->series[i], length, err))
            return -1;
    }
    if (verdicts_set(out, err))
        return -1;
    for (unsigned i = 0, end; i < out->count; i = end) {
        for (end = i; end < out->count && out->list[end].metric == out->list[i].metric &&
                      !series_order(out->list[end].base, out->list[i].base);)
            end++;
        if (ties_set(c, &out->list[i], end - i, err))
            return -1;
    }
    return 0;
}

int comparisons_make(const struct session *s, const char *base, struct comparisons *out,
                     struct error *err)
{
    struct context c = {.s = s, .out = out};
    *out = (struct comparisons){.list = NULL};
    int result = all_compare(&c, base, err);
    free(c.rows);
    free(c.series);
    free(c.logs);
    if (result)
        comparisons_free(out);
    return result;
}

void comparisons_free(struct comparisons *c)
{
    for (unsigned i = 0; i < c->count; i++)
        free(c->list[i].tied);
    free(c->list);
    free(c->base);
    *c = (struct comparisons){.list = NULL};
}

const struct comparison *comparisons_find(const struct comparisons *c, const struct kept *of,
                                          enum metric metric)
{
    for (unsigned i = 0; of && i < c->count; i++)
        if (c->list[i].metric == metric && !series_order(c->list[i].of, of))
            return &c->list[i];
    return NULL;
}

int comparisons_write(const struct session *s, const struct comparisons *c, struct error *err)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct row_ids of = session_ids(s, c->list[i].of), base = session_ids(s, c->list[i].base);
        if (results_put_comparison(s->results, &of, &base, &c->list[i], err))
            return -1;
    }
    return 0;
}
