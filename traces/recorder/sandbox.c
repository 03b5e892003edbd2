/*
 * sandbox.c - notices that the program is about to enter a seccomp sandbox, by prctl or by seccomp, and makes
 * ready for a life without system calls: a piece of the capture that is mapped beforehand (file.c) takes what
 * would be written to it. When that is full, what follows is lost and counted.
 *
 * What else the recorder asks the kernel for, it does without: signals stay unblocked in the slow ways, where a
 * handler that comes writes into an inner lane, or takes one more than it need; lanes of threads that ended are
 * not used again; a forked child is not recorded, and the parent's capture counts it.
 *
 * The filter counts for the thread that asks, or for all. We take it for all.
 *
 * The strict mode, like PR_SET_TSC, also takes the time stamp counter away: to read it, or the time, is death by
 * SIGSEGV. So time stops in the trace.
 */
#include "traces/recorder/sandbox.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "traces/recorder/calls.h"
#include "traces/recorder/file.h"

#define POOL_BYTES ((uint64_t)32 << 20)

_Atomic bool sandbox_closed;
static _Atomic bool time_stopped;

/* As the C library's, but with the arguments that it passes on: so that these calls end in a jump to it. */
RECORDER_EXPORT long sandbox_syscall(long number, long a, long b, long c, long d, long e,
                                     long f) __asm__("syscall");
RECORDER_EXPORT int sandbox_prctl(int option, unsigned long a, unsigned long b, unsigned long c,
                                  unsigned long d) __asm__("prctl");

static struct {
    long (*syscall)(long, long, long, long, long, long, long);
    int (*prctl)(int, unsigned long, unsigned long, unsigned long, unsigned long);
} next;

/* The recorder's own calls come here first, when it opens its capture. */
__attribute__((noinline, cold)) static void resolve(void)
{
    *(void **)&next.prctl = call_lookup("prctl", NULL);
    *(void **)&next.syscall = call_lookup("syscall", NULL);
}

void signals_block(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    if (!atomic_load(&sandbox_closed))
        pthread_sigmask(SIG_SETMASK, &all, before);
    else
        sigemptyset(before);
}

void signals_restore(const sigset_t *before)
{
    if (!atomic_load(&sandbox_closed))
        pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* True if it was open and is closed now. */
static bool sandbox_close(void)
{
    int error = errno;
    if (!sink_ready() || atomic_load(&sandbox_closed))
        return false;
    lanes_prepare();
    file_pool_make(POOL_BYTES);
    notes_prepare();
    sink_aside_remove(SINK_SITED); /* what a walk over a stack may read, it asks the kernel */
    errno = error;
    return !atomic_exchange(&sandbox_closed, true);
}

/* What a call of prctl or seccomp does, if it succeeds. */
struct effect {
    bool closes, stops, goes_on;
};

static struct effect effect_of(long number, long a, long b)
{
    bool by_seccomp = number == SYS_seccomp, by_prctl = number == SYS_prctl;
    bool strict = (by_seccomp && a == SECCOMP_SET_MODE_STRICT) ||
                  (by_prctl && a == PR_SET_SECCOMP && b == SECCOMP_MODE_STRICT);
    return (struct effect){
        .closes = strict || (by_seccomp && a == SECCOMP_SET_MODE_FILTER) ||
                  (by_prctl && a == PR_SET_SECCOMP),
        .stops = strict || (by_prctl && a == PR_SET_TSC && b == PR_TSC_SIGSEGV),
        .goes_on = by_prctl && a == PR_SET_TSC && b == PR_TSC_ENABLE,
    };
}

static void time_go_on(void)
{
    if (atomic_exchange(&time_stopped, false))
        lane_time_stop(false);
}

/* Before the call; what is left of the effect is what the call's failure has to undo. */
static void sandbox_expect(struct effect *e)
{
    e->closes = e->closes && sandbox_close();
    e->stops = e->stops && !atomic_exchange(&time_stopped, true);
    if (e->stops)
        lane_time_stop(true);
}

/* After the call: where it failed, all is as before. */
static long sandbox_judge(const struct effect *e, long status)
{
    bool failed = status != 0;
    if (failed ? e->stops : e->goes_on)
        time_go_on();
    if (failed && e->closes) {
        atomic_store(&sandbox_closed, false);
        sink_aside_add(sink_settings.sites ? SINK_SITED : 0);
    }
    return status;
}

/* A fork past the C library, whose child goes on in a copy of our stack. */
static bool is_fork(long number, long a, long b)
{
#ifdef SYS_fork
    if (number == SYS_fork)
        return true;
#endif
    if (number == SYS_clone)
        return b == 0 && !(a & CLONE_VM);
    const struct clone_args *args = (const struct clone_args *)a;
    return number == SYS_clone3 && args && b >= CLONE_ARGS_SIZE_VER0 && args->stack == 0 &&
           !(args->flags & CLONE_VM);
}

__attribute__((noinline, cold)) static long fork_pass(long number, long a, long b, long c, long d,
                                                      long e, long f)
{
    long pid = next.syscall(number, a, b, c, d, e, f);
    if (pid == 0)
        sink_child_begins();
    return pid;
}

long sandbox_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (UNLIKELY(!next.syscall))
        resolve();
    if (UNLIKELY(is_fork(number, a, b)))
        return fork_pass(number, a, b, c, d, e, f);
    if (LIKELY(number != SYS_seccomp && number != SYS_prctl))
        return next.syscall(number, a, b, c, d, e, f);
    struct effect effect = effect_of(number, a, b);
    sandbox_expect(&effect);
    return sandbox_judge(&effect, next.syscall(number, a, b, c, d, e, f));
}

int sandbox_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    if (UNLIKELY(!next.prctl))
        resolve();
    if (LIKELY(option != PR_SET_SECCOMP && option != PR_SET_TSC))
        return next.prctl(option, a, b, c, d);
    struct effect effect = effect_of(SYS_prctl, option, (long)a);
    sandbox_expect(&effect);
    return (int)sandbox_judge(&effect, next.prctl(option, a, b, c, d));
}
