/*
 * spec.h - what a user writes for a workload, made into something that can be run, and lists of
 * specs. (The spec of a design is api/pool/design_spec.h's.)
 *
 * A list of specs is separated by commas. Options use commas too, so a piece of a list that has an
 * '=' before any ':' is an option of the spec before it: "null,freelist:fit=best,order=lifo,bump"
 * is three specs.
 *
 * Ownership: a spec owns what it points to; the functions below free it. No state; thread-safe.
 */
#ifndef ALLOCLAB_SPEC_H
#define ALLOCLAB_SPEC_H

#include "api/pool/design_spec.h"
#include "workloads/lib/workload.h"

struct workload_spec {
    const struct workload *workload;
    void *options;
    char options_text[512];
};

/* 0, or -1 with a message, nothing to free, and `workload` set if only its options were wrong. */
int workload_spec_parse(const char *text, struct workload_spec *out, struct error *err);
void workload_spec_free(struct workload_spec *spec);

/* The pieces of a list, ended by NULL, as one allocation for free(); NULL with a message. Never an
 * empty list. */
char **spec_list_split(const char *text, struct error *err);

#endif
