/*
 * summary.c - the table on the terminal. For each target: ranked designs by median time, with the
 * interval of the median and the ratio to the base allocator (comparison.h, from ratios within
 * blocks, so that what disturbs a whole block cancels), then peak memory. Designs that never free,
 * those that are called in another way than the ranked ones, the floor, and failures stand in
 * groups of their own. What could be chance looks so, and a legend says what the marks mean. Times and
 * memory stand there only if the session asked for their passes; without either only what was
 * verified and what failed, if anything.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/comparison.h"
#include "harness/noise.h"

#define MAX_BLOCKS 1024
#define NOT_APPLICABLE                                                                             \
    "not_applicable" /* a group of the table only: no cell of the line could run */

struct line { /* one contender in one release mode on one target */
    unsigned contender, release, blocks, copies; /* copies: of a parallel replay, else 0 */
    const char *group;
    double ns[MAX_BLOCKS];        /* by block; 0 = not measured */
    struct stats_interval median; /* of few blocks: the least and the greatest */
    double cold;
    double efficiency, wait;  /* medians; of a parallel replay */
    unsigned disturbed;       /* blocks */
    const struct kept *timed; /* any row of it; NULL = none, as of the others */
    const struct kept *memory;
    const struct kept *failure;
    const struct kept *verify;
};

struct table {
    const struct session *s;
    const struct comparisons *comparisons;
    FILE *f;
    bool terminal;
    unsigned disturbed; /* lines, of all targets */
};

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
            line->timed = k;
            line->disturbed += noise_disturbed(k->value, k->known, k->copies);
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
    line->median = stats_median(sorted, count); /* sorts */
    if (count && !line->median.bounded) {
        line->median.low = sorted[0];
        line->median.high = sorted[count - 1];
    }
    line->cold = stats_median(cold, colds).estimate;
    line->efficiency = stats_median(efficiency, efficiencies).estimate;
    line->wait = stats_median(wait, waits).estimate;
}

static int line_order(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if ((x->blocks == 0) != (y->blocks == 0)) /* those without a time come last */
        return x->blocks == 0 ? 1 : -1;
    if (x->copies != y->copies)
        return x->copies < y->copies ? -1 : 1;
    if (x->median.estimate != y->median.estimate)
        return x->median.estimate < y->median.estimate ? -1 : 1;
    return x->contender < y->contender ? -1 : 1;
}

static void mib_print(FILE *f, const struct kept *k, enum metric metric)
{
    if (k && k->known[metric])
        fprintf(f, " %11.2f", k->value[metric] / 1048576);
    else
        fprintf(f, " %11s", "-");
}

int summary_name_width(const struct session *s)
{
    size_t width = strlen("allocator");
    for (unsigned i = 0; i < s->contender_count; i++)
        if (strlen(s->contenders[i].text) > width)
            width = strlen(s->contenders[i].text);
    return (int)width;
}

/* The ratio with its interval; dim, where there is such a thing, if it could be chance. */
static void ratio_print(const struct table *t, const struct line *line)
{
    const struct comparison *c = comparisons_find(t->comparisons, line->timed, METRIC_ns_per_op);
    char ratio[32] = "-", interval[48] = "-";
    bool chance = c && c->verdict == VERDICT_UNDECIDED;
    bool base =
        !c && line->timed && line->timed->contender == t->comparisons->base[line->timed->target];
    if (base)
        snprintf(ratio, sizeof ratio, "base");
    if (c)
        snprintf(ratio, sizeof ratio, "%s%.3f", chance ? "~" : "", c->ratio.estimate);
    if (c && c->ratio.bounded)
        snprintf(interval, sizeof interval, "%.3f..%.3f", c->ratio.low, c->ratio.high);
    else if (c)
        snprintf(interval, sizeof interval, "%u block%s", c->blocks, c->blocks == 1 ? "" : "s");
    fprintf(t->f, "%s %7s %-15s%s", t->terminal && chance ? "\033[2m" : "", ratio, interval,
            t->terminal && chance ? "\033[0m" : "");
}

static void times_print(const struct table *t, const struct line *line)
{
    FILE *f = t->f;
    if (line->blocks)
        fprintf(f, " %8.2f %8.2f..%-8.2f %7.2f", line->median.estimate, line->median.low,
                line->median.high, line->cold);
    else
        fprintf(f, " %8s %18s %7s", "-", "-", "-");
    ratio_print(t, line);
}

static void memory_print(FILE *f, const struct kept *k)
{
    mib_print(f, k, METRIC_peak_committed_bytes);
    mib_print(f, k, METRIC_peak_resident_bytes);
    if (k && k->known[METRIC_frag_jw4_ratio])
        fprintf(f, " %8.3f", k->value[METRIC_frag_jw4_ratio]);
    else
        fprintf(f, " %8s", "-");
}

static bool times_wanted(const struct session *s)
{
    return s->passes[PASS_THROUGHPUT];
}

static bool memory_wanted(const struct session *s)
{
    return s->passes[PASS_MEMORY];
}

