/*
 * layouts.h - one loop at several places in the code. Where a loop lies against the sets of the
 * branch predictor, and against the allocator that it calls, moves its time by up to a tenth, for
 * one allocator up and for another down; and any change of the program moves the loop. A loop whose
 * time is told therefore comes in LAYOUTS copies, which start at different places of their pages and
 * cache lines, and passes take them in turn.
 */
#ifndef ALLOCLAB_LAYOUTS_H
#define ALLOCLAB_LAYOUTS_H

#define LAYOUTS 8

#if defined(__x86_64__)
#define LAYOUT_NOP_BYTES 1
#else
#define LAYOUT_NOP_BYTES 4
#endif

/* X(copy, bytes in front of it in its page) */
#define LAYOUTS_EACH(X)                                                                            \
    X(0, 0)                                                                                        \
    X(1, 528) X(2, 1056) X(3, 1584) X(4, 2112) X(5, 2640) X(6, 3168) X(7, 3696)

/* Of the function that is a copy. What is in front are no-ops that nobody runs. */
#define LAYOUT_AT(bytes)                                                                           \
    __attribute__((                                                                                \
        noinline, aligned(4096),                                                                   \
        patchable_function_entry((bytes) / LAYOUT_NOP_BYTES, (bytes) / LAYOUT_NOP_BYTES)))

/* Stands in its body, so that the compiler does not make one of the copies. */
#define LAYOUT_COPY(copy) __asm__ volatile("" ::"i"(copy))

#endif
