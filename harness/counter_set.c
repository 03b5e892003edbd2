/*
 * counter_set.c - the named sets, and libpfm4's part: from names to what the kernel takes.
 *
 * Hardware events count what the program does in user mode (exclude_kernel), and so do page faults.
 * Switches and migrations happen in the kernel only: with exclude_kernel they would read 0.
 *
 * The kernel's clocks are counted alone: as members of another's group they stand still from the
 * second time on that it is enabled (seen on Linux 6.18).
 */
#include "harness/counter_set.h"

#include <perfmon/pfmlib_perf_event.h>
#include <string.h>

#include "harness/metrics.h"

static const char *const core_events[] = {"cycles", "instructions", "branches", "branch-misses",
                                          NULL};
static const char *const cache_events[] = {"cycles",    "L1-dcache-loads", "L1-dcache-load-misses",
                                           "LLC-loads", "LLC-load-misses", NULL};
static const char *const tlb_events[] = {"cycles",      "dTLB-loads",        "dTLB-load-misses",
                                         "dTLB-stores", "dTLB-store-misses", "iTLB-load-misses",
                                         NULL};
static const char *const software_events[] = {"page-faults",
                                              "minor-faults",
                                              "major-faults",
                                              "context-switches",
                                              "cpu-migrations",
                                              "task-clock",
                                              NULL};

const struct counter_set counter_sets[] = {
    {"core", "instructions, and what they took", core_events},
    {"cache", "the first and the last level of data cache", cache_events},
    {"tlb", "translations of addresses, and those that were not at hand", tlb_events},
    {"software", "what the kernel counts itself, on any machine", software_events},
    {NULL, NULL, NULL}};

/* The events that have a column in results.csv. */
static const struct {
    const char *event;
    int column, cold_column;
} columns[] = {
    {"cycles", METRIC_pmu_cycles_per_op, COUNTER_NO_COLUMN},
    {"instructions", METRIC_pmu_instructions_per_op, COUNTER_NO_COLUMN},
    {"branch-misses", METRIC_pmu_branch_misses_per_op, COUNTER_NO_COLUMN},
    {"L1-dcache-load-misses", METRIC_pmu_l1d_load_misses_per_op, COUNTER_NO_COLUMN},
    {"LLC-load-misses", METRIC_pmu_llc_load_misses_per_op, COUNTER_NO_COLUMN},
    {"dTLB-load-misses", METRIC_pmu_dtlb_load_misses_per_op, COUNTER_NO_COLUMN},
    {"dTLB-store-misses", METRIC_pmu_dtlb_store_misses_per_op, COUNTER_NO_COLUMN},
    {"iTLB-load-misses", METRIC_pmu_itlb_load_misses_per_op, COUNTER_NO_COLUMN},
    {"page-faults", METRIC_software_page_faults_per_op, METRIC_software_cold_page_faults_per_op},
    {"context-switches", METRIC_software_context_switches_per_op, COUNTER_NO_COLUMN}};

static bool kernel_only(const struct perf_event_attr *attr)
{
    return attr->type == PERF_TYPE_SOFTWARE && (attr->config == PERF_COUNT_SW_CONTEXT_SWITCHES ||
                                                attr->config == PERF_COUNT_SW_CPU_MIGRATIONS);
}

static bool kernel_clock(const struct perf_event_attr *attr)
{
    return attr->type == PERF_TYPE_SOFTWARE &&
           (attr->config == PERF_COUNT_SW_CPU_CLOCK || attr->config == PERF_COUNT_SW_TASK_CLOCK);
}

static void column_find(struct counter *c)
{
    c->column = c->cold_column = COUNTER_NO_COLUMN;
    for (unsigned i = 0; i < sizeof columns / sizeof *columns; i++)
        if (!strcmp(columns[i].event, c->name)) {
            c->column = columns[i].column;
            c->cold_column = columns[i].cold_column;
        }
}

