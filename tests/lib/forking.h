/*
 * forking.h - fork() while other threads are anywhere in a heap, one of them in tick() and trim():
 * the child, which has the forking thread alone, finds it whole (check(), the law of walk()),
 * allocates, frees what it has from before and since, calls tick() and trim(), and ends with status
 * 0 before an alarm does.
 */
#ifndef ALLOCLAB_TEST_FORKING_H
#define ALLOCLAB_TEST_FORKING_H

#include <stdint.h>

#include "allocators/lib/allocator.h"

/* For designs with ALLOCATOR_SHARED, which must offer fork(). */
void forking_try(const struct allocator *design, uint64_t seed);

#endif
