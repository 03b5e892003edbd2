/*
 * flusher.h - the desk of traces/recorder/flush.h, and who serves it: a thread of `alloclab record` that
 * writes the full rooms of the recorded processes. It spares them the time that the kernel takes for new
 * pages of the page cache, as long as there is a processor for it.
 *
 * A flusher belongs to one folder of captures. Not having one is no error: processes then write their
 * rooms themselves, as they do with those that it does not come to.
 */
#ifndef ALLOCLAB_FLUSHER_H
#define ALLOCLAB_FLUSHER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "traces/recorder/capture.h"
#include "traces/recorder/flush.h"

struct flusher { /* private */
    const char *folder;
    struct flush_desk *desk; /* NULL: there is none */
    pthread_t thread;
    bool runs;
    _Atomic bool stop;
    int fd; /* of the capture written last, and whose seat that is; -1: none */
    uint32_t seat;
    bool given_up[FLUSH_SEATS]; /* a capture that cannot be written */
};

/* Makes the desk in the folder, whose path must outlive the flusher; before the first process starts. */
void flusher_prepare(struct flusher *f, const char *folder);

/* Starts the thread, which takes no signals. */
void flusher_start(struct flusher *f);

/* Writes what has been handed over until now, ends the thread, and removes the desk. */
void flusher_end(struct flusher *f);

#endif
