/*
 * check.c - `alloclab check`: the oracle. Replays with every promise of the contract held against
 * the design; nothing is timed and nothing is written.
 */
#include <string.h>
#include <unistd.h>

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
        if (k->copies > 1)
            printf(", %u copies", k->copies);
        if (k->status == OUTCOME_OK)
            printf(": %.0f ops", k->value[METRIC_ops]);
        if (k->known[METRIC_walks_count])
            printf(", %.0f walks", k->value[METRIC_walks_count]);
        printf("\n");
    }
}

struct arguments {
    const char *allocators, *targets, *door;
};

enum { ARG_ALLOCATORS, ARG_TARGETS, ARG_SEED, ARG_VIA, ARG_DOOR, ARG_REPLAY, ARG_COPIES };

static const char *const arg_names[] = {[ARG_ALLOCATORS] = "-a",   [ARG_TARGETS] = "-w",
                                        [ARG_SEED] = "--seed",     [ARG_VIA] = "--via",
                                        [ARG_DOOR] = "--door",     [ARG_REPLAY] = "--replay",
                                        [ARG_COPIES] = "--copies", NULL};

static int option_take(struct session *s, void *arguments, int option, char *text,
                       struct error *err)
{
    struct arguments *a = arguments;
    static const char *const replays[] = {"serial", "parallel", NULL};
    int choice = 0;
    switch (option) {
    case ARG_ALLOCATORS:
        a->allocators = text;
        return 0;
    case ARG_TARGETS:
        a->targets = text;
        return 0;
    case ARG_DOOR:
        a->door = text;
        return 0;
    case ARG_SEED:
        return number_parse("--seed", text, 0, UINT64_MAX, &s->seed, err);
    case ARG_VIA:
        return via_parse(s, text, err);
    case ARG_COPIES:
        return copies_parse(s, text, err);
    default:
        if (choice_parse("--replay", text, replays, &choice, err))
            return -1;
        s->parallel = choice;
        return 0;
    }
}

static int arguments_read(struct session *s, struct arguments *a, int argc, char **argv,
                          struct error *err)
{
    if (session_options(s, a, arg_names, option_take, argc, argv, err))
        return -1;
    if (!a->targets)
        return error_set(err, "-w WORKLOAD_OR_TRACE,.. is missing; usage: alloclab check -a SPECS "
                              "-w TRACES");
    if (!s->parallel && s->copies_count)
        return error_set(err, "--copies is for --replay parallel");
    if (!s->copies_count)
        s->copies[s->copies_count++] = 1;
    return 0;
}

static int check_main(int argc, char **argv)
{
    struct error err;
    struct arguments arguments = {.door = ""};
    struct session s = {.passes = {[PASS_VERIFY] = true},
                        .release = RELEASE_BOTH,
                        .via = VIA_VTABLE, /* each in its own way: nothing is ranked */
                        .limits = limits_default(),
                        .seed = seed_default(),
                        .quiet = !isatty(STDERR_FILENO)};
    s.limits.seconds = 600;
    int result = arguments_read(&s, &arguments, argc, argv, &err);
    if (!result)
        result = session_door(&s, arguments.door, &err);
    if (!result)
        result = session_contenders(&s, arguments.allocators, false, &err);
    if (!result)
        result = session_targets(&s, arguments.targets, &err);
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
    .usage = "check [-a SPEC,..] -w WORKLOAD_OR_TRACE,.. [--replay parallel [--copies N,..]] "
             "[--via vtable|malloc] [--door OPT=V,..] [--seed N]",
    .summary =
        "the oracle: alignment, overlap, content, zeroed memory, walk law, invariants, leaks",
    .main = check_main};
