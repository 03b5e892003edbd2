/*
 * cell.c - `alloclab cell`, internal: the process of one cell. It maps the plan and the outcome it
 * was given, runs one pass and leaves. Its arguments are made by harness/cell.c.
 */
#include "harness/cell.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/live.h"
#include "harness/pass.h"
#include "harness/registry.h"

static int name_index(const char *const names[], const char *name)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static int cell_main(int argc, char **argv)
{
    static void (*const passes[PASS_COUNT])(const struct cell_setup *) = {
        throughput_pass, memory_pass, verify_pass, latency_pass};
    struct error err;
    struct spec spec;
    struct os_config door;
    bool live = argc == 14;
    if (argc != 13 && !live) {
        fprintf(stderr, "alloclab cell: internal; use `alloclab run`\n");
        return 2;
    }
    int pass = name_index(pass_names, argv[5]), touch = name_index(touch_names, argv[6]);
    int affinity = name_index(affinity_names, argv[11]);
    struct outcome *outcome =
        mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[2]), 0);
    const struct plan *plan = live ? NULL : plan_map(atoi(argv[1]), &err);
    if ((!plan && !live) || outcome == MAP_FAILED || pass < 0 || touch < 0 || affinity < 0 ||
        spec_parse(argv[7], &spec, &err) || door_parse(argv[9], &door, &err)) {
        fprintf(stderr, "alloclab cell: %s\n", plan || live ? "bad arguments" : err.text);
        return 2;
    }
    struct cell_setup setup = {
        .plan = plan,
        .spec = &spec,
        .touch = (enum touch)touch,
        .door = door,
        .min_seconds = strtod(argv[3], NULL),
        .latency_every = (unsigned)atoi(argv[12]),
        .seed = strtoull(argv[4], NULL, 10),
        .outcome = outcome,
        .parallel = {.copies = (unsigned)atoi(argv[10]), .affinity = (enum affinity)affinity}};
    if (argv[8][0] && !preload_serves(argv[8], &err))
        outcome_fail(outcome, OUTCOME_FAILED, "%s", err.text);
    else if (live)
        live_play(&setup, argv[13], atoi(argv[1]));
    else
        passes[pass](&setup);
    return 0;
}

COMMAND(cell) = {.name = "cell",
                 .usage = "cell (internal)",
                 .summary = "runs one cell",
                 .hidden = 1,
                 .main = cell_main};
