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

/* Oddities of a foreign file, repaired by the rule stated in the format's file. */
struct import_report {
    uint64_t lines;            /* or records read */
    uint64_t unknown_frees;    /* free of an address that is not live: dropped */
    uint64_t unknown_reallocs; /* realloc of one: taken as an alloc */
    uint64_t double_allocs;  /* alloc that returns a live address: the old object is freed first */
    uint64_t first_odd_line; /* 0 = none */
    bool strict;             /* in: refuse oddities instead of repairing them */
};

struct trace_format {
    const char *name, *summary;
    /* Reads `path` (plain or gzip) into `out`; 0, or -1 with file and line. NULL = cannot be read.
     */
    int (*import)(const char *path, struct trace_writer *out, struct import_report *report,
                  struct error *err);
    /* Writes what `in` holds to `stream`; what the form cannot say is counted in *dropped. NULL =
     * cannot. */
    int (*export)(struct trace_reader *in, FILE *stream, uint64_t *dropped, struct error *err);
};

#define TRACE_FORMAT(stem) const struct trace_format trace_format_##stem

extern const struct trace_format *const trace_formats[]; /* generated; ended by NULL */

#endif
