/*
 * counter_set.h - which counters a session wants: sets by name, and any event that libpfm4 knows.
 *
 * An event is encoded once, here, by libpfm4, which needs a heap; cells get the encoded list, so
 * that nothing of the library lies on the heap under test. The list holds no pointers: it can lie
 * in shared memory.
 *
 * Each set of hardware events has `cycles` among them. It shows that the PMU ran while another
 * counter stood still.
 */
#ifndef ALLOCLAB_COUNTER_SET_H
#define ALLOCLAB_COUNTER_SET_H

#include <perfmon/perf_event.h>
#include <stdbool.h>
#include <stdint.h>

#include "allocators/lib/error.h"

#define COUNTERS_MAX      48
#define COUNTER_SETS_MAX  16
#define COUNTER_NAME      64
#define COUNTER_NO_COLUMN (-1)

struct counter {
    char name[COUNTER_NAME];
    uint32_t set;
    int32_t column;      /* of results.csv (enum metric), or COUNTER_NO_COLUMN */
    int32_t cold_column; /* the same for the cold pass */
    bool software;       /* the kernel counts it; else the PMU does */
    bool cycles;         /* what others are compared with */
    bool alone;          /* in a group of its own */
    bool answers;        /* it counted when it was tried (counter_probe.h): its 0 is a 0 */
    struct perf_event_attr attr;
};

struct counter_list {
    uint32_t sets, counters;
    char set_name[COUNTER_SETS_MAX][2 * COUNTER_NAME];
    struct counter counter[COUNTERS_MAX]; /* those of a set are neighbours, in the order of sets */
};

struct counter_set { /* a named set, as registered */
    const char *name, *summary;
    const char *const *events; /* ended by NULL */
};

extern const struct counter_set counter_sets[]; /* ended by a NULL name */

/* "core,cache,NAME,NAME+NAME": names of sets, and events or events joined by '+', which are a set
 * of their own. 0, or -1 with a message. */
int counter_list_parse(const char *text, struct counter_list *list, struct error *err);

#endif
