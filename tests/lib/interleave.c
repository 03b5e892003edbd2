/*
 * interleave.c - see interleave.h. Each run is a path in a tree of choices, which is kept on a
 * stack of frames; the next run repeats the path up to the last frame with another choice left.
 */
#include "tests/lib/interleave.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#include "allocators/lib/atomic_step.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

enum { DEPTH_MAX = 4096, STACK_BYTES = 64 * 1024, NOBODY = -1 };

struct step { /* what a thread is about to do */
    const volatile void *address;
    bool writes;
};

struct frame {
    unsigned enabled, sleep, done; /* sets of threads; done: tried here before `chosen` */
    int chosen;
    struct step next[INTERLEAVE_THREADS];
};

static struct {
    const struct interleave *model;
    ucontext_t main, context[INTERLEAVE_THREADS];
    char *stack[INTERLEAVE_THREADS];
    struct step next[INTERLEAVE_THREADS];
    const volatile void *last_write[INTERLEAVE_THREADS];
    bool ended[INTERLEAVE_THREADS];
    int self; /* NOBODY outside runs */
    bool starting, cut;
    const char *failure;
    struct frame frames[DEPTH_MAX];
    unsigned depth, known; /* frames of this run, and those that repeat the last one */
} x;

/* ---- choosing ---- */

static bool steps_conflict(const struct step *a, const struct step *b)
{
    return a->address == b->address && (a->writes || b->writes);
}

static unsigned sleep_after(const struct frame *f)
{
    unsigned sleep = 0, candidates = (f->sleep | f->done) & ~(1u << f->chosen);
    for (unsigned t = 0; t < x.model->threads; t++)
        if (candidates >> t & 1 && !steps_conflict(&f->next[t], &f->next[f->chosen]))
            sleep |= 1u << t;
    return sleep;
}

/* One of the set, the current thread if possible: fewer switches. */
static int choice_of(unsigned set)
{
    if (x.self != NOBODY && set >> x.self & 1)
        return x.self;
    return set ? __builtin_ctz(set) : NOBODY;
}

/* Who makes the next step; NOBODY = all have ended, or every way on was seen. */
static int choose(void)
{
    if (x.depth < x.known)
        return x.frames[x.depth++].chosen;
    struct frame *f = &x.frames[x.depth];
    memset(f, 0, sizeof *f);
    for (unsigned t = 0; t < x.model->threads; t++)
        f->enabled |= (unsigned)!x.ended[t] << t;
    if (!f->enabled)
        return NOBODY;
    if (x.depth)
        f->sleep = sleep_after(&x.frames[x.depth - 1]);
    memcpy(f->next, x.next, sizeof f->next);
    f->chosen = choice_of(f->enabled & ~f->sleep);
    x.cut = f->chosen == NOBODY;
    if (!x.cut && ++x.depth == DEPTH_MAX) {
        x.failure = "a run has too many steps: is there a loop that waits?";
        x.cut = true;
    }
    x.known = x.depth;
    return x.cut ? NOBODY : f->chosen;
}

/* The path to the next run; false = there is none. */
static bool choices_advance(void)
{
    while (x.depth) {
        struct frame *f = &x.frames[x.depth - 1];
        f->done |= 1u << f->chosen;
        unsigned left = f->enabled & ~f->sleep & ~f->done;
        if (left) {
            f->chosen = __builtin_ctz(left);
            x.known = x.depth;
            return true;
        }
        x.depth--;
    }
    return false;
}

/* ---- running ---- */

static void switch_to(ucontext_t *from, int thread)
{
    x.self = thread;
    swapcontext(from, thread == NOBODY ? &x.main : &x.context[thread]);
}

void atomic_step_before(const volatile void *address, bool writes)
{
    int self = x.self;
    if (self == NOBODY)
        return;
    x.next[self] = (struct step){address, writes};
    if (x.starting)
        switch_to(&x.context[self], NOBODY);
    else {
        int next = choose();
        if (next != self)
            switch_to(&x.context[self], next);
    }
    if (writes)
        x.last_write[self] = address;
}

void atomic_step_seen(const volatile void *address, void *value, size_t bytes)
{
    if (x.self != NOBODY && x.model->fault)
        x.model->fault(address, value, bytes);
}

void interleave_fail(const char *what)
{
    if (!x.failure)
        x.failure = what;
    if (x.self != NOBODY)
        switch_to(&x.context[x.self], NOBODY);
}

unsigned interleave_self(void)
{
    return (unsigned)x.self;
}

const volatile void *interleave_last_write(void)
{
    return x.last_write[x.self];
}

static void thread_main(int self)
{
    x.model->thread((unsigned)self);
    x.ended[self] = true;
    x.next[self] = (struct step){NULL, false};
    switch_to(&x.context[self], x.starting ? NOBODY : choose());
}

/* Each thread goes to its first step; from there on all is by choice. */
static void run_once(void)
{
    x.depth = 0;
    x.cut = false;
    x.self = NOBODY;
    x.model->setup();
    x.starting = true;
    for (unsigned t = 0; t < x.model->threads; t++) {
        ASAN_UNPOISON_MEMORY_REGION(x.stack[t], STACK_BYTES);
        x.ended[t] = false;
        x.last_write[t] = NULL;
        getcontext(&x.context[t]);
        x.context[t].uc_stack.ss_sp = x.stack[t];
        x.context[t].uc_stack.ss_size = STACK_BYTES;
        x.context[t].uc_link = NULL;
        makecontext(&x.context[t], (void (*)(void))thread_main, 1, (int)t);
        switch_to(&x.main, (int)t);
    }
    x.starting = false;
    int first = choose();
    if (first != NOBODY)
        switch_to(&x.main, first);
    if (!x.cut && !x.failure)
        x.model->finish();
}

struct interleave_result interleave_run(const struct interleave *model)
{
    struct interleave_result result = {.runs = 0};
    assert_in_range(model->threads, 1, INTERLEAVE_THREADS);
    memset(&x, 0, sizeof x);
    x.model = model;
    for (unsigned t = 0; t < model->threads; t++)
        x.stack[t] = test_malloc(STACK_BYTES);
    bool more = true;
    while (more && !x.failure && (!model->most || result.runs < model->most)) {
        run_once();
        result.runs++;
        result.cut += x.cut;
        more = choices_advance();
    }
    result.failure = x.failure;
    result.complete = !more && !x.failure;
    for (unsigned t = 0; t < model->threads; t++)
        test_free(x.stack[t]);
    x.self = NOBODY;
    return result;
}
