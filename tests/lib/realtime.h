/*
 * realtime.h - what every design on lib/goodfit.h must do, as cmocka tests whose initial state is
 * the design's name; and the question on which they differ: which requests a hole serves.
 */
#ifndef ALLOCLAB_TEST_REALTIME_H
#define ALLOCLAB_TEST_REALTIME_H

#include "tests/lib/lab.h"

/* An object whose block has `block` bytes, header included. */
char *realtime_make(struct lab *lab, size_t block);

/* The largest block that a free block of `hole` bytes serves, in a heap that has no other. */
size_t realtime_served(const char *design, const char *options, size_t hole);

void realtime_merges(void **state);
void realtime_reallocs(void **state);
void realtime_aligns(void **state);
void realtime_trims(void **state);
void realtime_pool_is_all(void **state);
void realtime_memory_runs_out(void **state);
void realtime_steps_are_constant(void **state);
void realtime_door_calls(void **state);

#define REALTIME_TESTS(design)                                                                     \
    cmocka_unit_test_prestate(realtime_merges, (void *)(design)),                                  \
        cmocka_unit_test_prestate(realtime_reallocs, (void *)(design)),                            \
        cmocka_unit_test_prestate(realtime_aligns, (void *)(design)),                              \
        cmocka_unit_test_prestate(realtime_trims, (void *)(design)),                               \
        cmocka_unit_test_prestate(realtime_pool_is_all, (void *)(design)),                         \
        cmocka_unit_test_prestate(realtime_memory_runs_out, (void *)(design)),                     \
        cmocka_unit_test_prestate(realtime_steps_are_constant, (void *)(design)),                  \
        cmocka_unit_test_prestate(realtime_door_calls, (void *)(design))

#endif
