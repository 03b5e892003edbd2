/*
 * spec.h - what a user writes for an allocator or a workload, made into something that can be run.
 *
 *     NAME[:opt=value,opt=value][/INNER[:opt=value,..]]
 *
 * A list of specs is separated by commas. Options use commas too, so a piece of a list that has an
 * '=' before any ':' is an option of the spec before it: "null,freelist:fit=best,order=lifo,bump"
 * is three specs.
 *
 * Names that do not exist are refused with the list of those that do, and the nearest of them.
 * Ownership: a spec owns what it points to; the functions below free it. No state; thread-safe.
 */
#ifndef ALLOCLAB_SPEC_H
#define ALLOCLAB_SPEC_H

#include <stdint.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/error.h"
#include "workloads/lib/workload.h"

struct spec {
    const struct allocator *design;
    void *options;          /* parsed by the design's rows; NULL if it has none */
    char name[128];         /* "freelist"; of a composition all designs: "guard/freelist" */
    char options_text[512]; /* every option of the design, canonical; of a composition joined by '/'
                             */
    struct spec *inner;     /* composition: the wrapped one; else NULL */
};

/* 0, or -1 with a message, and nothing to free. */
int spec_parse(const char *text, struct spec *out, struct error *err);
void spec_free(struct spec *spec);

struct workload_spec {
    const struct workload *workload;
    void *options;
    char options_text[512];
};

int workload_spec_parse(const char *text, struct workload_spec *out, struct error *err);
void workload_spec_free(struct workload_spec *spec);

/* The pieces of a list, ended by NULL, as one allocation for free(); NULL with a message. Never an
 * empty list. */
char **spec_list_split(const char *text, struct error *err);

/*
 * Says that there is no `kind` ("allocator") called `name`; what there is (`names`, ended by NULL),
 * and the nearest of them by edit distance if one is near. Returns -1.
 */
int spec_unknown(const char *kind, const char *name, const char *const *names, struct error *err);

#endif
