/*
 * counter_say.c - what a counter's figure is worth, in words: why there is none, or why it is not to
 * be believed, and what to do about it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness/counter_group.h"

/*
 * A counter of the PMU at 0, and the PMU ran: its set's cycles count, or, if the set has none, its
 * time. One that counted when it was tried is believed. But cycles that stand at 0 themselves while
 * their time runs are nobody's 0, and nothing is to be believed that was counted beside them.
 */
static bool stands_still(const struct counter_list *list, const struct counter_count *counts,
                         uint32_t i)
{
    const struct counter_count *cycles = NULL;
    for (uint32_t k = 0; k < list->counters; k++)
        if (list->counter[k].set == list->counter[i].set && list->counter[k].cycles)
            cycles = &counts[k];
    if (counts[i].raw || list->counter[i].software)
        return false;
    if (cycles && cycles->running_ns && !cycles->raw)
        return true;
    return !list->counter[i].answers && (!cycles || !cycles->passes || cycles->raw);
}

enum counter_state counter_judge(const struct counter_list *list,
                                 const struct counter_count *counts, uint32_t i)
{
    const struct counter_count *count = &counts[i];
    if (count->refused)
        return COUNTER_REFUSED;
    if (!count->passes)
        return count->enabled_ns ? COUNTER_UNCOUNTED : COUNTER_UNUSED;
    if (stands_still(list, counts, i))
        return COUNTER_SUSPECT;
    return COUNTER_COUNTED;
}

static void refusal_say(const struct counter *c, int why, const struct counter_place *place,
                        char *text, size_t bytes)
{
    int needed = c->attr.exclude_kernel ? 2 : 1;
    switch (why) {
    case ENOENT:
    case EOPNOTSUPP:
    case ENODEV:
        if (c->software)
            snprintf(text, bytes, "this kernel has no such event");
        else if (place->pmu)
            snprintf(text, bytes, "this PMU has no such event");
        else
            snprintf(text, bytes, "no PMU on this machine");
        break;
    case EACCES:
    case EPERM:
        if (place->paranoid > needed)
            snprintf(text, bytes,
                     "kernel.perf_event_paranoid is %d: run as root, or: sysctl "
                     "kernel.perf_event_paranoid=%d",
                     place->paranoid, needed);
        else
            snprintf(text, bytes,
                     "not allowed here, by a container's rules or the like: run as root outside of "
                     "it");
        break;
    case EMFILE:
    case ENFILE:
        snprintf(text, bytes,
                 "too many open files: raise ulimit -n, or ask for fewer counters or threads");
        break;
    case EINVAL:
    case ENOSPC:
        snprintf(text, bytes, "the kernel cannot count it as it is asked for");
        break;
    case EBUSY:
        snprintf(text, bytes, "somebody else has the PMU for himself");
        break;
    case ENOSYS:
        snprintf(text, bytes, "this kernel has no counters");
        break;
    case ENODATA:
        snprintf(text, bytes, "the kernel gave no count back");
        break;
    default:
        snprintf(text, bytes, "%s", strerror(why));
    }
    const char *name = strerrorname_np(why);
    size_t length = strlen(text);
    snprintf(text + length, bytes - length, " (%s)", name ? name : "?");
}

enum counter_state counter_say(const struct counter_list *list, const struct counter_count *counts,
                               uint32_t i, const struct counter_place *place, char *text,
                               size_t bytes)
{
    enum counter_state state = counter_judge(list, counts, i);
    text[0] = 0;
    switch (state) {
    case COUNTER_REFUSED:
        refusal_say(&list->counter[i], counts[i].refused, place, text, bytes);
        break;
    case COUNTER_UNCOUNTED:
        snprintf(text, bytes,
                 "not counted: the PMU had no room for the group (somebody else counts, or the NMI "
                 "watchdog)");
        break;
    case COUNTER_SUSPECT:
        snprintf(text, bytes,
                 "suspect: it stands at 0 while the PMU runs: this machine may not count it");
        break;
    case COUNTER_UNUSED:
    case COUNTER_COUNTED:
        break;
    }
    return state;
}

/* ---- one line for all ---- */

struct line {
    char *text;
    size_t bytes, used;
};

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
                                                           ...)
{
    va_list args;
    va_start(args, format);
    int added = vsnprintf(line->text + line->used, line->bytes - line->used, format, args);
    va_end(args);
    line->used += added > 0 ? (size_t)added : 0;
    line->used = line->used < line->bytes ? line->used : line->bytes - 1;
}

/* Names the events of the set that lack a figure for this reason: the set's name if that is all of
   it, else their own behind it. */
static void set_add(struct line *line, uint32_t set, const struct counter_list *list,
                    const char (*reason)[256], const char *why, const char *before)
{
    unsigned all = 0, same = 0;
    const char *comma = " (";
    for (uint32_t i = 0; i < list->counters; i++)
        if (list->counter[i].set == set) {
            all++;
            same += !strcmp(reason[i], why);
        }
    if (!same)
        return;
    line_add(line, "%s%s", before, list->set_name[set]);
    for (uint32_t i = 0; i < list->counters && same < all; i++)
        if (list->counter[i].set == set && !strcmp(reason[i], why)) {
            line_add(line, "%s%s", comma, list->counter[i].name);
            comma = ", ";
        }
    line_add(line, "%s", same < all ? ")" : "");
}

void counter_missing(const struct counter_list *list, const struct counter_count *counts,
                     const struct counter_place *place, char *text, size_t bytes)
{
    char reason[COUNTERS_MAX][256];
    struct line line = {.text = text, .bytes = bytes};
    text[0] = 0;
    for (uint32_t i = 0; i < list->counters; i++)
        counter_say(list, counts, i, place, reason[i], sizeof reason[i]);
    for (uint32_t i = 0; i < list->counters; i++) {
        uint32_t k = 0;
        while (k < i && strcmp(reason[k], reason[i]))
            k++;
        if (!reason[i][0] || k < i) /* nothing is wrong, or it was said */
            continue;
        size_t start = line.used;
        line_add(&line, "%s", start ? "; " : "");
        size_t first = line.used;
        for (uint32_t set = 0; set < list->sets; set++)
            set_add(&line, set, list, reason, reason[i], line.used > first ? ", " : "");
        line_add(&line, ": %s", reason[i]);
    }
}
