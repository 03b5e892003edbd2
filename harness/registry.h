/*
 * registry.h - what is registered by being there: the tables that the Makefile generates from the
 * folders.
 */
#ifndef ALLOCLAB_REGISTRY_H
#define ALLOCLAB_REGISTRY_H

#include "api/pool/design_spec.h"
#include "traces/formats/format.h"
#include "workloads/lib/workload.h"

struct command { /* a subcommand: one file in harness/commands, COMMAND(name) = { ... } */
    const char *name, *usage, *summary;
    int hidden; /* internal: not in the help */
    int (*main)(int argc,
                char **argv); /* argv[0] = the subcommand's name; returns the exit status */
};

#define COMMAND(stem) const struct command command_##stem

extern const struct command *const commands[]; /* ended by NULL, in alphabetical order */

/* NULL if there is none; O(n) */
const struct workload *workload_find(const char *name);
const struct trace_format *trace_format_find(const char *name);

#endif
