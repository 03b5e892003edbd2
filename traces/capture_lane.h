/*
 * capture_lane.h - the words of one lane of a capture (traces/recorder/capture.h), decoded into
 * events; private to the reader of captures.
 *
 * Events are taken many at a time, because nearly all words are short records of the same few kinds:
 * a loop that keeps the lane's state in registers decodes those, up to the first word that is anything
 * else, which takes the long way.
 */
#ifndef ALLOCLAB_CAPTURE_LANE_H
#define ALLOCLAB_CAPTURE_LANE_H

#include "traces/capture_read.h"
#include "traces/capture_sites.h"

struct capture_piece { /* a chunk */
    uint64_t offset;
    uint32_t lane, sequence, thread, words;
    bool is_room;
};

struct capture_lane {
    struct capture_event next; /* the merge looks at it */
    const uint64_t *word, *end;
    uint64_t stamp, address[2];
    uint64_t clock, spread_to;                /* the last event's, and the stamp that comes next */
    uint64_t step;                            /* of the clock, from event to event up to that one */
    uint32_t spread;                          /* events from here up to that one */
    const struct capture_piece *piece, *last; /* at hand, and one after the last */
    struct capture_lane_sites sites;
};

/* Goes to the lane's first event, which becomes l->next: 1, 0: there is none, -1 damaged. Its pieces
 * have been set. */
int capture_lane_start(struct capture_reader *r, struct capture_lane *l, struct error *err);

/*
 * Takes l->next, and what follows it as long as its stamp is less than `limit`, `room` events at the
 * most, to `to`; *count says how many. 1: what comes then is l->next, 0: nothing does, -1: damaged.
 */
int capture_lane_take(struct capture_reader *r, struct capture_lane *l, uint64_t limit,
                      struct capture_event *to, size_t room, size_t *count, struct error *err);

#endif
