/*
 * faulty.h - a small correct design, with one fault at a time for oracles to find: objects in slots of
 * 1 KiB of one region under one lock, slots reused last in first out.
 */
#ifndef ALLOCLAB_TEST_FAULTY_H
#define ALLOCLAB_TEST_FAULTY_H

#include "allocators/lib/allocator.h"

enum fault {
    FAULT_NONE,
    FAULT_ALIGN,
    FAULT_OVERLAP,
    FAULT_INSIDE,
    FAULT_AROUND,
    FAULT_CONTENT,
    FAULT_DIRTY,
    FAULT_USABLE,
    FAULT_REALLOC,
    FAULT_FORGET,
    FAULT_LAW,
    FAULT_KIND,
    FAULT_NO_KIND,
    FAULT_CHECK,
    FAULT_LEAK,
    FAULT_OOM
};

/* Those of alloc() happen once, at the 500th, and take it that the first object is still live. */
extern enum fault faulty_fault;

/* An object of this size is returned only when this function has; NULL: at once. */
#define FAULTY_LATE_SIZE 777
extern void (*faulty_late)(void);

/* At most 4096 objects, of at most 1 KiB. */
extern const struct allocator faulty;

#endif
