/*
 * counter_group.c - groups of counters of one thread: opening, reading, scaling. See
 * counter_group.h; the words for what went wrong are in counter_say.c.
 *
 * Counters are never set back: values and times are read as they stand and the last reading is
 * taken off, since the kernel has no call that sets the times back. The kernel says by an id whose
 * value it is; the order of values in a reply is not relied on.
 */
#include "harness/counter_group.h"

#include <errno.h>
#include <string.h>

#define GROUP_FLAG ((void *)(unsigned long)PERF_IOC_FLAG_GROUP)

/* ---- open ---- */

static int fd_open(struct counter_thread *t, uint32_t i, pid_t thread, int leader)
{
    struct perf_event_attr attr = t->list->counter[i].attr;
    attr.disabled = leader < 0; /* the others count when their leader does */
    int fd = t->door->open(t->door->ctx, &attr, thread, leader);
    if (fd < 0)
        return fd;
    int why = t->door->control(t->door->ctx, fd, PERF_EVENT_IOC_ID, &t->counter[i].id);
    if (!why)
        return fd;
    t->door->close(t->door->ctx, fd);
    return why;
}

/* A group that is full is refused so, and by some drivers so. */
static bool group_full(int why)
{
    return why == -EINVAL || why == -ENOSPC;
}

/* The last group may have it: it is of its set, and neither is counted alone. Software events never
 * share a group with those of the PMU: those take turns, and they need not. */
static bool group_joins(const struct counter_thread *t, const struct counter *c)
{
    unsigned last = t->groups - 1;
    return t->groups && t->group[last].set == c->set && t->group[last].software == c->software &&
           !t->group[last].alone && !c->alone;
}

/* In the last group, or, if it may not or there is no room, as the first of a new one. */
static void counter_open(struct counter_thread *t, uint32_t i, pid_t thread)
{
    const struct counter *c = &t->list->counter[i];
    int fd = -EINVAL;
    if (group_joins(t, c))
        fd = fd_open(t, i, thread, t->group[t->groups - 1].leader);
    if (group_full(fd)) {
        fd = fd_open(t, i, thread, -1);
        if (fd >= 0) {
            t->group[t->groups].leader = fd;
            t->group[t->groups].set = c->set;
            t->group[t->groups].software = c->software;
            t->group[t->groups].alone = c->alone;
            t->groups++;
        }
    }
    t->counter[i].fd = fd < 0 ? -1 : fd;
    t->counter[i].refused = fd < 0 ? -fd : 0;
    t->counter[i].group = t->groups - (fd >= 0);
}

void counter_thread_open(struct counter_thread *t, const struct perf_door *door,
                         const struct counter_list *list, pid_t thread)
{
    memset(t, 0, sizeof *t);
    t->door = door;
    t->list = list;
    for (uint32_t i = 0; i < list->counters; i++)
        counter_open(t, i, thread);
}

void counter_thread_close(struct counter_thread *t)
{
    for (uint32_t i = 0; i < t->list->counters; i++)
        if (t->counter[i].fd >= 0)
            t->door->close(t->door->ctx, t->counter[i].fd);
    t->groups = 0;
}

void counter_refusals(const struct counter_thread *t, struct counter_count *counts)
{
    for (uint32_t i = 0; i < t->list->counters; i++)
        counts[i].refused = t->counter[i].refused;
}

/* ---- count ---- */

void counter_start(struct counter_thread *t, unsigned group)
{
    /* What fails here shows at the reading: no time was enabled. */
    t->door->control(t->door->ctx, t->group[group].leader, PERF_EVENT_IOC_ENABLE, GROUP_FLAG);
}

struct group_reply { /* PERF_FORMAT_GROUP, _ID, _TOTAL_TIME_ENABLED, _TOTAL_TIME_RUNNING */
    uint64_t events, enabled_ns, running_ns;
    struct {
        uint64_t raw, id;
    } value[COUNTERS_MAX];
};

static void count_add(struct counter_count *count, uint64_t raw, uint64_t enabled_ns,
                      uint64_t running_ns)
{
    count->enabled_ns += enabled_ns;
    count->running_ns += running_ns;
    if (!running_ns)
        return;
    count->passes++;
    count->raw += raw;
    count->value += (double)raw * ((double)enabled_ns / (double)running_ns);
}

static void value_take(struct counter_thread *t, unsigned group, const struct group_reply *reply,
                       uint32_t i, struct counter_count *count)
{
    uint64_t k = 0;
    while (k < reply->events && reply->value[k].id != t->counter[i].id)
        k++;
    if (k == reply->events) {
        count->refused = ENODATA;
        return;
    }
    count_add(count, reply->value[k].raw - t->counter[i].raw,
              reply->enabled_ns - t->group[group].enabled_ns,
              reply->running_ns - t->group[group].running_ns);
    t->counter[i].raw = reply->value[k].raw;
}

void counter_stop(struct counter_thread *t, unsigned group, struct counter_count *counts)
{
    struct group_reply reply = {.events = 0};
    int leader = t->group[group].leader;
    t->door->control(t->door->ctx, leader, PERF_EVENT_IOC_DISABLE, GROUP_FLAG);
    ssize_t got = t->door->read(t->door->ctx, leader, &reply, sizeof reply);
    size_t whole = offsetof(struct group_reply, value) + reply.events * sizeof *reply.value;
    bool good = got > 0 && reply.events <= COUNTERS_MAX && (size_t)got == whole;
    for (uint32_t i = 0; i < t->list->counters; i++) {
        if (t->counter[i].fd < 0 || t->counter[i].group != group)
            continue;
        if (good)
            value_take(t, group, &reply, i, &counts[i]);
        else
            counts[i].refused = got < 0 ? (int)-got : ENODATA;
    }
    if (good) {
        t->group[group].enabled_ns = reply.enabled_ns;
        t->group[group].running_ns = reply.running_ns;
    }
}

/* ---- all threads ---- */

static void sum_one(const struct counter_count (*counts)[COUNTERS_MAX], unsigned threads,
                    uint32_t counter, struct counter_count *sum)
{
    *sum = (struct counter_count){.passes = 1};
    for (unsigned thread = 0; thread < threads; thread++) {
        const struct counter_count *count = &counts[thread][counter];
        sum->enabled_ns += count->enabled_ns;
        sum->running_ns += count->running_ns;
        sum->raw += count->raw;
        sum->refused = sum->refused ? sum->refused : count->refused;
        if (count->passes)
            sum->value += count->value / count->passes;
        else
            sum->passes = 0;
    }
}

void counter_sum(const struct counter_list *list,
                 const struct counter_count (*counts)[COUNTERS_MAX], unsigned threads,
                 struct counter_count *sum)
{
    for (uint32_t i = 0; i < list->counters; i++)
        sum_one(counts, threads, i, &sum[i]);
}
