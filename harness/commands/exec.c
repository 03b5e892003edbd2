/*
 * exec.c - `alloclab exec`: becomes a command that runs on one of our designs in place of the C
 * library's malloc. The design's drop-in library is preloaded, its options go along in the
 * environment (docs/dropin.md), and nothing of alloclab is left in the process: its streams, its
 * signals and its exit status are the command's own. What the command starts inherits all of it.
 *
 * --list prints the designs that have a drop-in library; the Makefile builds what it prints.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "allocators/lib/os_policy.h"
#include "api/dropin.h"
#include "harness/args.h"
#include "harness/dropin.h"
#include "harness/registry.h"
#include "harness/spec.h"

static const char usage[] =
    "exec -a NAME[:opt=v,..] [--door OPT=V,..] [--tick MS] [--stats FILE] -- CMD ARGS\n"
    "  alloclab exec --list";

struct request {
    const char *design, *door, *tick, *stats;
    char **command;
};

static int list_print(void)
{
    for (size_t i = 0; allocators[i]; i++)
        if (!dropin_refusal(allocators[i]))
            printf("%s\n", allocators[i]->name);
    return 0;
}

static int tick_check(const char *text, struct error *err)
{
    char *end;
    errno = 0;
    unsigned long ms = strtoul(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || !ms || ms > DROPIN_TICK_MAX_MS)
        return error_set(err, "--tick %s: give milliseconds from 1 to %d", text,
                         DROPIN_TICK_MAX_MS);
    return 0;
}

static int request_parse(struct request *r, int argc, char **argv, struct error *err)
{
    static const char *const names[] = {"-a", "--door", "--tick", "--stats", NULL};
    const char **const values[] = {&r->design, &r->door, &r->tick, &r->stats};
    struct args args = {.at = 1, .argv = argv};
    while (args.argc < argc && strcmp(argv[args.argc], "--") != 0)
        args.argc++;
    int name;
    while ((name = args_next(&args, names, err)) >= 0)
        *values[name] = args.value;
    if (name == ARGS_BAD)
        return -1;
    if (!r->design)
        return error_set(err, "on which design? usage: alloclab %s", usage);
    if (args.argc + 1 >= argc)
        return error_set(err, "no command after --; usage: alloclab %s", usage);
    r->command = argv + args.argc + 1;
    struct os_config door;
    if (r->door && os_config_read("--door", r->door, &door, err))
        return -1;
    return r->tick ? tick_check(r->tick, err) : 0;
}

/* What was not asked for is not inherited either. */
static int variable_set(const char *name, const char *value)
{
    return value && *value ? setenv(name, value, 1) : unsetenv(name);
}

/* The command may change its folder before it writes: a relative name is taken from here. */
static char *path_absolute(const char *path)
{
    char *here = *path == '/' ? strdup("") : getcwd(NULL, 0), *full = NULL;
    if (!here || asprintf(&full, "%s%s%s", here, *here ? "/" : "", path) < 0)
        full = NULL;
    free(here);
    return full;
}

static int environment_set(const struct request *r, const struct spec *spec, struct error *err)
{
    char library[PATH_MAX], *stats = NULL;
    if (dropin_library(spec->design, library, err))
        return -1;
    if (r->stats && strcmp(r->stats, "stderr") != 0) {
        stats = path_absolute(r->stats);
        if (!stats)
            return error_set(err, "%s: cannot tell where it is: %s", r->stats, strerror(errno));
    }
    int failed = variable_set(DROPIN_ENV_OPTIONS, spec->options_text) ||
                 variable_set(DROPIN_ENV_DOOR, r->door) || variable_set(DROPIN_ENV_TICK, r->tick) ||
                 variable_set(DROPIN_ENV_STATS, stats ? stats : r->stats) || preload_add(library);
    free(stats);
    return failed ? error_set(err, "no memory for the environment") : 0;
}

static int exec_main(int argc, char **argv)
{
    struct request r = {.design = NULL};
    struct spec spec = {.design = NULL};
    struct error err;
    if (argc == 2 && !strcmp(argv[1], "--list"))
        return list_print();
    if (!request_parse(&r, argc, argv, &err) && !spec_parse(r.design, &spec, &err) &&
        !environment_set(&r, &spec, &err)) {
        execvp(r.command[0], r.command);
        error_set(&err, "%s: cannot be started: %s", r.command[0], strerror(errno));
    }
    fprintf(stderr, "alloclab exec: %s\n", err.text);
    if (spec.design)
        spec_free(&spec);
    return 2;
}

COMMAND(exec) = {
    .name = "exec",
    .usage = usage,
    .summary = "run a program on a design in place of the C library's malloc",
    .main = exec_main,
};
