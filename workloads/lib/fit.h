/*
 * fit.h - what a recording says of its objects: of each one its sizes and how long it lived, for a
 * workload that draws from them.
 *
 * Time is counted in births: of objects that the recording freed. An object with life L is freed
 * when L others have been born after it, before the next one. Counted like this, the mean number of
 * live objects is the mean life, and the mean of live bytes the mean of size times life: whoever
 * draws objects at random, with their lives, has the recording's level of live memory.
 *
 * Memory: 40 bytes an object of the recording, 24 a realloc.
 */
#ifndef ALLOCLAB_FIT_H
#define ALLOCLAB_FIT_H

#include "traces/trace.h"

struct fit_step { /* a realloc: so many births after the object's own */
    uint64_t age, size;
};

struct fit_object {
    uint64_t size;        /* at first; of one that stays: at last */
    uint32_t life;        /* in births */
    uint32_t step, steps; /* its reallocs in fit.steps */
    uint32_t site;
    uint32_t thread, freer;
    uint8_t kind, align_log2; /* as in trace.h; a realloc of NULL is an alloc */
    bool sized;               /* freed with its size */
};

struct fit {
    struct fit_object *objects; /* freed ones, in the order of their births */
    uint64_t count;
    struct fit_object *stays; /* never freed */
    uint64_t stay_count;
    struct fit_step *steps;
    uint64_t step_count;
    uint32_t threads;
    uint32_t longest; /* life */
};

/* 0, or -1 with a message and nothing to free. */
int fit_read(struct fit *fit, const char *path, struct error *err);
void fit_free(struct fit *fit);

#endif
