/*
 * plan_build.h - what the two halves of the plan's builder share: what is known of each object,
 * scope and thread while the trace is read. plan_fate.c looks ahead (who dies when, who crosses
 * threads), plan_build.c writes words. The reasons for refusing a trace are decode.c's, too.
 */
#ifndef ALLOCLAB_PLAN_BUILD_H
#define ALLOCLAB_PLAN_BUILD_H

#include "harness/array.h"
#include "harness/plan.h"

#define PLAN_TOO_MANY_OBJECTS "more than 268,435,456 objects live at once: too many for a plan"
#define PLAN_TOO_LARGE        "an object of more than 1 TiB"
#define PLAN_NOT_LIVE         "a free or realloc of an object that is not live"
#define PLAN_THREAD_ENDED     "an op of a thread that has ended"

#define FATE_NEVER UINT64_MAX /* not before the trace ends */

struct object_fate {
    uint64_t end : 40;    /* record that ends it; all ones = never */
    uint64_t shared : 1;  /* more than one thread touches it */
    uint64_t thread : 23; /* that made it */
};

struct fates { /* of a trace with scopes or several threads; empty for others */
    struct object_fate *objects;
    uint64_t object_count, object_room;
    uint64_t *scope_ends; /* record that closes the scope, or FATE_NEVER */
    uint64_t scope_count, scope_room;
};

/* Reads the whole trace once. 0, or -1 with a message. O(records). */
int fates_read(struct fates *fates, struct trace_reader *trace, struct error *err);
void fates_free(struct fates *fates);

/* Every reason for which a trace is refused here names the record and the file's offset. */
int plan_refuse(struct error *err, const struct trace_reader *trace, uint64_t record,
                const char *why);

/* The same where ops were read ahead, so that the reader may stand in a later block: it goes back to
   the record's. */
int plan_refuse_ahead(struct error *err, struct trace_reader *trace, uint64_t record,
                      const char *why);

#endif
