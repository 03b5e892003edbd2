/*
 * counter_probe.h - tries counters on this machine, on work of which every one of them has its
 * share: which can be had, and which count at all.
 */
#ifndef ALLOCLAB_COUNTER_PROBE_H
#define ALLOCLAB_COUNTER_PROBE_H

#include "harness/counter_group.h"

/* Opens, counts a small piece of work (some 10 ms), closes. Fills `counts`, `place`, and each
 * counter's `answers`. */
void counter_probe(struct counter_list *list, const struct perf_door *door,
                   struct counter_count *counts, struct counter_place *place);

#endif
