/*
 * child_tie.h - what every process of a session does between fork and exec: it dies with the
 * session, whatever ends that, and leaves no core.
 */
#ifndef ALLOCLAB_CHILD_TIE_H
#define ALLOCLAB_CHILD_TIE_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static inline void child_tie(pid_t session)
{
    struct rlimit none = {0, 0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != session)
        _exit(127);
    setrlimit(RLIMIT_CORE, &none);
}

#endif
