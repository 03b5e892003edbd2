/*
 * sink.h - one capture a process image: when it is opened, what it says of itself, and what is
 * asked of it. Everything here may be called from any thread, at any moment from the dynamic
 * linker's start-up to the last destructor, and never allocates from the program's heap.
 */
#ifndef ALLOCLAB_SINK_H
#define ALLOCLAB_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/recorder/capture.h"
#include "traces/recorder/lane.h"

#define RECORDER_EXPORT __attribute__((visibility("default")))

enum sink_aside {                       /* why a call does not go the short way */
                  SINK_NOT_STARTED = 1, /* or never to be */
                  SINK_UNRESOLVED = 2,  /* the next definitions are not known yet */
                  SINK_OFF = 4,         /* between a stop and a start */
                  SINK_SPECIAL = 8,     /* samples */
                  SINK_SITED = 16,      /* of calls that make memory: their sites are wanted */
};

struct sink_settings {
    uint64_t ticks_per_s; /* of the time stamp counter; 0: CLOCK_MONOTONIC is used */
    uint64_t slow;        /* ticks: records that far apart are timed one by one */
    bool each;            /* all are */
    uint32_t sample;
    enum capture_sites sites;
    uint32_t site_depth; /* most frames of a stack */
};

/* Change hot.aside, and hot.aside_frees for calls that release memory; where it is 0 calls go the short way. */
void sink_aside_add(unsigned reasons);
void sink_aside_remove(unsigned reasons);

extern struct sink_settings sink_settings;
extern const char *sink_other_malloc; /* who has the malloc that comes before ours; NULL: nobody */

/* True if this process is recorded. The first call in a process image, and in a forked child,
   decides that and opens the capture. */
bool sink_ready(void);

/* Appends one event of the calling thread, at a time of its own and so in order with other threads',
 * or counts it as lost. Only after sink_ready(). Keeps errno. */
void sink_mark(struct record r);

void sink_count_nested(void);   /* a call made by the allocator itself: counted, not recorded */
void sink_count_siteless(void); /* a call whose site could not be noted */
void sink_count_skipped(void);  /* a call on an object that is not in the sample */

enum sink_wish { SINK_WISH_STOP, SINK_WISH_START, SINK_WISH_OTHER /* than it is */ };

/* Stops or starts; harmless if it is so already. Keeps errno. */
void sink_switch(enum sink_wish wish);

/* The variable's value in this environment, or NULL. Not getenv: some programs (shells) define one
 * of their own, and the C library's is then out of reach. */
const char *sink_environment(char *const *list, const char *name);

/* In a child, before the program goes on there. */
void sink_child_begins(void);

/* ---- for lanes ---- */

const char *sink_capture_name(void); /* the file's, without its folder */

/* A record found no room: from that stamp on nothing is recorded, since a trace with a hole would
 * be wrong about all that follows. */
void sink_lost(enum capture_kind kind, uint64_t stamp);
bool sink_is_full(void);
void sink_thread_begins(void);
void *sink_wiped_map(size_t bytes); /* reads as zero in a forked child; or NULL */
struct capture_time lane_time(void);

#endif
