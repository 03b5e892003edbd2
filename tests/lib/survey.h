/*
 * survey.h - generates a workload's trace into a memory file, reads it back, and says what it
 * turned out to be: what the tests hold against the promises of its header comment. Failures are
 * failed assertions.
 */
#ifndef ALLOCLAB_TEST_SURVEY_H
#define ALLOCLAB_TEST_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/trace.h"

#define SURVEY_SEED 42

struct survey {
    struct trace_totals totals;
    uint64_t open_scopes, most_open_scopes;
    uint64_t crossed_threads; /* frees by another thread than the allocating one */
    uint64_t crossed_ends;    /* frees of objects whose allocating thread had ended */
    uint64_t crossed_scopes;  /* objects freed when the scope of their allocation had ended */
    uint64_t scopes_between;  /* for these, scopes begun between alloc and free, in all */
    uint64_t smallest, largest;
    uint64_t live, least_live, most_live; /* counted once `settle` objects have been live */
    bool settled;
    uint64_t digest; /* of all fields of all ops */
    char name[64], options[512], seed[32], thread_1[64];
};

/* Generates the spec NAME:opt=v,.. into a memory file; -1 and the message, or the file. */
int survey_generate(const char *text, uint64_t seed, struct error *err);
int survey_must_generate(const char *text, uint64_t seed);
uint64_t survey_file_hash(int fd);

/* Reads the trace from its beginning; `settle`: from how many live objects on their number counts.
 */
struct survey survey_file(int fd, uint64_t settle);

/* The survey of a spec, generated with SURVEY_SEED. */
struct survey survey_of(const char *text, uint64_t settle);

/* All ops of a spec, generated with SURVEY_SEED, for free(). */
struct trace_op *survey_ops(const char *text, size_t *n);

#endif
