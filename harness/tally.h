/*
 * tally.h - follows the allocations of a trace, and adds them up in rows: what `trace diff` and
 * `trace sites` have in common. A realloc that succeeds ends an allocation of the old size and site
 * and makes one of the new, as it does for the program. A row's peak is its own: rows need not peak
 * at the same time.
 */
#ifndef ALLOCLAB_TALLY_H
#define ALLOCLAB_TALLY_H

#include "traces/address_map.h"
#include "traces/trace.h"

struct tally { /* of a row */
    uint64_t allocations, bytes;
    uint64_t live, peak; /* bytes; what is live at the end is left over */
};

/* An allocation begins, by this op: what was live at the start is no call. */
void tally_begin(struct tally *t, const struct trace_op *op);

/* The row of a key, which is `next` if it is new. 1: it was known, 0: it is new, -1: no memory. */
int tally_row(struct address_map *index, uint64_t key, uint64_t next, uint64_t *row);

struct tally_follower {
    /* An allocation begins: says what entry (id, size) it gets in `live`. False: no memory. */
    bool (*begin)(void *ctx, const struct trace_op *op, uint64_t *id, uint64_t *size);
    void (*end)(void *ctx, const struct address_entry *entry);
    void *ctx;
    struct address_map live; /* allocations, by object; empty before and after */
};

/* Reads the trace to its end. 0, or -1 with a message. */
int tally_follow(struct tally_follower *f, struct trace_reader *r, struct error *err);

#endif
