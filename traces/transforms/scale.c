/*
 * scale.c - many copies of a trace at once, as of a program with K times the load: each op comes K
 * times in a row, once for each copy, and copies have threads, objects and scopes of their own.
 *
 * Kept: each copy is the trace, op by op, with its clock and its sites. Changed: K times as much is
 * live, made and freed in lockstep, so that equal objects of all copies are neighbours in time.
 *
 *     alloclab trace scale --by 4 IN -o OUT
 */
#include <stdlib.h>

#include "traces/renumber.h"
#include "traces/transforms/transform.h"

struct scale_options {
    uint64_t by;
};

static const struct option scale_rows[] = {
    OPTION_ROW(struct scale_options, "by", by, COUNT, "2", 1, 10000, NULL, "copies"), {0}};

static int copies_put(const struct transform_job *job, struct renumber *copies, uint64_t count,
                      struct error *err)
{
    struct trace_op op;
    char suffix[32] = "";
    int got;
    while ((got = trace_next(job->in[0], &op, err)) > 0)
        for (uint64_t i = 0; i < count; i++)
            if (renumber_put(&copies[i], &op, err))
                return -1;
    for (uint64_t i = 0; got == 0 && i < count; i++) {
        got = renumber_meta(&copies[i], i ? RENUMBER_NAMES : RENUMBER_ALL, "", suffix, err);
        snprintf(suffix, sizeof suffix, " %llu", (unsigned long long)i + 2);
    }
    return got;
}

static int scale_run(const struct transform_job *job, struct error *err)
{
    const struct scale_options *o = job->options;
    struct renumber *copies = calloc(o->by, sizeof *copies);
    if (!copies)
        return error_set(err, "no memory for %llu copies", (unsigned long long)o->by);
    for (uint64_t i = 0; i < o->by; i++) {
        copies[i].in = job->in[0];
        copies[i].out = job->out;
        copies[i].nameless = i > 0;
    }
    int failed = copies_put(job, copies, o->by, err);
    for (uint64_t i = 0; i < o->by; i++)
        renumber_free(&copies[i]);
    free(copies);
    return failed;
}

TRACE_TRANSFORM(scale) = {
    .name = "scale",
    .summary =
        "several copies at once, interleaved op by op, with threads and objects of their own",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = scale_rows,
    .options_size = sizeof(struct scale_options),
    .run = scale_run,
};
