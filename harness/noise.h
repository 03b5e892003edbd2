/*
 * noise.h - what else ran while a cell was timed: how often the kernel took the CPU away from it,
 * and which share of the machine's CPU time the hypervisor gave to other guests.
 */
#ifndef ALLOCLAB_NOISE_H
#define ALLOCLAB_NOISE_H

#include "harness/outcome.h"

/* A cell is called disturbed from so many involuntary switches a second on, each of which may let
 * another program have the CPU for milliseconds, or from this share of stolen time on. */
#define NOISE_SWITCHES_PER_S 10
#define NOISE_STEAL_RATIO    0.01

struct noise {
    uint64_t start_ns, switches;
    uint64_t steal, total; /* of /proc/stat: ticks of all CPUs; no total: it does not tell */
};

struct noise noise_begin(void);
/* Sets the metrics of noise from `begin` to now. */
void noise_report(const struct noise *begin, struct outcome *o);

/* By a row's metrics: was its cell disturbed? Threads of a parallel replay take CPUs from each
 * other, so there (`copies`) only stolen time counts. */
bool noise_disturbed(const double *value, const bool *known, unsigned copies);

#endif
