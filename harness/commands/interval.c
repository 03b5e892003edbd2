/*
 * interval.c - `alloclab interval`, internal: the statistics of stats.h for the benches, which are
 * scripts. Of ratios within blocks, in its arguments, it prints the Hodges-Lehmann centre, found in
 * logarithms, and the interval around it that holds 95 % ("-" twice: too few for one).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/registry.h"
#include "harness/stats.h"

#define RATIOS_MAX 10000

static int interval_main(int argc, char **argv)
{
    static double logs[RATIOS_MAX];
    if (argc < 2 || argc - 1 > RATIOS_MAX) {
        fprintf(stderr, "alloclab interval: give 1 to %d ratios\n", RATIOS_MAX);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        char *end;
        double ratio = strtod(argv[i], &end);
        if (*end || !(ratio > 0) || !isfinite(ratio)) {
            fprintf(stderr, "alloclab interval: '%s' is not a ratio above 0\n", argv[i]);
            return 2;
        }
        logs[i - 1] = log(ratio);
    }
    struct stats_interval found = stats_shift(logs, (unsigned)argc - 1);
    printf("%.9g", exp(found.estimate));
    if (found.bounded)
        printf(" %.9g %.9g\n", exp(found.low), exp(found.high));
    else
        printf(" - -\n");
    return 0;
}

COMMAND(interval) = {.name = "interval",
                     .usage = "interval (internal)",
                     .summary = "centre and interval of ratios",
                     .hidden = 1,
                     .main = interval_main};
