/*
 * live.h - a live workload's game against one design, as a trace. Played in a cell of its own, on
 * an observing door: addresses repeat there from run to run, so a replay of the trace on the same
 * design meets the same addresses.
 */
#ifndef ALLOCLAB_LIVE_H
#define ALLOCLAB_LIVE_H

#include "harness/pass.h"

/* Plays the workload `text` against the cell's design and writes the trace to trace_fd; the outcome
 * says how it went. */
void live_play(const struct cell_setup *setup, const char *text, int trace_fd);

#endif
