/*
 * format.h - foreign and own forms of a trace: one file a format, registered by being in this
 * folder and ending with TRACE_FORMAT(name) = { ... }. `alloclab list formats` prints the table.
 */
#ifndef ALLOCLAB_FORMAT_H
#define ALLOCLAB_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/trace.h"

/* Oddities, things that a correct recording cannot contain, and how they are repaired. */
#define IMPORT_ODDITIES(X)                                                                         \
    X(unknown_frees)     /* free of an address that is not live: dropped */                        \
    X(unknown_reallocs)  /* realloc of one: taken as an alloc */                                   \
    X(double_allocs)     /* alloc that returns a live address: the old object is freed first */    \
    X(torn_lines)        /* the file ends inside a line: what there is of it is dropped */         \
    X(unreturned_calls)  /* begin of a call without its return: dropped */                         \
    X(unmatched_returns) /* return of a call without its begin: dropped */                         \
    X(unsaid_addresses)  /* call of which the form does not say what it returned: dropped */       \
    X(late_events)       /* event that is older than the one before it: left where it stands */    \
    X(lost_events)       /* the recording itself says that so many are missing */

#define IMPORT_INDEX(name) IMPORT_##name,
#define IMPORT_COUNT(name) uint64_t name;

enum { IMPORT_ODDITIES(IMPORT_INDEX) IMPORT_ODDITY_COUNT };
enum { IMPORT_FIRST_LINES = 3 };

struct import_report {
    uint64_t lines; /* or records read */
    union {
        struct {
            IMPORT_ODDITIES(IMPORT_COUNT)
        };
        uint64_t odd[IMPORT_ODDITY_COUNT]; /* the same counts, in the same order */
    };
    uint64_t first_lines[IMPORT_ODDITY_COUNT][IMPORT_FIRST_LINES];
    uint64_t first_odd_line; /* 0 = none */
    bool strict;             /* in: refuse oddities instead of repairing them */
};

/* `count` is one of the report's. */
static inline void import_odd_note(struct import_report *report, uint64_t *count, uint64_t line)
{
    uint64_t *lines = report->first_lines[count - report->odd];
    unsigned noted = 0; /* not *count: a line may count for many */
    while (noted < IMPORT_FIRST_LINES && lines[noted])
        noted++;
    if (noted < IMPORT_FIRST_LINES)
        lines[noted] = line;
    ++*count;
    if (report->first_odd_line == 0)
        report->first_odd_line = line;
}

struct trace_format {
    const char *name, *summary;
    /* Reads `path`, plain or compressed, into `out`; 0, or -1 with file and line. NULL = cannot be
     * read. */
    int (*import)(const char *path, struct trace_writer *out, struct import_report *report,
                  struct error *err);
    /* Writes what `in` holds to `stream`; what the form cannot say is counted in *dropped. NULL =
     * cannot. */
    int (*export)(struct trace_reader *in, FILE *stream, uint64_t *dropped, struct error *err);
};

#define TRACE_FORMAT(stem) const struct trace_format trace_format_##stem

extern const struct trace_format *const trace_formats[]; /* generated; ended by NULL */

#endif
