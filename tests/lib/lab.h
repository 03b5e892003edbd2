/*
 * lab.h - one heap of one design in a test that knows the design: objects made, dropped and resized
 * with check() and the walk law after each, and a random program of the same strictness. What goes
 * wrong is a failed cmocka assertion.
 */
#ifndef ALLOCLAB_TEST_LAB_H
#define ALLOCLAB_TEST_LAB_H

#include "tests/lib/rig.h"

struct lab {
    struct rig rig;
    const struct allocator *design;
    struct heap *heap;
};

/* `commit_limit` of the door, bytes; 0 = none. */
void lab_open(struct lab *lab, const char *design, const char *options, size_t commit_limit);
void lab_close(struct lab *lab);

/* An object of `size` bytes, all of them 0x5a. */
char *lab_make(struct lab *lab, size_t size);
void lab_drop(struct lab *lab, void *p);
/* NULL = refused. */
char *lab_resize(struct lab *lab, void *p, size_t old, size_t size);
size_t lab_usable(struct lab *lab, const void *p);

struct lab_sum {
    size_t blocks, bytes;
};

/* The free parts that walk() gives a size class. */
struct lab_sum lab_free_sum(struct lab *lab);

/* A random program of so many steps with check() after each; ends with an empty heap. */
struct lab_torture {
    const char *design, *options;
    uint64_t seed;
    size_t max_size, commit_limit;
    unsigned steps;
};

void lab_torture(const struct lab_torture *torture);
/* ALLOCLAB_SEED or the usual one; printed. */
uint64_t lab_seed(void);

#endif
