/*
 * child.h - runs a deed in a child process, for tests of what ends a program or limits it: a fault,
 * an abort with its message, a resource limit.
 */
#ifndef ALLOCLAB_TEST_CHILD_H
#define ALLOCLAB_TEST_CHILD_H

struct child_end {
    int signal;     /* that ended it; 0 = it left by itself */
    int status;     /* what the deed returned */
    char text[512]; /* what it wrote to stderr */
};

/* The deed must not use stdio or assertions: it says how it went by what it returns, 0 to 255. */
struct child_end child_run(int (*deed)(void *arg), void *arg);

#endif
