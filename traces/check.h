/*
 * check.h - is this file a valid trace, from its first byte to its last?
 */
#ifndef ALLOCLAB_CHECK_H
#define ALLOCLAB_CHECK_H

#include "traces/trace.h"

/*
 * Reads the table of sites and all ops from the beginning, holds them against the rules (rules.h), and what they add up to
 * against the index, unless the trace is torn. *totals is what was counted. 0, or -1 with file,
 * offset and what is wrong. Memory: what rules.h says, and the table of sites; O(1) an op.
 */
int trace_check(struct trace_reader *r, struct trace_totals *totals, struct error *err);

#endif
