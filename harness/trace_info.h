/*
 * trace_info.h - prints what a trace is, one "key value" a line.
 */
#ifndef ALLOCLAB_TRACE_INFO_H
#define ALLOCLAB_TRACE_INFO_H

#include <stdio.h>

#include "traces/trace.h"

/* 0, or -1: only a torn trace is read through, for its totals, and that may find damage. */
int trace_info_print(FILE *stream, struct trace_reader *r, struct error *err);

#endif
