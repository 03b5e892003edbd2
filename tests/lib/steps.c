/*
 * steps.c - the child stops itself before and after the work; in between the parent counts its
 * steps. See steps.h.
 */
#include "tests/lib/steps.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void child_main(steps_work *work, void *arg)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
        _exit(1);
    raise(SIGSTOP);
    work(arg);
    raise(SIGSTOP);
    _exit(0);
}

/* Waits for the child's next stop; false if it is not for that signal, or the child has ended. */
static int child_stopped(pid_t child, int signal)
{
    int status;
    return waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == signal;
}

long steps_count(steps_work *work, void *arg)
{
    pid_t child = fork();
    if (child == 0)
        child_main(work, arg);
    if (child < 0)
        return -1;
    long steps = child_stopped(child, SIGSTOP) ? 0 : -1;
    while (steps >= 0) {
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL))
            steps = -1;
        else if (!child_stopped(child, SIGTRAP))
            break; /* the second SIGSTOP */
        else
            steps++;
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return steps;
}
