/*
 * transform.h - makes a trace out of others: one file a transform, registered by being in this
 * folder and ending with TRACE_TRANSFORM(name) = { ... }. `alloclab list transforms` prints the
 * table, `alloclab describe NAME` the header comment.
 *
 * What comes out is held against the rules by the writer, op by op. The meta data says what was
 * done: the command adds it to the key `transform`.
 */
#ifndef ALLOCLAB_TRANSFORM_H
#define ALLOCLAB_TRANSFORM_H

#include <stdio.h>

#include "allocators/lib/option.h"
#include "traces/trace.h"

struct transform_job {
    struct trace_reader **in;
    unsigned count;
    const void *options; /* of the transform's rows */
    struct trace_writer *out;
    FILE *report; /* what it has to say, a "key value" a line */
};

struct trace_transform {
    const char *name, *summary;
    unsigned least_inputs, most_inputs;
    bool discloses; /* say of the result what it still discloses, and nothing of the input's past */
    const struct option *options;
    size_t options_size;
    /* Puts ops and meta pairs; 0, or -1. */
    int (*run)(const struct transform_job *job, struct error *err);
};

#define TRACE_TRANSFORM(stem) const struct trace_transform trace_transform_##stem

extern const struct trace_transform *const trace_transforms[]; /* generated; ended by NULL */

/* Reads "A:B", whole numbers with A < B; A absent: 0; B absent: no end. `owner` for messages. */
int transform_range(const char *owner, const char *name, const char *text, uint64_t *from,
                    uint64_t *to, struct error *err);

/* One bit in 64 is as likely as another: XXH64 of the number and the seed. */
uint64_t transform_hash(uint64_t number, uint64_t seed);

void transform_say(const struct transform_job *job, const char *key, uint64_t value);

#endif
