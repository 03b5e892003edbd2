/*
 * trace_info.h - prints what a trace is, one "key value" a line.
 */
#ifndef ALLOCLAB_TRACE_INFO_H
#define ALLOCLAB_TRACE_INFO_H

#include <stdio.h>

#include "traces/trace.h"

struct trace_info {
    bool brief;      /* only what the index says: no op is read, unless the file is torn */
    const char *csv; /* a folder for the tables; NULL: none */
};

/* 0, or -1: the trace is damaged, or the tables cannot be written. */
int trace_info_print(FILE *stream, struct trace_reader *r, const struct trace_info *what,
                     struct error *err);

/* What the file tells whoever gets it. */
void trace_disclosure_print(FILE *stream, struct trace_reader *r);

#endif
