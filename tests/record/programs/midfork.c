/*
 * midfork.c - forks in a signal handler at each instruction of a malloc and of a free, which is where the
 * processor's trap flag brings it: so also wherever a record is half made. Each child waits until the parent
 * has gone on so far that it fills the place of that record anew, and only then returns to it, frees and
 * allocates, and ends. Needs an allocator that bears it (bump_plugin.c). Prints how many children there were.
 *
 * usage: midfork malloc|free fork|_Fork|clone|clone3
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define TRAP_FLAG 0x100

/* Rounds of two records, with what else there is about a room full: so each step finds the room as far
 * from full as the first one did, since a full room is written with signals blocked, where a trap kills. */
enum { MORE = 4084 };

static volatile sig_atomic_t steps, fork_at, is_child, forked;
static int gate[2];
static pid_t (*forks)(void) = fork;

/* Past the C library, as sandboxes and language runtimes do. */
static pid_t fork_by_clone(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static pid_t fork_by_clone3(void)
{
    struct clone_args args = {.exit_signal = SIGCHLD};
    return syscall(SYS_clone3, &args, sizeof args);
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    char go;
    (void)signal;
    (void)info;
    if (steps++ != fork_at)
        return;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    forked = 1;
    if (forks() == 0) {
        is_child = 1;
        close(gate[1]);
        if (read(gate[0], &go, 1) != 0) /* it is closed when the parent has gone on */
            _exit(2);
    }
}

static void trap(int on)
{
    __writeeflags(on ? __readeflags() | TRAP_FLAG : __readeflags() & ~TRAP_FLAG);
}

/* One call is stepped through, with a fork at that step. 0: it has fewer steps. */
static int round_at(int step, int stepped_free)
{
    int status;
    void *volatile p = NULL;
    steps = forked = 0;
    fork_at = step;
    if (pipe(gate))
        exit(3);
    if (stepped_free)
        p = malloc(100);
    trap(1);
    if (stepped_free)
        free(p);
    else
        p = malloc(100);
    trap(0);
    if (!is_child)
        for (int i = 0; forked && i < MORE; i++)
            free(malloc(16));
    close(gate[0]);
    close(gate[1]);
    if (!stepped_free)
        free(p);
    free(malloc(200));
    if (is_child)
        _exit(0);
    if (forked && (wait(&status) < 0 || status != 0))
        exit(4);
    return forked;
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_RESTART | SA_SIGINFO};
    char text[32];
    int step = 0, stepped_free = argc > 1 && !strcmp(argv[1], "free");
    if (argc > 2 && !strcmp(argv[2], "_Fork"))
        forks = _Fork;
    if (argc > 2 && !strcmp(argv[2], "clone"))
        forks = fork_by_clone;
    if (argc > 2 && !strcmp(argv[2], "clone3"))
        forks = fork_by_clone3;
    sigaction(SIGTRAP, &action, NULL);
    free(malloc(1)); /* the dynamic linker has found them */
    while (round_at(step, stepped_free))
        step++;
    int n = snprintf(text, sizeof text, "%d %d\n", step, step * (MORE + 2) + 3);
    return write(1, text, (size_t)n) == n ? 0 : 1;
}
