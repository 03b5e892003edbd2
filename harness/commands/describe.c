/*
 * describe.c - `alloclab describe NAME`: everything about one allocator, workload, trace format
 * or transform: what it is, what it promises, its options, and its manual, which is the header comment of its
 * file.
 */
#include <stdio.h>
#include <string.h>

#include "harness/manual.h"
#include "harness/registry.h"
#include "harness/spec.h"
#include "harness/trace_transform.h"

#define USAGE "describe NAME"

static const struct {
    unsigned bit;
    const char *words;
} trait_rows[] = {
    {ALLOCATOR_REUSES, "memory of a freed object serves later requests"},
    {ALLOCATOR_ANY_ALIGN, "any alignment up to 1 MiB"},
    {ALLOCATOR_SHARED, "many threads at once on one heap"},
    {ALLOCATOR_REMOTE_FREE, "any thread may free an object"},
    {ALLOCATOR_FINDS_OWNER, "finds an object's scope from its address"},
    {ALLOCATOR_BOUNDED, "bounded worst case of alloc and free"},
    {ALLOCATOR_NEEDS_SIZE, "free must be given the size"},
    {ALLOCATOR_WRAPS, "works on top of another allocator: NAME/INNER"},
    {ALLOCATOR_FAKE, "hands out memory that it does not manage: only a floor"},
    {ALLOCATOR_FOREIGN, "memory does not come through the door: nothing is counted as committed"},
};

static void traits_print(unsigned traits)
{
    printf("\nTraits\n");
    for (size_t i = 0; i < sizeof trait_rows / sizeof *trait_rows; i++)
        if (traits & trait_rows[i].bit)
            printf("  %s\n", trait_rows[i].words);
    if (!traits)
        printf("  none\n");
}

static void capabilities_print(const struct allocator *a)
{
    const struct {
        const char *name;
        int present;
    } rows[] = {
        {"alloc", 1},
        {"free", 1},
        {"zalloc", a->zalloc != NULL},
        {"realloc", a->realloc != NULL},
        {"usable", a->usable != NULL},
        {"scopes", a->scope_enter != NULL},
        {"threads", a->thread_enter != NULL},
        {"tick", a->tick != NULL},
        {"trim", a->trim != NULL},
        {"fork", a->fork != NULL},
        {"walk", a->walk != NULL},
        {"check", a->check != NULL},
        {"stats", a->stats != NULL},
    };
    for (int present = 1; present >= 0; present--) {
        const char *separator = present ? "\nProvides\n  " : "\nLeaves to the caller\n  ";
        int any = 0;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (rows[i].present != present)
                continue;
            printf("%s%s", separator, rows[i].name);
            separator = ", ";
            any = 1;
        }
        if (any)
            printf("\n");
    }
}

/* Formats a number as the option's type is written. */
static void number_format(const struct option *row, double number, char *text, size_t bytes)
{
    uint64_t whole = (uint64_t)number;
    const void *value = row->type == OPTION_REAL ? (const void *)&number : (const void *)&whole;
    const struct option rows[] = {{.name = "", .type = row->type}, {0}};
    char pair[64];
    option_format(rows, value, pair, sizeof pair); /* "=64k" */
    snprintf(text, bytes, "%s", pair + 1);
}

static void option_print(const struct option *row)
{
    static const char *const types[] = {
        [OPTION_SIZE] = "size",   [OPTION_COUNT] = "count",   [OPTION_REAL] = "number",
        [OPTION_BOOL] = "yes|no", [OPTION_CHOICE] = "choice", [OPTION_TEXT] = "text"};
    char low[64], high[64], allowed[160] = "any";
    if (row->type == OPTION_CHOICE) {
        snprintf(allowed, sizeof allowed, "%s", row->choices);
    } else if (row->type == OPTION_BOOL) {
        snprintf(allowed, sizeof allowed, "yes|no");
    } else if (row->type == OPTION_TEXT) {
        snprintf(allowed, sizeof allowed, "up to %.0f bytes", row->max - 1);
    } else if (row->min != 0 || row->max != 0) {
        number_format(row, row->min, low, sizeof low);
        number_format(row, row->max, high, sizeof high);
        snprintf(allowed, sizeof allowed, "%s to %s", low, high);
    }
    printf("  %-12s %-7s %-10s %-24s %s\n", row->name, types[row->type], row->fallback, allowed,
           row->summary);
}

static void options_print(const struct option *rows)
{
    printf("\nOptions\n");
    if (!rows || !rows->name) {
        printf("  none\n");
        return;
    }
    printf("  %-12s %-7s %-10s %-24s %s\n", "name", "type", "default", "allowed", "meaning");
    for (; rows->name; rows++)
        option_print(rows);
}

static void manual_print(const char *folder, const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "%s/%s.c", folder, name);
    for (const struct manual *m = manuals; m->file; m++)
        if (!strcmp(m->file, file))
            printf("\nManual\n\n%s", m->text);
}

static void head_print(const char *kind, const char *name, const char *summary, const char *source)
{
    printf("%s (%s): %s\n", name, kind, summary);
    if (source)
        printf("\nSource\n  %s\n", source);
}

static int unknown_name(const char *name)
{
    const char *names[256] = {0};
    size_t n = 0;
    for (size_t i = 0; allocators[i] && n < 255; i++)
        names[n++] = allocators[i]->name;
    for (size_t i = 0; workloads[i] && n < 255; i++)
        names[n++] = workloads[i]->name;
    for (size_t i = 0; trace_formats[i] && n < 255; i++)
        names[n++] = trace_formats[i]->name;
    for (size_t i = 0; trace_transforms[i] && n < 255; i++)
        names[n++] = trace_transforms[i]->name;
    struct error err;
    spec_unknown("allocator, workload, trace format or transform", name, names, &err);
    fprintf(stderr, "alloclab describe: %s\n", err.text);
    return 2;
}

static int describe_main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "alloclab describe: give one name: usage: alloclab %s\n", USAGE);
        return 2;
    }
    const struct allocator *a = allocator_find(argv[1]);
    const struct workload *w = workload_find(argv[1]);
    const struct trace_format *f = trace_format_find(argv[1]);
    const struct trace_transform *t = trace_transform_find(argv[1]);
    if (!a && !w && !f && !t)
        return unknown_name(argv[1]);
    if (a) {
        head_print("allocator", a->name, a->summary, a->source);
        traits_print(a->traits);
        capabilities_print(a);
        options_print(a->options);
        manual_print("allocators", a->name);
    }
    if (w) {
        head_print("workload", w->name, w->summary, w->source);
        options_print(w->options);
        manual_print("workloads", w->name);
    }
    if (f) {
        head_print("trace format", f->name, f->summary, NULL);
        manual_print("traces/formats", f->name);
    }
    if (t) {
        head_print("transform of traces", t->name, t->summary, NULL);
        options_print(t->options);
        manual_print("traces/transforms", t->name);
    }
    return 0;
}

COMMAND(describe) = {
    .name = "describe",
    .usage = USAGE,
    .summary =
        "the manual of an allocator, a workload, a trace format or a transform, with its options",
    .main = describe_main,
};
