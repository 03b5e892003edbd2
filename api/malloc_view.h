/*
 * malloc_view.h - the state behind a drop-in library: one heap for the process, opened by the first
 * call whoever makes it, and what each thread uses of it. A part of the template api/malloc.c,
 * which has defined `design` before.
 *
 *     design has threads     each thread has a view of its own, made at its first call and given
 *     (SHARED, REMOTE_FREE)  back by the destructor of a pthread key. The root is nobody's own: who
 *                            has no view uses it under `lock` - a thread that is just making one
 *                            (the C library may allocate for the key), one whose destructor has run
 *                            (others' destructors, and the C library, still allocate and free), one
 *                            for which there was no memory, and one that has only freed a little:
 *                            a detached thread frees the C library's data of threads that ended
 *                            before it when all destructors have run, and a view made then would
 *                            be given back by nobody.
 *     design has none        everybody uses the root under `lock`
 *
 * The only thread-local data is struct dropin_thread, in the initial-exec model: an offset from the
 * thread's register, no call that could allocate.
 *
 * fork: BEFORE takes tick_lock, lock, the design's locks and the door's, in this order, which is
 * that of every other path; afterwards they are given back in the parent and in the child. The
 * handlers are registered with the first call, before those of most libraries, so that they close
 * the heap last and open it first.
 */
#ifndef ALLOCLAB_MALLOC_VIEW_H
#define ALLOCLAB_MALLOC_VIEW_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <time.h>

#include "allocators/lib/lock.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/os_policy.h"
#include "api/dropin.h"
#include "api/env.h"
#include "api/malloc_setting.h"

enum dropin_phase { DROPIN_READY, DROPIN_BUSY, DROPIN_ENDED };

enum { EARLY_FREES = 64 };

struct dropin_thread {
    struct heap *view; /* what the calls use; NULL: dropin_view_make() first */
    struct heap *own;  /* the same, kept while `view` is NULL in a child of fork */
    enum dropin_phase phase;
    unsigned early_frees; /* without a view: EARLY_FREES are served by the root */
};

static _Thread_local struct dropin_thread dropin_thread;

static struct {
    struct heap *_Atomic root; /* NULL before the first call */
    struct os *os;
    struct lock lock;      /* opening; and the root, see above */
    struct lock tick_lock; /* held over each tick */
    pthread_key_t key;
    bool key_made;
    uint64_t tick_ms;          /* 0: no thread ticks */
    _Atomic bool tick_missing; /* in a child of fork, until its next call */
    struct alloc_env env;
    _Alignas(16) char options[1024];
    char stats[4096]; /* where they go at the end; "" = nowhere */
} dropin;

/* The kernel gives each process 16 random bytes. */
static uint64_t dropin_seed(void)
{
    uint64_t seed = 0;
    const void *random = (const void *)getauxval(AT_RANDOM);
    if (random)
        memcpy(&seed, random, sizeof seed);
    return seed;
}

/* ---- ticks ---- */

static void *dropin_ticker(void *arg)
{
    struct timespec pause = {.tv_sec = (time_t)(dropin.tick_ms / 1000),
                             .tv_nsec = (long)(dropin.tick_ms % 1000 * 1000000)};
    struct heap *root = arg;
    prctl(PR_SET_NAME, "alloclab-tick");
    for (;;) {
        nanosleep(&pause, NULL);
        lock_take(&dropin.tick_lock);
        if (!dropin_is_shared(design))
            lock_take(&dropin.lock);
        design->tick(root, env_now_ns(NULL));
        if (!dropin_is_shared(design))
            lock_give(&dropin.lock);
        lock_give(&dropin.tick_lock);
    }
    return NULL;
}

/* The thread takes no signal: they are the program's. */
static void dropin_ticker_start(void)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_attr_init(&attr);
    if (!error) {
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        error = pthread_create(&thread, &attr, dropin_ticker, atomic_load(&dropin.root));
        pthread_attr_destroy(&attr);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        setting_warn(DROPIN_ENV_TICK, "no thread for it can be started; nobody ticks");
}

/* ---- fork ---- */

static void dropin_fork_before(void)
{
    lock_take(&dropin.tick_lock);
    lock_take(&dropin.lock);
    if (design->fork)
        design->fork(atomic_load(&dropin.root), ALLOCATOR_FORK_BEFORE);
    os_fork_before(dropin.os);
}

static void dropin_fork_after(enum allocator_fork when)
{
    os_fork_after(dropin.os);
    if (design->fork)
        design->fork(atomic_load(&dropin.root), when);
    lock_give(&dropin.lock);
    lock_give(&dropin.tick_lock);
}

static void dropin_fork_parent(void)
{
    dropin_fork_after(ALLOCATOR_FORK_PARENT);
}

