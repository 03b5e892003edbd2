/*
 * import.h - what the importers of recordings have in common that name objects by address and
 * threads by a number of the system: addresses become objects, threads and call sites are numbered
 * by first appearance, times are counted from the first one, and what a correct recording cannot
 * contain is repaired by the same rules in all forms:
 *
 * - a free of an address that is not live is dropped;
 * - a realloc of one is taken as realloc(NULL);
 * - an address that is returned while it is live: the old object is freed first;
 * - a call that never returns, and a return without its call, are dropped;
 * - a last line without its end is dropped, and so is what a torn compressed file lacks.
 *
 * A call stands in the trace where it returned, a free where it began, because between its begin
 * and its end another thread may be given the address. For the same reason a realloc takes its old
 * address away when it begins.
 */
#ifndef ALLOCLAB_IMPORT_H
#define ALLOCLAB_IMPORT_H

#include <string.h>

#include "traces/address_map.h"
#include "traces/lines.h"
#include "traces/sites.h"

enum { IMPORT_NESTED = 4 }; /* calls of one thread that have begun and not returned */

struct import_call {
    struct trace_op op;
    uint64_t old;     /* realloc of an object: its address */
    uint64_t line;    /* where it began */
    const void *what; /* what the importer has noted of it */
};

struct import_thread {
    uint64_t tid;   /* the system's number */
    int64_t number; /* the trace's; -1 before its first op */
    unsigned depth;
    struct import_call calls[IMPORT_NESTED];
};

struct import {
    struct lines lines;
    struct trace_writer *out;
    struct import_report *report;
    struct address_map live;    /* address -> object */
    struct address_map numbers; /* the system's number of a thread -> index in threads */
    struct address_map sites;   /* key of a site -> number */
    struct import_thread *threads;
    size_t thread_count, threads_room, at; /* at: the thread of the line at hand */
    uint32_t numbered;                     /* threads that have an op */
    uint64_t objects, site_count;
    uint64_t first_ns, clock_ns; /* of the line at hand */
    bool has_clock;              /* first_ns is set */
    bool has_content;            /* there was a line that is not empty */
};

/* Opens the file and says in the trace what its form is. Lines are of thread 0 until import_thread.
 * 0, or -1 and there is nothing to close. */
int import_open(struct import *im, const char *path, const char *form, struct trace_writer *out,
                struct import_report *report, struct error *err);
/* Hands each line that is not empty to `line`, which returns 0 or -1, up to the end, gives up the
 * calls that are still open, and closes. 0, or -1. */
int import_lines(struct import *im, int (*line)(struct import *im));
/* The same with records of so many bytes, which are at im->lines.text. */
int import_records(struct import *im, size_t bytes, int (*record)(struct import *im));

/* ---- of the line at hand: what the ops that follow are given ---- */

int import_thread(struct import *im, uint64_t tid); /* 0, or -1: no memory */
void import_clock(struct import *im, uint64_t ns); /* any origin; before the first one: the first */
/* The number of a site, by first appearance of `key`, which tells it from others. `place` is what it stands
 * for, with the module of this name, "": unknown. */
int import_site(struct import *im, uint64_t key, const struct site_place *place, const char *module,
                uint64_t *site);

/*
 * What an absolute address says of itself when nobody knows which module lies where: its place in a
 * page, "..136", which is the same in each run. `text` has room for 8 bytes. An address itself must
 * not get into a trace.
 */
void import_page_place(uint64_t address, char text[8]);

/* The last part of a path. */
static inline const char *import_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* ---- calls: only kind, size, align_log2 and site of the op are looked at ---- */

static inline struct trace_op import_op(unsigned kind, uint64_t size)
{
    return (struct trace_op){
        .kind = (uint8_t)kind, .size = size, .object = TRACE_NO_OBJECT, .scope = TRACE_NO_SCOPE};
}

void import_align(struct trace_op *op, uint64_t align); /* rounded up to a power of two */
struct trace_op import_calloc(uint64_t count, uint64_t size);

int import_free(struct import *im, uint64_t address);
/* `old`: of a realloc. The call's return follows, perhaps after calls of other threads. */
int import_begin(struct import *im, const struct trace_op *op, uint64_t old);
/* The innermost open call of that kind, for what is known only when it returns; NULL: none. */
struct trace_op *import_begun(struct import *im, unsigned kind);
/* True if another call has told already that memory lies at `address`: the innermost open call of that kind,
 * which made it by that one, is forgotten. */
bool import_forget(struct import *im, unsigned kind, uint64_t address);
/* The innermost open call of that kind returned `address`, 0 = NULL. */
int import_end(struct import *im, unsigned kind, uint64_t address);
/* Both at once. */
int import_whole(struct import *im, const struct trace_op *op, uint64_t old, uint64_t address);
/* The thread ends; its number of the system may come again, for another one. */
int import_thread_end(struct import *im);

#endif
