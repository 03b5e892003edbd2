/*
 * program.c - `alloclab program`, internal: what hyperfine times for `alloclab programs`. Runs one
 * command on one allocator and leaves in the file that it was given what getrusage(2) says of it.
 * `alloclab program check LIBRARY`: is that library what serves malloc here?
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/programs.h"
#include "harness/registry.h"

static int check(const char *library)
{
    struct error why;
    if (preload_serves(library, &why))
        return 0;
    fprintf(stderr, "alloclab program: %s\n", why.text);
    return 1;
}

/* The environment is made before the fork, so that the child only executes. */
static int command_run(struct program_run *run)
{
    struct preload preload = {.load = run->load, .options = run->ours ? run->options : NULL};
    char *argv[] = {"sh", "-c", run->command, NULL};
    struct rusage usage;
    strcpy(preload.path, run->library);
    char **environment = run->library[0] ? preload_environment(&preload, run->door) : environ;
    pid_t self = getpid(), pid = environment ? fork() : -1;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == self)
            execve("/bin/sh", argv, environment);
        _exit(127);
    }
    if (pid < 0)
        return 1;
    while (waitpid(pid, &run->wait_status, 0) < 0 && errno == EINTR)
        ;
    getrusage(RUSAGE_CHILDREN, &usage);
    run->peak_bytes = (uint64_t)usage.ru_maxrss << 10;
    run->faults = (uint64_t)usage.ru_minflt;
    run->ended = true;
    return 0;
}

static int program_main(int argc, char **argv)
{
    const char *text = getenv(PROGRAM_FD_VARIABLE);
    if (argc == 3 && !strcmp(argv[1], "check"))
        return check(argv[2]);
    int fd = text ? atoi(text) : -1;
    struct program_run *run = MAP_FAILED;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc == 1 && fd > 2 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (run == MAP_FAILED) {
        fprintf(stderr, "alloclab program: internal; use `alloclab programs`\n");
        return 2;
    }
    unsetenv(PROGRAM_FD_VARIABLE);
    return command_run(run);
}

COMMAND(program) = {.name = "program",
                    .usage = "program (internal)",
                    .summary = "runs one program",
                    .hidden = 1,
                    .main = program_main};
