/*
 * feed.h - a trace writer on a thread of its own: the ops that one thread finds, another one holds
 * against the rules, puts into columns and compresses. For long conversions, whose time is then
 * that of the slower half.
 *
 * What an op is refused for comes with a later one. Between trace_feed_open() and trace_feed_close()
 * nobody else may touch a writer that works apart, its meta pairs and its table of sites included.
 * Who finds sites on the way has a table of its own, of which the writer's gets what is new with each
 * batch, while the writer has nothing to do: so what stands in the file depends on the ops and their
 * sites alone, whatever the threads do. Memory: two batches, 3.5 MiB.
 */
#ifndef ALLOCLAB_FEED_H
#define ALLOCLAB_FEED_H

#include <stddef.h>

#include "traces/sites.h"
#include "traces/trace.h"

enum {
    FEED_BATCH = 32768, /* to wake a thread on another core may take as long as a thousand ops */
    FEED_ALONE = 16384, /* ops of a trace that is not worth a thread */
};

struct trace_feed { /* private */
    struct trace_writer *writer;
    const struct sites *sites; /* NULL: none are found on the way */
    struct feed_state *state;  /* NULL: nothing works apart */
    struct trace_op *ops;      /* of the batch being filled */
    size_t count, room;
    uint64_t until_apart;  /* ops: a short trace is not worth a thread */
    struct trace_op alone; /* the batch if nothing works apart */
};

/* With `apart`, a writer of more than a few ops works apart, if there is memory and a thread for it. */
void trace_feed_open(struct trace_feed *f, struct trace_writer *w, const struct sites *sites,
                     bool apart);

/* Hands over the batch: 0, or -1 with what an op of an earlier one was refused for. */
int trace_feed_flush(struct trace_feed *f, struct error *err);

/* Where the next op is to be written, all of it; it is put by trace_feed_put(). An op that is copied
 * just after its fields were written waits for these. */
static inline struct trace_op *trace_feed_slot(struct trace_feed *f)
{
    return &f->ops[f->count];
}

static inline int trace_feed_put(struct trace_feed *f, struct error *err)
{
    __builtin_prefetch(&f->ops[f->count + 16], 1);
    return ++f->count < f->room ? 0 : trace_feed_flush(f, err);
}

/* Waits until all ops are in the writer, and ends the thread: 0, or -1 as above. */
int trace_feed_close(struct trace_feed *f, struct error *err);

#endif
