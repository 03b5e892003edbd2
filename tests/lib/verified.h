/*
 * verified.h - the oracle of a parallel replay, run in the test's own process on every design that
 * threads may share.
 */
#ifndef ALLOCLAB_TEST_VERIFIED_H
#define ALLOCLAB_TEST_VERIFIED_H

/* All of them on one target, in `copies` copies; a refusal is a failed assertion with its words. */
void verified_designs(const char *target, unsigned copies);

#endif
