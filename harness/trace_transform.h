/*
 * trace_transform.h - `alloclab trace cut|merge|..`: the command line of transforms.
 */
#ifndef ALLOCLAB_TRACE_TRANSFORM_H
#define ALLOCLAB_TRACE_TRANSFORM_H

#include "traces/transforms/transform.h"

const struct trace_transform *trace_transform_find(const char *name); /* NULL if there is none */

/* argv[0] is the transform's name. The exit status. */
int trace_transform_main(const struct trace_transform *t, int argc, char **argv);

#endif
