/*
 * trace_sites.h - which call sites allocate: calls, bytes, peak and what is left at the end of each,
 * with the names of their functions.
 */
#ifndef ALLOCLAB_TRACE_SITES_H
#define ALLOCLAB_TRACE_SITES_H

#include <stdio.h>

#include "traces/trace.h"

enum sites_by { SITES_BY_BYTES, SITES_BY_CALLS, SITES_BY_PEAK, SITES_BY_LEFT };

enum sites_form {
    SITES_TABLE,  /* by the calls' place alone; all other forms by whole stack */
    SITES_STACKS, /* a table with each site's callers below it */
    SITES_FOLDED, /* "main;make;grow 1234": what flame graph tools read */
    SITES_CSV,
};

extern const char *const sites_by_names[]; /* by enum sites_by; ended by NULL */

struct sites_request {
    enum sites_by by; /* what rows are sorted by, and the number of the folded form */
    enum sites_form form;
    uint64_t top;      /* rows; 0 = all */
    const char *debug; /* folders of debug files, with ':' between them; NULL: none */
};

/*
 * Reads the trace to its end. A realloc ends an allocation of the old size and site and makes one of
 * the new. 0, or -1 with a message: also for a trace without sites. What has no name is said on
 * stderr, by module. Memory: 48 to 96 bytes an object that is live at a time, about 100 a site, and
 * the names.
 */
int trace_sites_print(FILE *stream, struct trace_reader *r, const struct sites_request *what,
                      struct error *err);

#endif
