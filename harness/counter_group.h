/*
 * counter_group.h - the counters of one thread: opened in groups, of which one at a time counts,
 * and what came of them.
 *
 * A group is what a PMU counts at the same time: its events share their time, so that their ratios
 * are true. The events of a set are one group, or, where the kernel says that the PMU cannot count
 * them all at once, as few as it takes. Which counters could not be opened, and why, is kept with
 * each, and does not disturb the others. Nothing here allocates.
 */
#ifndef ALLOCLAB_COUNTER_GROUP_H
#define ALLOCLAB_COUNTER_GROUP_H

#include <stddef.h>

#include "harness/counter_set.h"
#include "harness/perf_door.h"

struct counter_count { /* of one counter; lies in the outcome */
    double value;      /* sum over the passes that were counted, scaled to their whole time */
    uint64_t raw;      /* the same as it was read */
    uint64_t enabled_ns, running_ns; /* of all passes: asked to count, did count */
    uint32_t passes;                 /* counted at least in part */
    int32_t refused;                 /* errno of what failed; 0 = nothing */
};

/* `uncounted`: it was open, but the PMU never had room for it. `suspect`: it stood at 0 while the
   PMU ran, and stood so when it was tried, too. */
enum counter_state {
    COUNTER_UNUSED,
    COUNTER_REFUSED,
    COUNTER_UNCOUNTED,
    COUNTER_SUSPECT,
    COUNTER_COUNTED
};

struct counter_thread {
    const struct perf_door *door;
    const struct counter_list *list;
    unsigned groups;
    struct {
        int leader; /* fd */
        uint32_t set;
        bool software, alone;
        uint64_t enabled_ns, running_ns; /* as last read */
    } group[COUNTERS_MAX];
    struct {
        int fd; /* -1 = it could not be opened */
        int refused;
        unsigned group;
        uint64_t id, raw; /* raw as last read */
    } counter[COUNTERS_MAX];
};

/* Opens all that can be opened, for the thread (0 = the caller), not counting yet. */
void counter_thread_open(struct counter_thread *t, const struct perf_door *door,
                         const struct counter_list *list, pid_t thread);
void counter_thread_close(struct counter_thread *t);

/* One group counts from start to stop; stop adds what its counters found to those of `counts`, which
 * has a place for each of the list. What cannot be read is said there. */
void counter_start(struct counter_thread *t, unsigned group);
void counter_stop(struct counter_thread *t, unsigned group, struct counter_count *counts);
/* Says in `counts` which could not be opened. */
void counter_refusals(const struct counter_thread *t, struct counter_count *counts);

/* Of several threads' counts what they counted together, as one pass: where one has no count, there
 * is no sum. */
void counter_sum(const struct counter_list *list,
                 const struct counter_count (*counts)[COUNTERS_MAX], unsigned threads,
                 struct counter_count *sum);

/* What a count is, among the counts of the same list. */
enum counter_state counter_judge(const struct counter_list *list,
                                 const struct counter_count *counts, uint32_t counter);

/* What the machine is like, as far as a reason depends on it. */
struct counter_place {
    int paranoid;
    bool pmu; /* some hardware event counts */
};

/* Why there is no figure, or what is wrong with it; "" if nothing is. Returns the state. */
enum counter_state counter_say(const struct counter_list *list, const struct counter_count *counts,
                               uint32_t counter, const struct counter_place *place, char *text,
                               size_t bytes);

/* One line for all that have no figure, by reason: "core, cache: no PMU ..; tlb (..): .."; "" if all
 * have one. A set of which no event has one is named by its name alone. */
void counter_missing(const struct counter_list *list, const struct counter_count *counts,
                     const struct counter_place *place, char *text, size_t bytes);

#endif
