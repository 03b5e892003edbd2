/*
 * emit.h - writes a workload's ops: numbers objects and scopes, keeps the clock, and remembers the
 * first error, so that a workload reads as the program it models. After an error nothing more is
 * written; loops look at `failed` so that they end early.
 *
 * The clock is virtual: each op happens step_ns after the one before it. With step_ns = 0 the trace
 * has none. A struct emit belongs to one OS thread; the threads in the trace are just numbers.
 */
#ifndef ALLOCLAB_EMIT_H
#define ALLOCLAB_EMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "traces/trace.h"

struct emit {
    struct trace_writer *out;
    struct error *err; /* the first error, once `failed` */
    bool failed;
    uint64_t objects, scopes, calls; /* so far */
    uint64_t clock_ns, step_ns;
};

/* Each returns the id of what it makes. `site` says which place of the program asks: from 1; 0 =
 * not said. */
uint64_t emit_alloc(struct emit *e, unsigned thread, uint64_t size, unsigned site);
uint64_t emit_calloc(struct emit *e, unsigned thread, uint64_t size, unsigned site);
uint64_t emit_aligned(struct emit *e, unsigned thread, uint64_t size, unsigned align_log2,
                      unsigned site);
uint64_t emit_scope_begin(struct emit *e, unsigned thread);

void emit_realloc(struct emit *e, unsigned thread, uint64_t object, uint64_t size, unsigned site);
void emit_free(struct emit *e, unsigned thread, uint64_t object);
void emit_free_sized(struct emit *e, unsigned thread, uint64_t object, uint64_t size);
void emit_scope_end(struct emit *e, unsigned thread, uint64_t scope);
void emit_scope_switch(struct emit *e, unsigned thread, uint64_t scope); /* TRACE_NO_SCOPE: none */
void emit_thread_begin(struct emit *e, unsigned thread);
void emit_thread_end(struct emit *e, unsigned thread);

/* Meta data: the name of a thread, and of a site. */
void emit_thread_name(struct emit *e, unsigned thread, const char *name);
void emit_site_name(struct emit *e, unsigned site, const char *name);
void emit_site_names(struct emit *e, const char *const *names, unsigned n); /* sites 1..n */

/* Threads first .. first + n - 1, one after the other: begins them under the names KIND-0, KIND-1,
 * .., and ends them. */
void emit_threads_begin(struct emit *e, unsigned first, unsigned n, const char *kind);
void emit_threads_end(struct emit *e, unsigned first, unsigned n);

/* Sets the error of a workload that found no memory for its own state; returns -1. */
int emit_no_memory(struct emit *e);

/* A growing array of object ids. */
struct ids {
    uint64_t *items;
    uint64_t n, room;
};

void ids_push(struct emit *e, struct ids *ids, uint64_t id); /* without memory: e fails */
uint64_t ids_take(struct ids *ids, uint64_t i);              /* the last one moves to its place */
void ids_free(struct ids *ids);
void emit_free_all(struct emit *e, unsigned thread,
                   struct ids *ids); /* first to last; empties it */

#endif
