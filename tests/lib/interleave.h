/*
 * interleave.h - an exhaustive model check of real code: runs a few threads, as coroutines, through
 * every order of their atomic steps (allocators/lib/atomic_step.h), and asks after each run whether
 * anything went wrong. A test includes this first, and then the .c files to be checked, so that
 * they are compiled with steps that come here.
 *
 *     thread 0   a  b  c       a a b x y, a x a b y, ...: every order is one run, from the start,
 *     thread 1   x  y          with all choices the same up to the one that is varied
 *
 * Runs that differ only in the order of steps that do not touch the same address, or only read it,
 * end alike, and are run once (sleep sets; Godefroid, "Partial-Order Methods for the Verification
 * of Concurrent Systems", 1996). Code between two atomic steps is taken to be free of data races,
 * which ThreadSanitizer looks for. The model is sequentially consistent: what weaker memory orders
 * allow beside it is not explored.
 *
 * A fault is planted by changing what a step reads: `fault` may replace it, as if the code had not
 * looked. That shows that the check would find the mistake.
 */
#ifndef ALLOCLAB_TEST_INTERLEAVE_H
#define ALLOCLAB_TEST_INTERLEAVE_H

#define ATOMIC_STEP_MODEL

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INTERLEAVE_THREADS = 3 };

struct interleave {
    unsigned threads;
    void (*setup)(void);           /* before each run; steps are not scheduled here and in finish */
    void (*thread)(unsigned self); /* the same each time */
    void (*finish)(void);          /* after each run that went to its end */
    void (*fault)(const volatile void *address, void *value, size_t bytes); /* NULL = none */
    uint64_t most; /* gives up after so many runs; 0 = never */
};

struct interleave_result {
    uint64_t runs, cut;  /* cut: left early, as the rest was known */
    const char *failure; /* NULL = none in any run; what the first that failed said */
    bool complete;       /* all were run */
};

struct interleave_result interleave_run(const struct interleave *model);

/* Called by threads, finish or reclaim callbacks: the run failed. In a thread it does not return.
 */
void interleave_fail(const char *what);
/* The thread that runs; the address that it wrote to last, NULL at first. */
unsigned interleave_self(void);
const volatile void *interleave_last_write(void);

#endif
