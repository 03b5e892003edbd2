/*
 * thp.c - `alloclab thp`: a command, and all that it starts, with transparent huge pages for all,
 * for none, or as they are: what `alloclab run --thp` does for cells. The command finds the word in
 * its environment, so that what it writes can say it.
 */
#include "harness/thp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/registry.h"
#include "harness/session_args.h"

static const char usage[] = "thp asis|off|on -- CMD ARGS";

/* Runs the command to its end; its exit status as a shell gives it, or -1. */
static int command_run(char **command, const char *word, struct error *err)
{
    int status;
    pid_t pid = fork();
    if (pid < 0)
        return error_set(err, "%s: %s", command[0], strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* who runs without the setting measures something else */
        setenv("ALLOCLAB_THP", word, 1);
        execvp(command[0], command);
        fprintf(stderr, "alloclab thp: %s: cannot be started: %s\n", command[0], strerror(errno));
        _exit(2);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int thp_main(int argc, char **argv)
{
    struct error err = {""}, ending;
    struct thp_hold hold;
    int thp, status = -1;
    if (argc < 4 || strcmp(argv[2], "--") != 0)
        error_set(&err, "usage: alloclab %s", usage);
    else if (!choice_parse("mode", argv[1], thp_names, &thp, &err) &&
             !thp_begin(&hold, (enum thp)thp, THP_SWITCH, &err)) {
        status = command_run(argv + 3, argv[1], &err);
        if (thp_end(&hold, &ending)) {
            fprintf(stderr, "alloclab thp: %s\n", ending.text);
            status = status > 0 ? status : 1;
        }
    }
    if (status >= 0)
        return status;
    fprintf(stderr, "alloclab thp: %s\n", err.text);
    return 2;
}

COMMAND(thp) = {
    .name = "thp",
    .usage = usage,
    .summary = "run a command with transparent huge pages for all, for none, or as they are",
    .main = thp_main,
};
