/*
 * stress.h - real threads against one heap of a design that may be shared: each allocates, resizes
 * and frees at random, leaves objects in places where any other thread picks them up and frees
 * them, and now and then leaves the heap and enters it anew; one more thread calls tick() and
 * trim() all the while. Every object carries what proves that nobody else wrote to it.
 */
#ifndef ALLOCLAB_TEST_STRESS_H
#define ALLOCLAB_TEST_STRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators/lib/allocator.h"

struct stress {
    const char *design, *options; /* options NULL = the defaults */
    unsigned threads;             /* at most 16 */
    unsigned steps;               /* of each thread */
    uint64_t seed;
    bool upkeep; /* the thread for tick and trim */
};

/* Whether the design is one that threads share and free each other's objects of. */
bool stress_applies(const struct allocator *design);

/* A failed assertion if an object was damaged, memory ran out, check() or the law of walk() is
 * broken afterwards, or an object is live after all were freed. */
void stress_run(const struct stress *stress);

#endif
