/*
 * check.h - what the programs under test have in common: a condition that does not hold ends the
 * program with its line.
 */
#ifndef ALLOCLAB_TESTS_DROPIN_CHECK_H
#define ALLOCLAB_TESTS_DROPIN_CHECK_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(2, "%s:%d: does not hold: %s (errno %d)\n", __FILE__, __LINE__, #condition,    \
                    errno);                                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Fills an object by its address and size, and finds out later whether it is still its own. */
static inline void object_fill(void *p, size_t bytes)
{
    memset(p, (int)((uintptr_t)p >> 4 ^ bytes) & 0xff, bytes);
}

static inline int object_holds(const void *p, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)p;
    unsigned char wanted = (unsigned char)((uintptr_t)p >> 4 ^ bytes);
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != wanted)
            return 0;
    return 1;
}

#endif
