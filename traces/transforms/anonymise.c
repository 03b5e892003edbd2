/*
 * anonymise.c - a trace that says less of the program and of who ran it, to be given away. All meta
 * data is left out, the names of program, command and threads and the transforms of before with it, but
 * for the counts that say whether the recording is whole. Sites are numbered anew, by first appearance, or left out, and what
 * they stand for, modules and names, is left out in any case; the clock is rounded down, or left out.
 *
 * Kept: every op, with its sizes, order, threads and scopes; who knows the program may still know it
 * by them. The command prints what is left.
 *
 *     alloclab trace anonymise --clock 1000000 --sites no IN -o OUT
 */
#include <string.h>

#include "traces/renumber.h"
#include "traces/transforms/transform.h"

struct anonymise_options {
    uint64_t clock;
    unsigned sites;
};

static const struct option anonymise_rows[] = {
    OPTION_ROW(struct anonymise_options, "clock", clock, COUNT, "1", 0, 1e18, NULL,
               "ns that the clock is rounded down to; 0: no clock"),
    OPTION_ROW(struct anonymise_options, "sites", sites, BOOL, "yes", 0, 0, NULL,
               "keep sites, as numbers"),
    {0}};

static const char *const harmless[] = {"lost_ops",
                                       "unfilled_ops",
                                       "inversions",
                                       "inversions_repaired",
                                       "unreturned_calls",
                                       "unnamed_threads",
                                       "unknown_frees",
                                       "unknown_reallocs",
                                       NULL};

static bool counts_only(const char *value)
{
    return *value && strspn(value, "0123456789") == strlen(value);
}

static int meta_keep(const struct transform_job *job, struct error *err)
{
    for (unsigned i = 0; harmless[i]; i++) {
        const char *value = trace_meta(job->in[0], harmless[i]);
        if (value && counts_only(value) && trace_set_meta(job->out, harmless[i], value, err))
            return -1;
    }
    return 0;
}

static int ops_put(struct renumber *n, const struct transform_job *job, struct error *err)
{
    const struct anonymise_options *o = job->options;
    struct trace_op op;
    int got;
    while ((got = trace_next(job->in[0], &op, err)) > 0) {
        op.clock_ns = o->clock ? op.clock_ns / o->clock * o->clock : 0;
        op.site = o->sites ? op.site : 0;
        if (renumber_put(n, &op, err))
            return -1;
    }
    return got ? -1 : meta_keep(job, err);
}

static int anonymise_run(const struct transform_job *job, struct error *err)
{
    uint64_t next_site = 1;
    struct renumber n = {
        .in = job->in[0], .out = job->out, .next_site = &next_site, .nameless = true};
    int failed = ops_put(&n, job, err);
    renumber_free(&n);
    return failed;
}

TRACE_TRANSFORM(anonymise) = {
    .name = "anonymise",
    .summary = "without names; sites as numbers or not at all, the clock coarser or not at all",
    .least_inputs = 1,
    .most_inputs = 1,
    .discloses = true,
    .options = anonymise_rows,
    .options_size = sizeof(struct anonymise_options),
    .run = anonymise_run,
};
