/*
 * summary.c - the table on the terminal. For each target: ranked designs by median time, with the
 * spread over the blocks and the ratio to the base allocator (the median of the ratios within
 * blocks, so that what disturbs a whole block cancels), then peak memory. Designs that never free,
 * those that are called in another way than the ranked ones, the floor, and failures stand in
 * groups of their own.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/session.h"

#define MAX_BLOCKS 1024
#define NOT_APPLICABLE                                                                             \
    "not_applicable" /* a group of the table only: no cell of the line could run */

struct line { /* one contender in one release mode on one target */
    unsigned contender, release, blocks, copies; /* copies: of a parallel replay, else 0 */
    const char *group;
    double ns[MAX_BLOCKS]; /* by block; 0 = not measured */
    double median, low, high, cold, ratio;
    double efficiency, wait;   /* medians; of a parallel replay */
    const struct kept *memory; /* NULL = none */
    const struct kept *failure;
    const struct kept *verify;
};

static int double_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sorts `values`; their median, 0 if there are none. */
static double median_take(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, double_order);
    return count ? (values[(count - 1) / 2] + values[count / 2]) / 2 : 0;
}

static void line_collect(const struct session *s, unsigned target, struct line *line)
{
    static double cold[MAX_BLOCKS], sorted[MAX_BLOCKS], efficiency[MAX_BLOCKS], wait[MAX_BLOCKS];
    unsigned colds = 0, count = 0, efficiencies = 0, waits = 0;
    for (unsigned i = 0; i < s->kept_count; i++) {
        const struct kept *k = &s->kept[i];
        if (k->target != target || k->contender != line->contender || k->release != line->release ||
            (k->copies && k->copies != line->copies))
            continue;
        bool applies = k->status != OUTCOME_NOT_APPLICABLE;
        line->group = applies || !line->group ? applies ? k->group : NOT_APPLICABLE : line->group;
        if (k->status != OUTCOME_OK)
            line->failure = k;
        else if (k->pass == PASS_MEMORY)
            line->memory = k;
        else if (k->pass == PASS_VERIFY)
            line->verify = k;
        else if (k->pass == PASS_THROUGHPUT && k->block < MAX_BLOCKS) {
            line->ns[k->block] = k->value[METRIC_ns_per_op];
            cold[colds++] = k->value[METRIC_cold_ns_per_op];
            if (k->known[METRIC_scaling_efficiency_ratio])
                efficiency[efficiencies++] = k->value[METRIC_scaling_efficiency_ratio];
            if (k->known[METRIC_wait_ratio])
                wait[waits++] = k->value[METRIC_wait_ratio];
        }
    }
    for (unsigned b = 0; b < MAX_BLOCKS; b++)
        if (line->ns[b] > 0)
            sorted[count++] = line->ns[b];
    line->blocks = count;
    line->median = median_take(sorted, count);
    line->low = count ? sorted[0] : 0;
    line->high = count ? sorted[count - 1] : 0;
    line->cold = median_take(cold, colds);
    line->efficiency = median_take(efficiency, efficiencies);
    line->wait = median_take(wait, waits);
}

static void ratio_fill(struct line *line, const struct line *base)
{
    static double ratios[MAX_BLOCKS];
    unsigned count = 0;
    for (unsigned b = 0; base && b < MAX_BLOCKS; b++)
        if (line->ns[b] > 0 && base->ns[b] > 0)
            ratios[count++] = line->ns[b] / base->ns[b];
    line->ratio = median_take(ratios, count);
}

/* In a session that calls through malloc, a ratio to a time without that call would say nothing. */
static bool comparable(const struct session *s, const struct line *a, const struct line *b)
{
    return s->via != VIA_MALLOC ||
           via_malloc(&s->contenders[a->contender]) == via_malloc(&s->contenders[b->contender]);
}

static int line_order(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if ((x->blocks == 0) != (y->blocks == 0)) /* those without a time come last */
        return x->blocks == 0 ? 1 : -1;
    if (x->copies != y->copies)
        return x->copies < y->copies ? -1 : 1;
    if (x->median != y->median)
        return x->median < y->median ? -1 : 1;
    return x->contender < y->contender ? -1 : 1;
}

static void mib_print(FILE *f, const struct kept *k, enum metric metric)
{
    if (k && k->known[metric])
        fprintf(f, " %11.2f", k->value[metric] / 1048576);
    else
        fprintf(f, " %11s", "-");
}

/* The width of the column of names: the longest's. */
static int name_width(const struct session *s)
{
    size_t width = strlen("allocator");
    for (unsigned i = 0; i < s->contender_count; i++)
        if (strlen(s->contenders[i].text) > width)
            width = strlen(s->contenders[i].text);
    return (int)width;
}

