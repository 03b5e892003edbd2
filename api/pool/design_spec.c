/*
 * design_spec.c - parses specs of designs, see design_spec.h. A composition is parsed from the
 * left: each design but the last must say that it wraps another one, and the last must not need
 * one.
 */
#include "api/pool/design_spec.h"

#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64 /* longer names are certainly unknown */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance of two names; SIZE_MAX if one is too long. O(length * length), no
 * allocation. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows = strlen(a), columns = strlen(b), row[NAME_BYTES + 1];
    if (rows > NAME_BYTES || columns > NAME_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(substitute, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[columns];
}

int spec_unknown(const char *kind, const char *name, const char *const *names, struct error *err)
{
    char known[512] = "";
    size_t used = 0, nearest_distance = SIZE_MAX;
    const char *nearest = NULL;
    for (size_t i = 0; names[i]; i++) {
        int n = snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
        used = least(used + (size_t)n, sizeof known - 1);
        size_t distance = edit_distance(name, names[i]);
        if (distance < nearest_distance) {
            nearest_distance = distance;
            nearest = names[i];
        }
    }
    bool near = nearest && nearest_distance <= 1 + strlen(nearest) / 3;
    return error_set(err, "no %s '%.64s': there %s %s%s%s%s", kind, name,
                     names[0] && names[1] ? "are" : "is", names[0] ? known : "none",
                     near ? "; did you mean '" : "", near ? nearest : "", near ? "'?" : "");
}

const struct allocator *allocator_find(const char *name)
{
    for (size_t i = 0; allocators[i]; i++)
        if (!strcmp(allocators[i]->name, name))
            return allocators[i];
    return NULL;
}

static int unknown_allocator(const char *name, struct error *err)
{
    const char *names[256];
    size_t n = 0;
    for (; allocators[n] && n < 255; n++)
        names[n] = allocators[n]->name;
    names[n] = NULL;
    return spec_unknown("allocator", name, names, err);
}

int spec_options(const char *owner, const struct option *rows, size_t options_size,
                 const char *text, void **options, char *canonical, size_t bytes, struct error *err)
{
    *options = NULL;
    canonical[0] = '\0';
    if (!rows)
        return option_parse(owner, rows, 0, text, NULL, err);
    void *blob = calloc(1, options_size);
    if (!blob)
        return error_set(err, "no memory for the options of %s", owner);
    if (option_parse(owner, rows, options_size, text, blob, err)) {
        free(blob);
        return -1;
    }
    option_format(rows, blob, canonical, bytes);
    *options = blob;
    return 0;
}

char *spec_cut_options(char *text)
{
    char *colon = strchr(text, ':');
    if (!colon)
        return NULL;
    *colon = '\0';
    return colon + 1;
}

/* Sets the inner spec of `out`, and what the composition as a whole is called. */
static int parse_inner(const char *text, struct spec *out, struct error *err)
{
    const char *name = out->design->name;
    if (!(out->design->traits & ALLOCATOR_WRAPS)) {
        if (!text)
            return 0;
        return error_set(err, "%s does not wrap another allocator: it cannot stand before '/%.64s'",
                         name, text);
    }
    if (!text)
        return error_set(err, "%s wraps another allocator: say which, as in %s/freelist", name,
                         name);
    struct spec *inner = calloc(1, sizeof *inner);
    if (!inner)
        return error_set(err, "no memory for the spec of %s", name);
    if (spec_parse(text, inner, err)) {
        free(inner);
        return -1;
    }
    out->inner = inner;
    size_t used = strlen(out->name), options_used = strlen(out->options_text);
    int n = snprintf(out->name + used, sizeof out->name - used, "/%s", inner->name);
    int m = snprintf(out->options_text + options_used, sizeof out->options_text - options_used,
                     "/%s", inner->options_text);
    if (used + (size_t)n >= sizeof out->name ||
        options_used + (size_t)m >= sizeof out->options_text)
        return error_set(err, "the composition %s/.. is too long: wrap fewer allocators", name);
    return 0;
}

int spec_parse(const char *text, struct spec *out, struct error *err)
{
    char copy[SPEC_TEXT_BYTES];
    *out = (struct spec){0};
    if ((size_t)snprintf(copy, sizeof copy, "%s", text) >= sizeof copy)
        return error_set(err, "the spec '%.64s..' has more than %d characters", text,
                         SPEC_TEXT_BYTES - 1);
    char *inner = strchr(copy, '/');
    if (inner)
        *inner++ = '\0';
    char *options = spec_cut_options(copy);
    int result;
    out->design = allocator_find(copy);
    if (!*copy)
        result = error_set(err, "the allocator's name is missing in '%.200s'", text);
    else if (!out->design)
        result = unknown_allocator(copy, err);
    else
        result = spec_options(copy, out->design->options, out->design->options_size, options,
                              &out->options, out->options_text, sizeof out->options_text, err);
    if (!result) {
        snprintf(out->name, sizeof out->name, "%s", out->design->name);
        result = parse_inner(inner, out, err);
    }
    if (result)
        spec_free(out);
    return result;
}

void spec_free(struct spec *spec)
{
    if (spec->inner)
        spec_free(spec->inner);
    free(spec->inner);
    free(spec->options);
    *spec = (struct spec){0};
}

bool spec_envs(const struct spec *spec, const struct alloc_env *common, struct alloc_env *envs)
{
    for (unsigned i = 0; spec; i++, spec = spec->inner) {
        if (i == SPEC_MAX_DEPTH)
            return false;
        envs[i] = *common;
        envs[i].options = spec->options;
        envs[i].design = spec->design;
        envs[i].inner = spec->inner ? &envs[i + 1] : NULL;
    }
    return true;
}
