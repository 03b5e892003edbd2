/*
 * registry.c - finds what is registered by its name. The tables are generated, see registry.h.
 */
#include "harness/registry.h"

#include <string.h>

const struct workload *workload_find(const char *name)
{
    for (size_t i = 0; workloads[i]; i++)
        if (!strcmp(workloads[i]->name, name))
            return workloads[i];
    return NULL;
}

const struct trace_format *trace_format_find(const char *name)
{
    for (size_t i = 0; trace_formats[i]; i++)
        if (!strcmp(trace_formats[i]->name, name))
            return trace_formats[i];
    return NULL;
}
