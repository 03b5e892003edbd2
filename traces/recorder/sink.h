/*
 * sink.h - where the recorder's events go: one capture file a process image. Everything here may be
 * called from any thread, at any moment from the dynamic linker's start-up to the last destructor,
 * and never allocates from the program's heap.
 */
#ifndef ALLOCLAB_SINK_H
#define ALLOCLAB_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/recorder/capture.h"

#define RECORDER_EXPORT __attribute__((visibility("default")))

/* True if this process is recorded. The first call in a process image, and in a forked child,
   decides that and opens the capture. */
bool sink_ready(void);

/* Appends one event of the calling thread, or counts it as lost. Only after sink_ready(). Keeps
 * errno. */
void sink_put(enum capture_kind kind, unsigned flags, unsigned align_log2, uint64_t address,
              uint64_t size);

void sink_count_nested(void); /* a call made by the allocator itself: counted, not recorded */

#endif
