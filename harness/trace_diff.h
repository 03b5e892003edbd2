/*
 * trace_diff.h - what differs between two traces: allocations, bytes, peak and what is left at the
 * end, in all, by size and by call site.
 */
#ifndef ALLOCLAB_TRACE_DIFF_H
#define ALLOCLAB_TRACE_DIFF_H

#include <stdio.h>

#include "traces/trace.h"

/*
 * Reads both to the end. `top`: rows of each table, those that differ most in bytes first; 0 = all.
 * `csv`: all that is known of each row instead of a table to read. 0, or -1 with a message. Memory:
 * 48 to 96 bytes an object that is live at a time, and about 200 for each size and each site.
 */
int trace_diff_print(FILE *stream, struct trace_reader *const traces[2], uint64_t top, bool csv,
                     struct error *err);

#endif
