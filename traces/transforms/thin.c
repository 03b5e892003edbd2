/*
 * thin.c - a trace of one object in N: a hash of its number and the seed says whether it stays, and
 * all of its ops stay with it, or none. Calls without an object (failed ones, free(NULL)) stay by a
 * hash of their place. Threads and scopes stay as they are.
 *
 * Kept: the sizes, lifetimes in time, sites and threads of what is left, a fair sample of all;
 * lifetimes in ops and bytes shrink by N. Lost: which objects were neighbours.
 *
 *     alloclab trace thin --one-in 10 IN -o OUT
 */
#include "traces/renumber.h"
#include "traces/transforms/transform.h"

struct thin_options {
    uint64_t one_in, seed;
};

static const struct option thin_rows[] = {
    OPTION_ROW(struct thin_options, "one-in", one_in, COUNT, "10", 1, 1e12, NULL,
               "one object in so many stays"),
    OPTION_ROW(struct thin_options, "seed", seed, COUNT, "1", 0, 0, NULL, "of the hash"),
    {0}};

static int ops_thin(struct renumber *n, const struct transform_job *job, struct error *err)
{
    const struct thin_options *o = job->options;
    struct trace_op op;
    int got;
    for (uint64_t at = 0; (got = trace_next(job->in[0], &op, err)) > 0; at++) {
        bool lone = trace_is_call(op.kind) && op.object == TRACE_NO_OBJECT;
        bool chosen = trace_makes_object(&op) || lone;
        uint64_t number = lone ? ~at : op.object;
        if (chosen && transform_hash(number, o->seed) % o->one_in) {
            if (renumber_leave(n, &op, err))
                return -1;
        } else if (renumber_put(n, &op, err)) {
            return -1;
        }
    }
    return got ? -1 : renumber_meta(n, RENUMBER_ALL, "", "", err);
}

static int thin_run(const struct transform_job *job, struct error *err)
{
    struct renumber n = {.in = job->in[0], .out = job->out};
    int failed = ops_thin(&n, job, err);
    renumber_free(&n);
    return failed;
}

TRACE_TRANSFORM(thin) = {
    .name = "thin",
    .summary = "one object in N, by hash, with all its ops",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = thin_rows,
    .options_size = sizeof(struct thin_options),
    .run = thin_run,
};