static void line_print(const struct session *s, const struct line *line, FILE *f)
{
    fprintf(f, "  %-*s %-6s", name_width(s), s->contenders[line->contender].text,
            line->release == PLAN_RELEASE_SCOPE ? "scope" : "free");
    if (line->blocks)
        fprintf(f, " %8.2f %8.2f..%-8.2f %7.2f", line->median, line->low, line->high, line->cold);
    else
        fprintf(f, " %8s %18s %7s", "-", "-", "-");
    if (line->ratio > 0)
        fprintf(f, " %7.3f", line->ratio);
    else
        fprintf(f, " %7s", "-");
    mib_print(f, line->memory, METRIC_peak_committed_bytes);
    mib_print(f, line->memory, METRIC_peak_resident_bytes);
    const struct kept *k = line->memory;
    if (k && k->known[METRIC_frag_jw4_ratio])
        fprintf(f, " %8.3f", k->value[METRIC_frag_jw4_ratio]);
    else
        fprintf(f, " %8s", "-");
    if (line->blocks && line->copies)
        fprintf(f, "  %u cop%s: %.2f Mops/s, waiting %.1f %%", line->copies,
                line->copies == 1 ? "y" : "ies", 1000 / line->median, 100 * line->wait);
    if (line->blocks && line->efficiency > 0)
        fprintf(f, ", efficiency %.2f", line->efficiency);
    if (line->verify)
        fprintf(f, "  verified");
    if (line->failure)
        fprintf(f, "  %s: %s", status_names[line->failure->status], line->failure->detail);
    fputc('\n', f);
}

static void group_print(const struct session *s, struct line *lines, unsigned count,
                        const char *group, const char *title, FILE *f)
{
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(lines[i].group, group))
            continue;
        if (!any)
            fprintf(f, " %s\n", title);
        any = true;
        line_print(s, &lines[i], f);
    }
}

/* The base: the named allocator, or the first ranked one that was timed. */
static const struct line *base_find(const struct session *s, const struct line *lines,
                                    unsigned count, const char *base, unsigned copies)
{
    for (unsigned i = 0; i < count; i++) {
        bool named = !strcmp(s->contenders[lines[i].contender].text, base);
        if (lines[i].blocks && lines[i].copies == copies &&
            (base[0] ? named : !strcmp(lines[i].group, "ranked")))
            return &lines[i];
    }
    return NULL;
}

static void target_print(const struct session *s, unsigned target, const char *base, FILE *f)
{
    unsigned count = 0, copies_count = s->parallel ? s->copies_count : 1;
    struct line *lines = calloc(2 * (size_t)s->contender_count * copies_count, sizeof *lines);
    if (!lines) {
        fprintf(f, "%s: no memory for the table; the rows are in results.csv\n",
                s->targets[target].name);
        return;
    }
    for (unsigned c = 0; c < s->contender_count; c++)
        for (unsigned i = 0; i < 2 * copies_count; i++) {
            struct line *line = &lines[count];
            *line = (struct line){.contender = c,
                                  .release = i % 2,
                                  .copies = s->parallel ? s->copies[i / 2] : 0,
                                  .group = NULL};
            line_collect(s, target, line);
            bool again = line->group && !strcmp(line->group, NOT_APPLICABLE) && i >= 2;
            count += line->group && !again;
        }
    const struct line *base_line = base_find(s, lines, count, base, s->parallel ? s->copies[0] : 0);
    const char *base_text = base_line ? s->contenders[base_line->contender].text : "";
    for (unsigned i = 0; i < count; i++) {
        const struct line *to = base_find(s, lines, count, base_text, lines[i].copies);
        ratio_fill(&lines[i], to && comparable(s, &lines[i], to) ? to : NULL);
    }
    qsort(lines, count, sizeof *lines, line_order);
    fprintf(f, "\n%s (touch %s%s%s%s%s)\n", s->targets[target].name, touch_names[s->touch],
            s->parallel ? ", parallel: ns of wall time" : "",
            s->via == VIA_MALLOC ? ", via malloc" : "", base_line ? ", ratio to " : "", base_text);
    fprintf(f, "  %-*s %-6s %8s %18s %7s %7s %11s %11s %8s\n", name_width(s), "allocator",
            "release", "ns/op", "min..max", "cold", "ratio", "commit MiB", "resid. MiB", "C/L-1");
    group_print(s, lines, count, "ranked", "ranked", f);
    group_print(s, lines, count, "other_via",
                "called through the contract, without malloc's cost (not ranked with the others)",
                f);
    group_print(s, lines, count, "never_frees",
                "never frees (released nothing on this workload: not ranked)", f);
    group_print(s, lines, count, "floor",
                "floor (the loop's own cost, contained in every figure above)", f);
    group_print(s, lines, count, NOT_APPLICABLE, "not applicable", f);
    free(lines);
}

void summary_print(const struct session *s, const char *base, FILE *stream)
{
    for (unsigned target = 0; target < s->target_count; target++)
        target_print(s, target, base, stream);
}
