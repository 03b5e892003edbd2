/*
 * check.c - `alloclab check`: the oracle. Replays with every promise of the contract held against
 * the design; nothing is timed and nothing is written.
 */
#include <string.h>
#include <unistd.h>

#include "harness/args.h"
#include "harness/registry.h"
#include "harness/session_args.h"

static void verdicts_print(const struct session *s)
{
    for (unsigned i = 0; i < s->kept_count; i++) {
        const struct kept *k = &s->kept[i];
        printf("%-12s %s on %s (release %s)%s%s",
               k->status == OUTCOME_OK ? "ok" : status_names[k->status],
               s->contenders[k->contender].text, s->targets[k->target].name,
               k->release == PLAN_RELEASE_SCOPE ? "scope" : "free", k->detail[0] ? ": " : "",
               k->detail);
        if (k->status == OUTCOME_OK)
            printf(": %.0f ops", k->value[METRIC_ops]);
        if (k->known[METRIC_walks_count])
            printf(", %.0f walks", k->value[METRIC_walks_count]);
        printf("\n");
    }
}

static int arguments_read(struct session *s, const char **allocators_text,
                          const char **targets_text, const char **door_text, int argc, char **argv,
                          struct error *err)
{
    static const char *const names[] = {"-a", "-w", "--seed", "--via", "--door", NULL};
    struct args args = {.argc = argc, .argv = argv, .at = 1};
    int option;
    while ((option = args_next(&args, names, err)) >= 0) {
        if (option == 0)
            *allocators_text = args.value;
        else if (option == 1)
            *targets_text = args.value;
        else if (option == 4)
            *door_text = args.value;
        else if (option == 3 ? via_parse(s, args.value, err)
                             : number_parse("--seed", args.value, 0, UINT64_MAX, &s->seed, err))
            return -1;
    }
    if (option == ARGS_BAD)
        return -1;
    if (!*targets_text)
        return error_set(err,
                         "usage: alloclab check [-a SPEC,..] -w WORKLOAD_OR_TRACE,.. [--seed N]");
    return 0;
}

static int check_main(int argc, char **argv)
{
    struct error err;
    const char *allocators_text = NULL, *targets_text = NULL, *door_text = "";
    struct session s = {.passes = {[PASS_VERIFY] = true},
                        .release = RELEASE_BOTH,
                        .via = VIA_VTABLE, /* each in its own way: nothing is ranked */
                        .limits = limits_default(),
                        .seed = seed_default(),
                        .quiet = !isatty(STDERR_FILENO)};
    s.limits.seconds = 600;
    int result = arguments_read(&s, &allocators_text, &targets_text, &door_text, argc, argv, &err);
    if (!result)
        result = session_door(&s, door_text, &err);
    if (!result)
        result = session_contenders(&s, allocators_text, false, &err);
    if (!result)
        result = session_targets(&s, targets_text, &err);
    if (!result)
        result = session_plan(&s, &err);
    if (!result) {
        fprintf(stderr, "seed %llu\n", (unsigned long long)s.seed);
        result = session_run(&s, &err);
    }
    if (result)
        fprintf(stderr, "alloclab check: %s\n", err.text);
    else
        verdicts_print(&s);
    int status = result ? 2 : s.failed ? 1 : 0;
    session_free(&s);
    return status;
}

COMMAND(check) = {
    .name = "check",
    .usage = "check [-a SPEC,..] -w WORKLOAD_OR_TRACE,.. [--door OPT=V,..] [--seed N]",
    .summary =
        "the oracle: alignment, overlap, content, zeroed memory, walk law, invariants, leaks",
    .main = check_main};
