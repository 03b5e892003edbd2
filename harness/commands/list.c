/*
 * list.c - `alloclab list`: what is registered, by kind. It prints the tables that the rest of the
 * program uses, so it cannot be out of date.
 */
#include <stdio.h>
#include <string.h>

#include "harness/counter_probe.h"
#include "harness/metrics.h"
#include "harness/preload.h"
#include "harness/registry.h"
#include "harness/spec.h"
#include "traces/transforms/transform.h"

#define USAGE "list [allocators|rivals|workloads|metrics|formats|transforms|counters]"

static void row_print(const char *name, const char *summary)
{
    printf("  %-12s %s\n", name, summary);
}

static void list_allocators(void)
{
    for (size_t i = 0; allocators[i]; i++)
        row_print(allocators[i]->name, allocators[i]->summary);
}

static void list_workloads(void)
{
    for (size_t i = 0; workloads[i]; i++)
        row_print(workloads[i]->name, workloads[i]->summary);
}

static void list_rivals(void)
{
    for (const struct rival *r = rivals; r->name; r++) {
        struct preload library;
        struct error err;
        char text[PATH_MAX + 32];
        bool there = rival_find(r->name, &library, &err) > 0;
        snprintf(text, sizeof text, "%s%s", there ? library.path : "not installed: package ",
                 there ? "" : r->package);
        row_print(r->name, text);
    }
}

static void list_metrics(void)
{
    for (const struct metric_row *m = metric_rows; m->name; m++) {
        printf("  %-32s %-6s %-7s %-7s", m->name, m->unit, m->better, m->how);
        printf(" %s\n", m->definition);
    }
}

static void list_formats(void)
{
    for (size_t i = 0; trace_formats[i]; i++) {
        const struct trace_format *f = trace_formats[i];
        const char *ways = f->import && f->export ? "read, write" : f->import ? "read" : "write";
        printf("  %-12s %s (%s)\n", f->name, f->summary, ways);
    }
}

static void list_transforms(void)
{
    for (size_t i = 0; trace_transforms[i]; i++)
        row_print(trace_transforms[i]->name, trace_transforms[i]->summary);
}

/* Each event of each set, tried here. */
static void list_counters(void)
{
    static struct counter_list list;
    struct counter_count counts[COUNTERS_MAX];
    struct counter_place place;
    struct error err;
    for (const struct counter_set *set = counter_sets; set->name; set++) {
        row_print(set->name, set->summary);
        if (counter_list_parse(set->name, &list, &err)) {
            printf("    %s\n", err.text);
            continue;
        }
        counter_probe(&list, &perf_door_kernel, counts, &place);
        for (uint32_t i = 0; i < list.counters; i++) {
            char why[256];
            counter_say(&list, counts, i, &place, why, sizeof why);
            printf("    %-22s %s\n", list.counter[i].name, why[0] ? why : "counts");
        }
    }
}

static const struct {
    const char *name, *heading;
    void (*print)(void);
} lists[] = {
    {"allocators", "Allocators", list_allocators},
    {"rivals", "Rivals: other people's allocators, and where their libraries are", list_rivals},
    {"workloads", "Workloads", list_workloads},
    {"metrics", "Metrics: name, unit, which is better, how it is found, definition", list_metrics},
    {"formats", "Forms of a trace, besides alloclab's own", list_formats},
    {"transforms", "What makes a trace out of others (alloclab trace NAME)", list_transforms},
    {"counters",
     "Counters, by set (run --counters), and whether they count here; besides them any event that "
     "libpfm4 knows",
     list_counters},
};

enum { LISTS = sizeof lists / sizeof *lists };

static int unknown_list(const char *name)
{
    const char *names[LISTS + 1] = {0};
    for (int i = 0; i < LISTS; i++)
        names[i] = lists[i].name;
    struct error err;
    spec_unknown("list", name, names, &err);
    fprintf(stderr, "alloclab list: %s\n", err.text);
    return 2;
}

static int list_main(int argc, char **argv)
{
    if (argc > 2) {
        fprintf(stderr, "alloclab list: one list at a time: usage: alloclab %s\n", USAGE);
        return 2;
    }
    for (int i = 0; i < LISTS; i++) {
        if (argc == 2 && strcmp(argv[1], lists[i].name))
            continue;
        if (argc == 1)
            printf("%s%s\n", i ? "\n" : "", lists[i].heading);
        lists[i].print();
        if (argc == 2)
            return 0;
    }
    return argc == 2 ? unknown_list(argv[1]) : 0;
}

COMMAND(list) = {
    .name = "list",
    .usage = USAGE,
    .summary = "what there is, each with one line",
    .main = list_main,
};
