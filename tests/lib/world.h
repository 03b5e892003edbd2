/*
 * world.h - a random program against a heap, for tests: objects of all sizes come, move and go in
 * scopes that open and close, and every byte of every object is known. Two objects that share a
 * byte, a byte that changed, or a wrong alignment fail the test at the object's next use.
 */
#ifndef ALLOCLAB_TEST_WORLD_H
#define ALLOCLAB_TEST_WORLD_H

#include "tests/lib/rig.h"
#include "workloads/lib/rng.h"

enum world_scopes { WORLD_FLAT, WORLD_NESTED, WORLD_INTERLEAVED };

enum { WORLD_OBJECTS = 256, WORLD_SCOPES = 12 };

struct world_mix {
    enum world_scopes scopes; /* FLAT also where the design has none */
    size_t max_size;          /* sizes are log-uniform from 1 to this */
    bool aligned;             /* some objects with larger alignment, where the design has it */
    bool upkeep;              /* trim() and tick() now and then */
};

struct object {
    char *p; /* NULL = not live */
    size_t size, align;
    uint64_t tag;   /* of its contents */
    unsigned scope; /* place in `scopes` */
};

struct world {
    struct rig *rig;
    struct world_mix mix;
    struct rng rng;
    struct object objects[WORLD_OBJECTS];
    struct heap *scopes[WORLD_SCOPES]; /* [0] = outside all scopes; NULL = closed */
    unsigned open[WORLD_SCOPES];       /* those open, in the order of opening */
    unsigned open_count;
    uint64_t tags, refusals; /* refusals: requests that got no memory */
    uint64_t addresses;      /* a hash of every address that came out */
};

void world_start(struct world *w, struct rig *rig, const struct world_mix *mix, uint64_t seed);
void world_run(struct world *w, unsigned steps);
/* Leaves the scopes and verifies all that survives; objects outside scopes stay live, and kept. */
void world_stop(struct world *w);
void world_verify(struct world *w); /* all live objects */
void world_free(struct world *w);   /* verifies and frees them */
/* rig_check(), and that every live object lies in bytes that walk() calls live. */
void world_check(struct world *w);

void object_fill(struct object *o, uint64_t tag);
void object_verify(const struct object *o, size_t bytes);

#endif
