/*
 * player.h - what a live workload plays against: one design's heap, through calls that are written
 * down, so that the game becomes the trace of that design and every pass can replay it. The harness
 * makes it.
 *
 * A player belongs to one thread. Objects are numbered as in a trace (traces/trace.h).
 */
#ifndef ALLOCLAB_PLAYER_H
#define ALLOCLAB_PLAYER_H

#include <stddef.h>
#include <stdint.h>

#include "allocators/lib/error.h"

struct player {
    /* 0 and the new object's number; -1 if the design has no memory, and err says so. size > 0,
     * bytes. */
    int (*alloc)(struct player *player, size_t size, uint64_t *object, struct error *err);
    int (*free)(struct player *player, uint64_t object, struct error *err);
    uintptr_t (*address)(const struct player *player, uint64_t object); /* of a live object */
};

#endif