static void line_print(const struct table *t, const struct line *line)
{
    FILE *f = t->f;
    fprintf(f, "  %-*s %-6s", summary_name_width(t->s), t->s->contenders[line->contender].text,
            line->release == PLAN_RELEASE_SCOPE ? "scope" : "free");
    if (times_wanted(t->s))
        times_print(t, line);
    if (memory_wanted(t->s))
        memory_print(f, line->memory);
    if (line->blocks && line->copies)
        fprintf(f, "  %u cop%s: %.2f Mops/s, waiting %.1f %%", line->copies,
                line->copies == 1 ? "y" : "ies", 1000 / line->median.estimate, 100 * line->wait);
    if (line->blocks && line->efficiency > 0)
        fprintf(f, ", efficiency %.2f", line->efficiency);
    if (line->disturbed)
        fprintf(f, "  !%u/%u", line->disturbed, line->blocks);
    if (line->verify)
        fprintf(f, "  verified");
    if (line->failure)
        fprintf(f, "  %s: %s", status_names[line->failure->status], line->failure->detail);
    fputc('\n', f);
}

static void group_print(const struct table *t, struct line *lines, unsigned count,
                        const char *group, const char *title)
{
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(lines[i].group, group))
            continue;
        if (!any)
            fprintf(t->f, " %s\n", title);
        any = true;
        line_print(t, &lines[i]);
    }
}

static void groups_print(const struct table *t, struct line *lines, unsigned count)
{
    group_print(t, lines, count, "ranked", "ranked");
    group_print(t, lines, count, "other_via",
                "called through the contract, without malloc's cost (not ranked with the others)");
    group_print(t, lines, count, "never_frees",
                "never frees (released nothing on this workload: not ranked)");
    group_print(t, lines, count, "floor",
                "floor (the loop's own cost, contained in every figure above)");
    group_print(t, lines, count, NOT_APPLICABLE, "not applicable");
}

/* The lines of a target, unsorted; their number. */
static unsigned lines_collect(const struct session *s, unsigned target, unsigned copies_count,
                              struct line *lines)
{
    unsigned count = 0;
    for (unsigned c = 0; c < s->contender_count; c++)
        for (unsigned i = 0; i < 2 * copies_count; i++) {
            struct line *line = &lines[count];
            *line = (struct line){.contender = c,
                                  .release = i % 2,
                                  .copies = s->parallel ? s->copies[i / 2] : 0,
                                  .group = NULL};
            line_collect(s, target, line);
            bool again = line->group && !strcmp(line->group, NOT_APPLICABLE) && i >= 2;
            bool told = times_wanted(s) || memory_wanted(s) || line->verify || line->failure;
            count += line->group && !again && told;
        }
    return count;
}

static void heading_print(const struct table *t, unsigned target)
{
    const struct session *s = t->s;
    unsigned base = t->comparisons->base[target];
    bool has_base = times_wanted(s) && base < s->contender_count;
    fprintf(t->f, "\n%s (touch %s%s%s%s%s)\n", s->targets[target].name, touch_names[s->touch],
            s->parallel && times_wanted(s) ? ", parallel: ns of wall time" : "",
            s->via == VIA_MALLOC ? ", via malloc" : "", has_base ? ", ratio to " : "",
            has_base ? s->contenders[base].text : "");
    fprintf(t->f, "  %-*s %-6s", summary_name_width(s), "allocator", "release");
    if (times_wanted(s))
        fprintf(t->f, " %8s %18s %7s %7s %-15s", "ns/op",
                s->repeats < BLOCKS_ENOUGH ? "min..max" : "95 % interval", "cold", "ratio",
                "95 % interval");
    if (memory_wanted(s))
        fprintf(t->f, " %11s %11s %8s", "commit MiB", "resid. MiB", "C/L-1");
    fputc('\n', t->f);
}

static void target_print(struct table *t, unsigned target)
{
    const struct session *s = t->s;
    unsigned copies_count = s->parallel ? s->copies_count : 1;
    struct line *lines = calloc(2 * (size_t)s->contender_count * copies_count, sizeof *lines);
    if (!lines) {
        fprintf(t->f, "%s: no memory for the table; the rows are in results.csv\n",
                s->targets[target].name);
        return;
    }
    unsigned count = lines_collect(s, target, copies_count, lines);
    qsort(lines, count, sizeof *lines, line_order);
    for (unsigned i = 0; i < count; i++)
        t->disturbed += lines[i].disturbed > 0;
    if (count)
        heading_print(t, target);
    groups_print(t, lines, count);
    free(lines);
}

/* What the marks mean, where there are any. */
static void legend_print(const struct table *t)
{
    const struct comparisons *c = t->comparisons;
    if (!times_wanted(t->s))
        return;
    if (c->tilde || c->too_few || t->disturbed)
        fputc('\n', t->f);
    if (c->tilde)
        fprintf(t->f,
                "~ could be chance: not significant at 5 %% by signed ranks, Benjamini-Hochberg "
                "over the %u tests of this run\n",
                c->tests);
    if (c->too_few)
        fprintf(t->f, "fewer than %d blocks show no difference, however large it is: -r 10\n",
                BLOCKS_ENOUGH);
    if (t->disturbed)
        fprintf(t->f,
                "!N/M in N of M blocks something else ran: %d or more involuntary switches a "
                "second, or %g %% of CPU time stolen\n",
                NOISE_SWITCHES_PER_S, 100 * NOISE_STEAL_RATIO);
}

void summary_print(const struct session *s, const struct comparisons *comparisons, FILE *stream)
{
    struct table t = {
        .s = s, .comparisons = comparisons, .f = stream, .terminal = isatty(fileno(stream))};
    for (unsigned target = 0; target < s->target_count; target++)
        target_print(&t, target);
    legend_print(&t);
}
