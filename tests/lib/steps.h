/*
 * steps.h - counts the instructions that a piece of work takes, by single-stepping it in a child
 * process: exact, and the same on a busy machine. The child works on a copy of the memory, so the
 * caller's heap stays as it is. Cost: some microseconds an instruction.
 */
#ifndef ALLOCLAB_TEST_STEPS_H
#define ALLOCLAB_TEST_STEPS_H

typedef void steps_work(void *arg);

/* Instructions in user space, with a constant of two raise() calls; -1 where tracing is denied. */
long steps_count(steps_work *work, void *arg);

#endif
