/*
 * target.h - what is replayed: a recorded trace or a generated workload, by one name, and its
 * plans.
 */
#ifndef ALLOCLAB_TARGET_H
#define ALLOCLAB_TARGET_H

#include "harness/open.h"
#include "harness/plan.h"

struct target {
    char name[256]; /* the trace file's stem, or the workload's spec as given */
    bool scoped;    /* has scopes */
    bool live;      /* a live workload: each design has a trace of its own; this target has none */
    int plans[2]
             [PLAN_VARIANTS]; /* by enum plan_release and flags: descriptors, -1 = not built yet */
    int header;               /* of a streamed one; -1 = not read yet */
    struct trace_reader *trace;
    int trace_fd;
    bool streamed;  /* its plan is a header alone, and cells have the trace decoded beside them */
    bool generated; /* a workload, not a recording */
    struct open_config open; /* of the open pass; the rate is 0 until it is known */
};

/* `text` is a trace's path or a workload's spec; a file of that name comes first. 0, or -1 with a
 * message. */
int target_open(struct target *t, const char *text, uint64_t seed, struct error *err);
/* What a live workload did against one design. The descriptor becomes the target's. */
int target_open_played(struct target *t, const char *name, int trace_fd, struct error *err);
/* The first `ops` calls of a target's trace as a target of its own; what is live then, the epilogue
 * frees. */
int target_open_prefix(struct target *t, const struct target *whole, uint64_t ops,
                       struct error *err);
/* The memory that a plan of the target takes while it is built, about; 0 if it is live. */
uint64_t target_plan_bytes(const struct target *t);
/* The plan with these flags (enum plan_flag), built on first use; -1 with a message. The descriptor
 * stays the target's. */
int target_plan(struct target *t, enum plan_release release, unsigned flags, struct error *err);
void target_close(struct target *t);

#endif
