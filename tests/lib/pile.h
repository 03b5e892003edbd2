/*
 * pile.h - a shared stack of nodes that are poisoned when they are reclaimed, and real threads that
 * push, pop, retire and look: what a reclamation method is tested with. Payloads are plain memory,
 * so under ThreadSanitizer a node that is reclaimed too early is a data race as well.
 */
#ifndef ALLOCLAB_TEST_PILE_H
#define ALLOCLAB_TEST_PILE_H

#include "allocators/lib/shared_stack.h"

struct pile {
    enum reclaim_method method;
    unsigned threads; /* at most 8 */
    unsigned steps;   /* of each */
    uint32_t limit;   /* of retired nodes, for each thread */
    uint64_t seed;
    bool stalls; /* one more thread looks at a node, or is inside, from the start to the end */
};

/* A failed assertion if a node was looked at after it was reclaimed, was lost, was in two places,
 * or more waited than `limit` allows. */
void pile_run(const struct pile *pile);

#endif
