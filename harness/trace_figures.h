/*
 * trace_figures.h - the figures of a trace, one list for the text of `trace info` and for its
 * summary.csv; and its tables as CSV files.
 */
#ifndef ALLOCLAB_TRACE_FIGURES_H
#define ALLOCLAB_TRACE_FIGURES_H

#include "harness/trace_profile.h"

/* `value`: a number; "" if there is nothing to say it of. */
typedef void trace_figure_fn(void *arg, const char *key, const char *value);

void trace_totals_each(const struct trace_totals *t, trace_figure_fn *say, void *arg);
void trace_profile_each(const struct trace_profile *p, trace_figure_fn *say, void *arg);

/* The places of the `most` greatest of `count` numbers, greatest first, and how many they are. A
 * number of 0 is not taken. */
unsigned trace_top(uint64_t (*number)(const void *arg, uint64_t place), const void *arg,
                   uint64_t count, unsigned most, uint64_t *places);

/* Writes all CSV files into the folder, which is made if it is not there. 0 or -1. */
int trace_csv_write(const char *folder, struct trace_reader *r, const struct trace_totals *totals,
                    const struct trace_profile *p, struct error *err);

#endif
