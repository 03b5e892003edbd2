/*
 * summary_open.c - the open loop's part of what is printed at the end: for each target the response
 * times beside the service times, medians over the blocks.
 */
#include <stdlib.h>

#include "harness/session.h"
#include "harness/stats.h"

#define BLOCKS_MAX 1024

static double median_of(const struct session *s, const struct kept *like, enum metric metric)
{
    static double values[BLOCKS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < s->kept_count; i++) {
        const struct kept *k = &s->kept[i];
        if (k->pass == PASS_OPEN && k->target == like->target && k->contender == like->contender &&
            k->release == like->release && k->known[metric] && count < BLOCKS_MAX)
            values[count++] = k->value[metric];
    }
    return count ? stats_median(values, count).estimate : 0;
}

static void micros_print(FILE *f, double ns)
{
    if (ns > 0)
        fprintf(f, " %9.1f", ns / 1000);
    else
        fprintf(f, " %9s", "-");
}

static void row_print(const struct session *s, const struct kept *k, FILE *f)
{
    static const enum metric times[] = {METRIC_open_response_p50_ns,  METRIC_open_response_p99_ns,
                                        METRIC_open_response_p999_ns, METRIC_open_response_max_ns,
                                        METRIC_open_service_p50_ns,   METRIC_open_service_p99_ns,
                                        METRIC_open_service_p999_ns,  METRIC_open_service_max_ns};
    fprintf(f, "  %-10s %-7s %4.0f%%", s->contenders[k->contender].text,
            k->release == PLAN_RELEASE_SCOPE ? "scope" : "free",
            100 * median_of(s, k, METRIC_open_utilisation_ratio));
    for (unsigned i = 0; i < sizeof times / sizeof *times; i++) {
        fputs(i == 4 ? " |" : "", f);
        micros_print(f, median_of(s, k, times[i]));
    }
    fputc('\n', f);
}

/* The first row of each contender and release stands for all its blocks. */
static void target_print(const struct session *s, unsigned target, FILE *f)
{
    bool headed = false;
    for (unsigned i = 0; i < s->kept_count; i++) {
        const struct kept *k = &s->kept[i];
        if (k->pass != PASS_OPEN || k->target != target || k->block ||
            !k->known[METRIC_open_rate_per_s])
            continue;
        if (!headed)
            fprintf(f,
                    "\n%s, open loop: %.0f arrivals a block, %.0f per second, us\n"
                    "  %-10s %-7s %5s %9s %9s %9s %9s | %9s %9s %9s %9s\n",
                    s->targets[target].name, k->value[METRIC_open_arrivals_count],
                    k->value[METRIC_open_rate_per_s], "allocator", "release", "busy", "resp. p50",
                    "p99", "p99.9", "max", "serv. p50", "p99", "p99.9", "max");
        headed = true;
        row_print(s, k, f);
    }
}

void summary_open_print(const struct session *s, FILE *stream)
{
    for (unsigned target = 0; target < s->target_count; target++)
        target_print(s, target, stream);
}
