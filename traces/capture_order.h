/*
 * capture_order.h - a possible order of events that have the same stamp (traces/recorder/capture.h):
 * each lane's in its own order, and those of each address alternating between given and released.
 */
#ifndef ALLOCLAB_CAPTURE_ORDER_H
#define ALLOCLAB_CAPTURE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/capture_read.h"

struct capture_group {                     /* zeroed memory is an empty one */
    struct capture_event *events, *sorted; /* the former are the caller's */
    struct capture_place *places;          /* of each event */
    uint32_t *table;                       /* of addresses: one and the first event of each */
    uint64_t *dead; /* a table of numbers: states from which none is possible */
    size_t count, room, dead_room, dead_count;
    uint64_t spare_key;      /* of a state: what may still come out of turn */
    size_t out_of_turn;      /* events that came so */
    uint64_t allowed, spent; /* for all groups so far: on trying, looks at a lane */
    uint64_t repaired;       /* events that could not have come as they lay, and now can */
};

/*
 * Sorts events that are grouped by lanes. `is_live` tells what is live before the group. If no order
 * is possible, or none is found, to one in which few come out of turn. The end of a realloc that failed has the address
 * of the block that stays, or 0. False if there is no memory.
 */
bool capture_group_order(struct capture_group *g, struct capture_event *events, size_t count,
                         bool (*is_live)(void *arg, uint64_t address), void *arg);

void capture_group_free(struct capture_group *g);

#endif
