/*
 * locality_summary.c - the locality pass's table on the terminal, beside the one of times
 * (summary.c). In the order of the allocators as they were given, with the floor among them: these
 * counts do not rank.
 */
#include "harness/session.h"

static const struct {
    const char *head;
    enum metric metric;
} columns[] = {
    {"instructions", METRIC_locality_instructions_per_op},
    {"L1 misses", METRIC_locality_l1_misses_per_op},
    {"LL misses", METRIC_locality_ll_misses_per_op},
    {"dTLB misses", METRIC_locality_dtlb_misses_per_op},
    {"page walks", METRIC_locality_page_walks_per_op},
};

#define COLUMNS (sizeof columns / sizeof *columns)

static void row_print(const struct session *s, const struct kept *k, FILE *f)
{
    fprintf(f, "  %-*s %-6s", summary_name_width(s), s->contenders[k->contender].text,
            release_names[k->release]);
    for (unsigned i = 0; i < COLUMNS; i++) {
        if (k->known[columns[i].metric])
            fprintf(f, " %12.*f", i ? 4 : 1, k->value[columns[i].metric]);
        else
            fprintf(f, " %12s", "-");
    }
    if (k->status != OUTCOME_OK)
        fprintf(f, "  %s: %s", status_names[k->status], k->detail);
    else if (k->value[METRIC_locality_rerun_ratio] != 1)
        fputs("  does not repeat to the digit", f);
    fputc('\n', f);
}

static void target_print(const struct session *s, unsigned target, FILE *f)
{
    bool any = false;
    for (unsigned contender = 0; contender < s->contender_count; contender++)
        for (unsigned i = 0; i < s->kept_count; i++) {
            const struct kept *k = &s->kept[i];
            if (k->pass != PASS_LOCALITY || k->target != target || k->contender != contender)
                continue;
            if (!any) {
                fprintf(f, "\n%s (counted per op by callgrind, touch %s, %.0f ops)\n  %-*s %-6s",
                        s->targets[target].name, touch_names[s->touch], k->value[METRIC_ops],
                        summary_name_width(s), "allocator", "release");
                for (unsigned c = 0; c < COLUMNS; c++)
                    fprintf(f, " %12s", columns[c].head);
                fputc('\n', f);
            }
            any = true;
            row_print(s, k, f);
        }
}

void locality_summary_print(const struct session *s, FILE *stream)
{
    for (unsigned target = 0; target < s->target_count; target++)
        target_print(s, target, stream);
}