static int counter_encode(struct counter *c, struct error *err)
{
    pfm_perf_encode_arg_t argument = {.attr = &c->attr, .size = sizeof argument};
    int why = pfm_get_os_event_encoding(c->name, PFM_PLM3, PFM_OS_PERF_EVENT_EXT, &argument);
    if (why != PFM_SUCCESS)
        return error_set(
            err,
            "--counters: '%s': neither a set nor an event: libpfm4 says: %s; `alloclab "
            "list counters` has the sets and their events",
            c->name, pfm_strerror(why));
    c->attr.size = sizeof c->attr;
    c->attr.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_ID | PERF_FORMAT_TOTAL_TIME_ENABLED |
                          PERF_FORMAT_TOTAL_TIME_RUNNING;
    c->software = c->attr.type == PERF_TYPE_SOFTWARE;
    c->cycles = c->attr.type == PERF_TYPE_HARDWARE && c->attr.config == PERF_COUNT_HW_CPU_CYCLES;
    c->alone = kernel_clock(&c->attr);
    if (kernel_only(&c->attr))
        c->attr.exclude_kernel = 0;
    return 0;
}

static int counter_add(struct counter_list *list, const char *name, struct error *err)
{
    struct counter *c = &list->counter[list->counters];
    if (list->counters == COUNTERS_MAX)
        return error_set(err, "--counters: more than %d events in all", COUNTERS_MAX);
    if (strlen(name) >= sizeof c->name)
        return error_set(err, "--counters: '%s': a name has at most %zu bytes", name,
                         sizeof c->name - 1);
    *c = (struct counter){.set = list->sets};
    strcpy(c->name, name);
    if (counter_encode(c, err))
        return -1;
    column_find(c);
    list->counters++;
    return 0;
}

/* Cycles come first in a set of events that somebody named without them. */
static int cycles_add(struct counter_list *list, uint32_t first, struct error *err)
{
    bool hardware = false;
    for (uint32_t i = first; i < list->counters; i++) {
        if (list->counter[i].cycles)
            return 0;
        hardware |= !list->counter[i].software;
    }
    if (!hardware)
        return 0;
    if (counter_add(list, "cycles", err))
        return -1;
    struct counter cycles = list->counter[list->counters - 1];
    memmove(&list->counter[first + 1], &list->counter[first],
            (list->counters - 1 - first) * sizeof cycles);
    list->counter[first] = cycles;
    return 0;
}

static int events_add(struct counter_list *list, char *text, struct error *err)
{
    char *rest;
    uint32_t first = list->counters;
    for (char *name = strtok_r(text, "+", &rest); name; name = strtok_r(NULL, "+", &rest)) {
        for (uint32_t i = first; i < list->counters; i++)
            if (!strcmp(list->counter[i].name, name))
                return error_set(err, "--counters: '%s' is there twice", name);
        if (counter_add(list, name, err))
            return -1;
    }
    if (list->counters == first)
        return error_set(err, "--counters: '+': name the events to join");
    return cycles_add(list, first, err);
}

static int set_add(struct counter_list *list, const char *name, struct error *err)
{
    const struct counter_set *set = counter_sets;
    char events[sizeof list->set_name[0]];
    if (list->sets == COUNTER_SETS_MAX)
        return error_set(err, "--counters: more than %d sets", COUNTER_SETS_MAX);
    if (strlen(name) >= sizeof events)
        return error_set(err, "--counters: '%s': a set's name has at most %zu bytes", name,
                         sizeof events - 1);
    for (uint32_t i = 0; i < list->sets; i++)
        if (!strcmp(list->set_name[i], name))
            return error_set(err, "--counters: '%s' is there twice", name);
    strcpy(list->set_name[list->sets], name);
    while (set->name && strcmp(set->name, name))
        set++;
    strcpy(events, name);
    if (!set->name && events_add(list, events, err))
        return -1;
    for (const char *const *event = set->events; event && *event; event++)
        if (counter_add(list, *event, err))
            return -1;
    list->sets++;
    return 0;
}

int counter_list_parse(const char *text, struct counter_list *list, struct error *err)
{
    char copy[1024], *rest;
    int why = pfm_initialize();
    memset(list, 0, sizeof *list);
    if (why != PFM_SUCCESS)
        return error_set(err, "--counters: libpfm4 cannot start: %s", pfm_strerror(why));
    if (strlen(text) >= sizeof copy)
        return error_set(err, "--counters: the list has %zu bytes; at most %zu fit", strlen(text),
                         sizeof copy - 1);
    strcpy(copy, text);
    for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
        if (set_add(list, name, err))
            return -1;
    return list->sets ? 0
                      : error_set(err, "--counters: name at least one set (core, cache, tlb, "
                                       "software) or event");
}
