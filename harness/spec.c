/*
 * spec.c - parses specs of workloads and lists of specs, see spec.h; those of designs are
 * api/pool/design_spec.c's.
 */
#include "harness/spec.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness/registry.h"

static int unknown_workload(const char *name, struct error *err)
{
    const char *names[256];
    size_t n = 0;
    for (; workloads[n] && n < 255; n++)
        names[n] = workloads[n]->name;
    names[n] = NULL;
    return spec_unknown("workload", name, names, err);
}

static int workload_settle(struct workload_spec *spec, struct error *err)
{
    const struct workload *workload = spec->workload;
    if (!workload->settle)
        return 0;
    if (workload->settle(spec->options, err)) {
        free(spec->options);
        spec->options = NULL;
        return -1;
    }
    option_format(workload->options, spec->options, spec->options_text, sizeof spec->options_text);
    return 0;
}

int workload_spec_parse(const char *text, struct workload_spec *out, struct error *err)
{
    *out = (struct workload_spec){0};
    char *copy = strdup(text);
    if (!copy)
        return error_set(err, "no memory for the spec '%.64s'", text);
    char *options = spec_cut_options(copy);
    int result;
    out->workload = workload_find(copy);
    if (!*copy)
        result = error_set(err, "the workload's name is missing in '%.200s'", text);
    else if (!out->workload)
        result = unknown_workload(copy, err);
    else
        result = spec_options(copy, out->workload->options, out->workload->options_size, options,
                              &out->options, out->options_text, sizeof out->options_text, err);
    free(copy);
    return result ? result : workload_settle(out, err);
}

void workload_spec_free(struct workload_spec *spec)
{
    free(spec->options);
    *spec = (struct workload_spec){0};
}

/* True if the piece has an '=' before anything that only a name can be followed by, or a path has.
 */
static bool is_option(const char *piece)
{
    return piece[strcspn(piece, "=:/")] == '=';
}

/* Adds a piece to the n items before it, the last of which it follows directly in memory. */
static int add_piece(char **items, size_t *n, char *piece, const char *text, struct error *err)
{
    if (!*piece)
        return error_set(err, "an entry of the list '%.200s' is empty: remove the extra comma",
                         text);
    if (!is_option(piece)) {
        items[(*n)++] = piece;
        return 0;
    }
    if (*n == 0)
        return error_set(err, "'%.64s' is an option without a name before it: write NAME:%.64s",
                         piece, piece);
    const char *last = items[*n - 1];
    if (!strchr(last, ':'))
        return error_set(err,
                         "'%.64s' is an option, but '%.64s' before it has no ':': write "
                         "%.64s:%.64s",
                         piece, last, last, piece);
    piece[-1] = ','; /* one spec again */
    return 0;
}

char **spec_list_split(const char *text, struct error *err)
{
    size_t most = 2, bytes = strlen(text) + 1, n = 0;
    for (const char *p = text; *p; p++)
        most += *p == ',';
    char **items = malloc(most * sizeof *items + bytes);
    if (!items) {
        error_set(err, "no memory for the list '%.64s'", text);
        return NULL;
    }
    char *piece = memcpy(items + most, text, bytes);
    for (bool more = true; more;) {
        char *end = piece + strcspn(piece, ",");
        more = *end == ',';
        *end = '\0';
        if (add_piece(items, &n, piece, text, err)) {
            free(items);
            return NULL;
        }
        piece = end + 1;
    }
    items[n] = NULL;
    return items;
}