/* The child may be about to exec: only one that goes on allocating gets a ticking thread again. */
static void dropin_fork_child(void)
{
    dropin_fork_after(ALLOCATOR_FORK_CHILD);
    if (dropin.tick_ms) {
        atomic_store(&dropin.tick_missing, true);
        dropin_thread.view = NULL;
    }
}

/* ---- opening ---- */

static void dropin_thread_end(void *arg)
{
    struct heap *own = dropin_thread.own;
    (void)arg;
    dropin_thread = (struct dropin_thread){.phase = DROPIN_ENDED};
    if (own) /* the C library hands a value that was set too late to the next thread on the stack */
        design->thread_exit(own);
}

static void dropin_options_read(void)
{
    char text[1024] = "";
    struct error err;
    setting_read(DROPIN_ENV_OPTIONS, text, sizeof text);
    if (design->options_size > sizeof dropin.options)
        setting_refuse(design->name, "its options take more room than a drop-in has for them");
    if (option_parse(design->name, design->options, design->options_size, text, dropin.options,
                     &err))
        setting_refuse(DROPIN_ENV_OPTIONS, err.text);
}

static struct os *dropin_door_open(void)
{
    struct os_config config;
    char text[256] = "";
    struct error err;
    setting_read(DROPIN_ENV_DOOR, text, sizeof text);
    if (os_config_read("the door", text, &config, &err))
        setting_refuse(DROPIN_ENV_DOOR, err.text);
    return os_open(&config);
}

/* Under the lock. Leaves everything as it was if there is no memory. */
static void dropin_open_locked(void)
{
    dropin_options_read();
    if (!dropin.os)
        dropin.os = dropin_door_open();
    if (!dropin.os)
        return;
    dropin.env = (struct alloc_env){.os = dropin.os,
                                    .options = design->options ? dropin.options : NULL,
                                    .seed = dropin_seed(),
                                    .now_ns = env_now_ns,
                                    .cpu = env_cpu,
                                    .design = design};
    struct heap *root = design->create(&dropin.env);
    if (root && design->thread_enter && dropin_is_shared(design))
        dropin.key_made = !pthread_key_create(&dropin.key, dropin_thread_end);
    atomic_store(&dropin.root, root);
}

/* By a thread that is busy: what is allocated here comes from the root. */
static struct heap *dropin_open(void)
{
    lock_take(&dropin.lock);
    bool first = !atomic_load(&dropin.root);
    if (first)
        dropin_open_locked();
    struct heap *root = atomic_load(&dropin.root); /* inside: only its maker goes on */
    lock_give(&dropin.lock);
    if (first && root && pthread_atfork(dropin_fork_before, dropin_fork_parent, dropin_fork_child))
        setting_refuse(design->name, "no memory to prepare for fork");
    return root;
}

/* ---- views ---- */

static struct heap *dropin_view_new(struct heap *root)
{
    if (!dropin_is_shared(design) || !design->thread_enter)
        return root;
    if (!dropin.key_made || pthread_setspecific(dropin.key, &dropin_thread))
        return NULL; /* it could not be given back */
    struct heap *view = design->thread_enter(root);
    if (!view)
        pthread_setspecific(dropin.key, NULL);
    return view;
}

/* Sets the calling thread's view, if it can have one. */
static __attribute__((noinline, cold)) void dropin_view_make(void)
{
    struct dropin_thread *t = &dropin_thread;
    if (t->phase != DROPIN_READY)
        return;
    t->phase = DROPIN_BUSY;
    struct heap *root = atomic_load(&dropin.root);
    if (!root)
        root = dropin_open();
    if (root && !t->own)
        t->own = dropin_view_new(root);
    t->view = t->own;
    t->phase = DROPIN_READY;
    if (atomic_load(&dropin.tick_missing) && atomic_exchange(&dropin.tick_missing, false))
        dropin_ticker_start();
}

static bool dropin_is_guarded(const struct heap *view)
{
    return !dropin_is_shared(design) || (design->thread_enter && view == atomic_load(&dropin.root));
}

/* The view that the calling thread must use, and the lock with it if need be; NULL = no memory for
 * a heap. */
static struct heap *dropin_enter(void)
{
    if (!dropin_thread.view)
        dropin_view_make();
    struct heap *view = dropin_thread.view;
    if (!view)
        view = atomic_load(&dropin.root);
    if (view && dropin_is_guarded(view))
        lock_take(&dropin.lock);
    return view;
}

/* Likewise for a thread that frees, which may be at its very end. */
static struct heap *dropin_enter_to_free(void)
{
    struct dropin_thread *t = &dropin_thread;
    struct heap *root = atomic_load(&dropin.root);
    if (!root || t->own || t->phase != DROPIN_READY || t->early_frees == EARLY_FREES)
        return dropin_enter();
    t->early_frees++;
    if (dropin_is_guarded(root))
        lock_take(&dropin.lock);
    return root;
}

static void dropin_leave(const struct heap *view)
{
    if (view && dropin_is_guarded(view))
        lock_give(&dropin.lock);
}

#endif
