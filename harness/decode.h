/*
 * decode.h - from a trace to plan words without a plan: piece by piece, in memory that follows the
 * live set, for traces whose plan would be larger than memory (ring.h says where the words go).
 *
 * The words are those of a plan with release=free for one OS thread, so no op is looked at before
 * its turn comes: every free is executed, scopes are not followed, nothing is said of objects that
 * outlive theirs, and slots are taken from all that are free, whatever the thread.
 */
#ifndef ALLOCLAB_DECODE_H
#define ALLOCLAB_DECODE_H

#include "harness/ring.h"

/*
 * Reads the whole trace once and judges it as plan_build() does; fills in the header of its plan,
 * PLAN_STREAM, as far as it can be known. 0, or -1 with a message.
 */
int decode_scan(struct trace_reader *trace, struct plan *header, struct error *err);

/* The header in a memfd that plan_map() takes; 0 or -1 with a message. */
int decode_header(const struct plan *header, int *fd, struct error *err);

/* What a ring for this trace must hold. */
struct ring_shape decode_shape(const struct plan *header);

/*
 * Decodes the trace into the ring, pass after pass (0 = without end). 0, or -1: the trace is not
 * what it was, or the ring was written over; err says which.
 */
int decode_passes(struct trace_reader *trace, struct ring *ring, uint64_t passes,
                  struct error *err);

#endif
