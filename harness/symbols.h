/*
 * symbols.h - what the places of a trace's call sites are called: functions, files and lines, found
 * offline by elfutils in the files that the modules were, or in the debug files that belong to them.
 *
 * A file is taken only if its build id is that of the recording. So a program may be recorded on a
 * machine that has no debug files, and be looked at on one that has; and what was rebuilt since gets
 * no wrong names.
 */
#ifndef ALLOCLAB_SYMBOLS_H
#define ALLOCLAB_SYMBOLS_H

#include <stdio.h>

#include "traces/sites.h"

struct symbols;

/*
 * Looks up the places for which `wanted` (by number, from 1) is set. `debug`: folders that are
 * looked through first, with ':' between them, for files by name or in .build-id; NULL: none. For
 * each module without a file, a line that says why goes to `said`. NULL: no memory, or elfutils
 * cannot be run. The table of sites must outlive it. Runs eu-addr2line once a module.
 */
struct symbols *symbols_read(const struct sites *sites, const unsigned char *wanted,
                             const char *debug, FILE *said, struct error *err);
void symbols_free(struct symbols *s); /* also NULL */

/*
 * The functions at a place, the innermost first: where calls were inlined there are several. What
 * has no name is module+0xOFFSET, or ?. Returns how many there are; n from 0. `where` is file:line,
 * or "". Strings live as long as the symbols.
 */
unsigned symbols_count(const struct symbols *s, uint32_t place);
const char *symbols_name(const struct symbols *s, uint32_t place, unsigned n, const char **where);

#endif
