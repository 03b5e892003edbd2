/*
 * trace_maker.h - random valid traces for tests: a list of ops, the same for the same seed, with
 * every kind, flag and oddity that the rules allow.
 */
#ifndef ALLOCLAB_TEST_TRACE_MAKER_H
#define ALLOCLAB_TEST_TRACE_MAKER_H

#include <stddef.h>
#include <stdint.h>

#include "traces/trace.h"

enum maker_feature {
    MAKER_CLOCK = 1,
    MAKER_SITES = 2,
    MAKER_SCOPES = 4,
    MAKER_THREADS = 8,
    MAKER_RARE = 16, /* failed calls, NULLs, alignments, huge sizes, sized frees, live objects */
    MAKER_ALL = 31
};

/* `count` ops for free(). */
struct trace_op *trace_maker_ops(uint64_t seed, size_t count, unsigned features);

/* Writes them, with two meta pairs, into a new memfd. Failures are failed assertions. */
int trace_maker_file(const struct trace_op *ops, size_t count);

#endif
