/*
 * main.c - the command line: finds the subcommand among the registered ones and runs it.
 *
 * Exit status, the same for all: 0 done; 1 something measured failed or regressed; 2 bad input or
 * usage; 3 inconclusive, only where a subcommand is asked to be strict.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "harness/args.h"
#include "harness/build.h"
#include "harness/registry.h"

static void command_print(const struct command *command, FILE *stream)
{
    fprintf(stream, "  alloclab %s\n      %s\n", command->usage, command->summary);
}

static void help_print(FILE *stream)
{
    fprintf(stream, "alloclab: which allocator design fits this workload?\n\n");
    for (int i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            command_print(commands[i], stream);
    fprintf(stream,
            "\nExit status: 0 done, 1 something measured failed or regressed, 2 bad input or "
            "usage, 3 inconclusive (only under --strict).\n");
}

/* A table that did not reach its reader is no success. */
static int command_run(const struct command *command, int argc, char **argv)
{
    int status = command->main(argc, argv);
    if (!fflush(stdout) && !ferror(stdout))
        return status;
    fprintf(stderr, "alloclab %s: cannot write to standard output: %s\n", command->name,
            strerror(errno));
    return status ? status : 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help_print(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "help") || help_is(argv[1])) {
        help_print(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("alloclab %s (%s build)\n", build_commit, BUILD_MODE);
        return 0;
    }
    bool asks = argc == 3 && help_is(argv[2]);
    for (int i = 0; commands[i]; i++)
        if (asks && !strcmp(argv[1], commands[i]->name)) {
            command_print(commands[i], stdout);
            return 0;
        }
    for (int i = 0; commands[i]; i++)
        if (!strcmp(argv[1], commands[i]->name))
            return command_run(commands[i], argc - 1, argv + 1);
    fprintf(stderr, "alloclab: no command '%s'; `alloclab help` lists them\n", argv[1]);
    return 2;
}
