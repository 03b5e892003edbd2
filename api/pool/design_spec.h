/*
 * design_spec.h - what a user writes for a design, made into something that can be created.
 *
 *     NAME[:opt=value,opt=value][/INNER[:opt=value,..]]
 *
 * The one parser of it: for programs (api/alloclab.h) and for the harness. Names that do not exist
 * are refused with the list of those that do, and the nearest of them. Ownership: a spec owns what
 * it points to; spec_free() frees it. No state; thread-safe.
 */
#ifndef ALLOCLAB_DESIGN_SPEC_H
#define ALLOCLAB_DESIGN_SPEC_H

#include <stdbool.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/error.h"
#include "allocators/lib/option.h"

/* Generated; ended by NULL, in alphabetical order. */
extern const struct allocator *const allocators[];

const struct allocator *allocator_find(const char *name); /* NULL if there is none; O(n) */

struct spec {
    const struct allocator *design;
    void *options;          /* parsed by the design's rows; NULL if it has none */
    char name[128];         /* "freelist"; of a composition all designs: "guard/freelist" */
    char options_text[512]; /* every option of the design, canonical; of a composition joined by '/'
                             */
    struct spec *inner;     /* composition: the wrapped one; else NULL */
};

/* 0, or -1 with a message, and nothing to free. Allocates for options and wrapped designs alone: a
 * cell parses a name on the very heap that it is about to measure. */
int spec_parse(const char *text, struct spec *out, struct error *err);
void spec_free(struct spec *spec);

enum {
    SPEC_MAX_DEPTH = 4,    /* designs in a composition */
    SPEC_TEXT_BYTES = 2048 /* of a whole spec as the user writes it, with its end */
};

/* One env for each design of a composition, each pointing to the one it wraps: `common` with the
 * design and its options. `envs` has room for SPEC_MAX_DEPTH; false if there are more. */
bool spec_envs(const struct spec *spec, const struct alloc_env *common, struct alloc_env *envs);

/*
 * Says that there is no `kind` ("allocator") called `name`; what there is (`names`, ended by NULL),
 * and the nearest of them by edit distance if one is near. Returns -1.
 */
int spec_unknown(const char *kind, const char *name, const char *const *names, struct error *err);

/* Cuts "NAME:options" in place; the options, or NULL if there are none. */
char *spec_cut_options(char *text);

/* Parses `text` by the rows into a new blob, *options, for free(), and writes it back to
 * `canonical`, of `bytes`. 0, or -1 with a message that names `owner`. */
int spec_options(const char *owner, const struct option *rows, size_t options_size,
                 const char *text, void **options, char *canonical, size_t bytes,
                 struct error *err);

#endif
