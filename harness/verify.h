/*
 * verify.h - what the serial oracle (verify.c) and the one of a parallel replay
 * (verify_parallel.c) share: the hooks that hold each object to the contract, and the checks of a
 * heap at rest.
 */
#ifndef ALLOCLAB_VERIFY_H
#define ALLOCLAB_VERIFY_H

#include "harness/observe.h"
#include "harness/pass.h"
#include "harness/shadow.h"

struct block {
    uint64_t key;    /* of the pattern */
    uint64_t size;   /* requested */
    uint64_t extent; /* bytes taken in the shadow; 0 = nothing lives in the slot */
};

struct verify { /* what all threads of a replay share */
    const struct cell_setup *setup;
    const struct allocator *design;
    struct cell_heap h;
    struct shadow *shadow;
    struct block *blocks; /* by slot, a table for each copy */
    size_t blocks_bytes;
    uint64_t objects; /* made so far; atomic */
    int refused;      /* something was found: the first thing is told; atomic */
    uint64_t check_every, walks, walk_sum;
    struct walk_item wrong; /* the first item that holds a live byte it must not */
    uintptr_t wrong_at;
};

struct verify_thread { /* the hooks' ctx */
    struct verify *v;
    struct block *blocks; /* of its copy */
    struct observe o;
    const char *where; /* what its ops are counted in, for messages: "" or "thread N, " */
};

/* Ends the account with what was found, unless that was done; false. */
__attribute__((format(printf, 3, 4))) bool verify_refuse(struct verify_thread *t, const void *p,
                                                         const char *format, ...);
/* The same for memory that ran out. */
void verify_exhausted(struct verify_thread *t);

bool verify_made(void *ctx, const struct object_at *object);
bool verify_ending(void *ctx, const struct object_at *object);
bool verify_moved(void *ctx, const struct object_at *object, size_t old);

/* check(), and the walk against the door, of a heap that nobody is calling. */
bool verify_heap(struct verify_thread *t);
/* Destroys the heap, which must leave nothing behind, and says that all is well. */
void verify_end(struct verify *v);

/* The parallel replay of setup->parallel.copies copies. */
void verify_parallel(struct verify *v);

#endif
