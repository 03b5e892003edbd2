/*
 * child.c - see child.h. Signals get their default action, so that no sanitizer's handler turns a
 * fault into a report.
 */
#include "tests/lib/child.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct child_end child_run(int (*deed)(void *arg), void *arg)
{
    struct child_end end = {.signal = 0};
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        _exit(deed(arg));
    }
    close(fds[1]);
    ssize_t got = read(fds[0], end.text, sizeof end.text - 1);
    end.text[got > 0 ? got : 0] = 0;
    close(fds[0]);
    assert_true(waitpid(child, &status, 0) == child);
    end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    return end;
}
