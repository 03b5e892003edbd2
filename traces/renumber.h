/*
 * renumber.h - puts ops of one trace into another, where objects, threads, scopes and perhaps sites
 * have other numbers: because something is left out, or comes from several traces. Numbers in the
 * new trace follow from the order in which things come there, as the rules want it.
 *
 * What a site stands for goes into the new trace with the first op that carries it.
 *
 * Memory: that of a live_table for objects, 8 bytes a scope, 4 a thread, 48 a site.
 */
#ifndef ALLOCLAB_RENUMBER_H
#define ALLOCLAB_RENUMBER_H

#include "traces/address_map.h"
#include "traces/live_table.h"
#include "traces/sites.h"
#include "traces/trace.h"

#define RENUMBER_OUT UINT64_MAX /* the number of what is left out */

struct renumber_known { /* an object older than what is put, that is in the new trace already */
    uint64_t id, size;
};

struct renumber { /* zeroed, with in and out set, is a fresh state */
    struct trace_reader *in;
    struct trace_writer *out;
    struct live_table objects;          /* from first_object on: the new number + 1; RENUMBER_OUT */
    uint64_t clock_base;                /* is taken off every clock */
    uint64_t first_object, first_scope; /* older ones are left out, unless they are `known` */
    const struct renumber_known *known; /* by id: their new numbers are 0, 1, .. */
    uint64_t known_count;
    uint32_t *threads; /* the new number + 1; 0: has not come yet */
    uint64_t *scopes;  /* from first_scope on: the new number + 1; 0: left out */
    uint64_t threads_room, scopes_room;
    struct address_map sites; /* those that have come: the new number of each */
    uint64_t *next_site;      /* NULL: sites keep their numbers */
    bool nameless; /* sites are numbers only, or somebody else says what they stand for */
    const struct sites *from; /* the input's table, when a site has come */
};

void renumber_free(struct renumber *n);

/* Puts the op. What refers to an object or a scope that is left out is not put, but for a switch to
 * such a scope, which becomes one to none. 0 or -1. */
int renumber_put(struct renumber *n, const struct trace_op *op, struct error *err);

/* Does not put the op, and leaves out what it makes. 0 or -1. */
int renumber_leave(struct renumber *n, const struct trace_op *op, struct error *err);

/* The new number of a thread, which the next op put must be of if it is a new one. 0 or -1. */
int renumber_thread(struct renumber *n, uint32_t thread, uint32_t *number, struct error *err);

/* The next object of the input has this number in the new trace (it is in there already), or is
 * left out. */
int renumber_object(struct renumber *n, uint64_t number, struct error *err);

enum renumber_meta {
    RENUMBER_ALL,     /* all pairs, */
    RENUMBER_NAMES,   /* or only those of threads */
    RENUMBER_PREFIXED /* all; those of the whole program get the prefix */
};

/* Copies meta pairs. Those of threads (thread.N.*), and of sites (site.N.*) if these are numbered anew, get the new
 * numbers, and are left out if those have not come. After the ops. `suffix` is added to the names of threads. */
int renumber_meta(struct renumber *n, enum renumber_meta which, const char *prefix,
                  const char *suffix, struct error *err);

#endif
