/*
 * workload.c - a workload's trace with the meta data by which it can be generated again.
 */
#include "workloads/lib/workload.h"

#include <inttypes.h>

int workload_meta(const struct workload *workload, const void *options, uint64_t seed,
                  struct trace_writer *out, struct error *err)
{
    char text[512] = "", number[24];
    if (workload->options)
        option_format(workload->options, options, text, sizeof text);
    snprintf(number, sizeof number, "%" PRIu64, seed);
    if (trace_set_meta(out, "workload", workload->name, err) ||
        trace_set_meta(out, "options", text, err) || trace_set_meta(out, "seed", number, err) ||
        trace_set_meta(out, "source", workload->source, err))
        return -1;
    return 0;
}

int workload_write(const struct workload *workload, const void *options, uint64_t seed,
                   struct trace_writer *out, struct error *err)
{
    if (!workload->emit)
        return error_set(err,
                         "%s is played live against each design: it has no trace of its own; use "
                         "`alloclab run` or `alloclab check`",
                         workload->name);
    if (workload_meta(workload, options, seed, out, err))
        return -1;
    return workload->emit(options, seed, out, err);
}
