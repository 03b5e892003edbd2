/*
 * decoder.h - the process that decodes a trace for a cell, as the session sees it: `alloclab
 * decode`, started by exec with a ring and the trace's descriptor. It decodes pass after pass until
 * it is ended.
 */
#ifndef ALLOCLAB_DECODER_H
#define ALLOCLAB_DECODER_H

#include <sys/types.h>

#include "harness/ring.h"

struct decoder_process {
    pid_t pid;
    int ring_fd; /* for the cell: exec inherits it */
    struct ring watcher;
};

/* 0 or -1 with a message. The trace's name is for messages. */
int decoder_start(struct decoder_process *d, int trace_fd, const char *name,
                  const struct plan *header, struct error *err);

/* Looks whether it still runs; if not, nobody waits for it any longer. */
void decoder_watch(struct decoder_process *d);

/* Ends it; the most memory that it had resident, the ring included, 0 if that is not known. */
uint64_t decoder_end(struct decoder_process *d);

#endif
