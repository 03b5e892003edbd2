/*
 * sites.h - what the site numbers of a trace stand for: call stacks, down to modules and offsets in
 * them, or to names where whoever recorded knew nothing else. No addresses: an address is told by
 * the module that it lies in and its offset there, the same wherever the module was loaded.
 *
 *     module   a file: its base name, build id, perhaps its path
 *     place    a module and an offset in it, or a function, file and line; any part may be unknown
 *     frame    a place, and the frame that called it: a tree, the callers of all being its roots
 *     site     a number that ops carry, and the frame that it stands for, the innermost one
 *
 * Modules, places and frames are numbered from 1 in the order in which they come, and what is there
 * already keeps its number: so a caller adds what it has, and asks nothing. 0 stands for none.
 *
 * A writer has such a table (trace_writer_sites), which is filled at any time before trace_finish;
 * what is new in it goes into the file before the next block of ops. So whoever adds a site before
 * the first op that carries it makes a file that can be read as a stream. A site that ops carry and
 * the table has not is a number and nothing else.
 *
 * Memory: of frames 24 bytes each at most, of places 40, of sites 32, and the text. All calls are
 * O(1) expected. Not for several threads at a time.
 */
#ifndef ALLOCLAB_SITES_H
#define ALLOCLAB_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/lib/error.h"

/* Most of a kind in a trace, and most text of all together. */
#define SITES_MODULES    (UINT32_C(1) << 16)
#define SITES_PLACES     (UINT32_C(1) << 22)
#define SITES_FRAMES     (UINT32_C(1) << 24)
#define SITES_SITES      (UINT32_C(1) << 22)
#define SITES_STRINGS    (UINT32_C(1) << 22)
#define SITES_TEXT_BYTES (UINT32_C(1) << 26)

enum {
    SITES_STRING_BYTES = 16000, /* longer ones are cut there */
    SITES_BUILD_BYTES = 64,     /* most of a build id, that is 128 hex digits */
};

#define SITE_NO_OFFSET UINT64_MAX

struct sites;
struct trace_reader;
struct trace_writer;

/* Strings: UTF-8; what is no text, and control characters, become '?'. NULL is as good as "". */
struct site_module {
    const char *name;  /* base name; not empty */
    const char *build; /* build id, an even number of lower-case hex digits; "": not known */
    const char *path;  /* "": not disclosed */
};

struct site_place {
    uint64_t offset; /* as the ELF file's own virtual addresses count; SITE_NO_OFFSET: unknown */
    uint32_t module; /* 0: unknown */
    uint32_t line;   /* 0: unknown */
    const char *function; /* "": unknown, and so is a file */
    const char *file;
};

/* ---- adding: the number, or 0 with what is wrong: no memory, a limit, a number that is not there ----
 */

uint32_t sites_module(struct sites *s, const struct site_module *module, struct error *err);
uint32_t sites_place(struct sites *s, const struct site_place *place, struct error *err);
/* caller 0: a root. The offset of a caller's place is that of its call: the return address less 1. */
uint32_t sites_frame(struct sites *s, uint32_t caller, uint32_t place, struct error *err);
/* The site of a frame, from 1 by first appearance. Not together with sites_set. */
uint64_t sites_of_frame(struct sites *s, uint32_t frame, struct error *err);
/* Says which frame a site (not 0) stands for; two sites may stand for one frame. 0, or -1: also if the
 * site is there already and stands for another one. */
int sites_set(struct sites *s, uint64_t site, uint32_t frame, struct error *err);
/* Adds a frame of another table with all its callers; its number here, or 0. */
uint32_t sites_copy_frame(struct sites *s, const struct sites *from, uint32_t frame,
                          struct error *err);

/* The same rows, with the same numbers, in a table that is empty, or that was so made when the other
 * one had fewer. 0, or -1. */
int sites_copy(struct sites *s, const struct sites *from, struct error *err);

/* ---- looking: strings live until something is added, or the table goes ---- */

enum sites_kind { SITES_STRING, SITES_MODULE, SITES_PLACE, SITES_FRAME, SITES_SITE, SITES_KINDS };

/* How many there are; numbers are 1 to this. */
uint32_t sites_count(const struct sites *s, enum sites_kind kind);
struct site_module sites_module_at(const struct sites *s, uint32_t module);
struct site_place sites_place_at(const struct sites *s, uint32_t place);
uint32_t sites_frame_caller(const struct sites *s, uint32_t frame); /* 0: a root */
uint32_t sites_frame_place(const struct sites *s, uint32_t frame);
/* The n-th site that was added, n from 1, and its frame. */
uint64_t sites_site_at(const struct sites *s, uint32_t n, uint32_t *frame);
/* The frame that a site stands for; 0: the table has not that site. */
uint32_t sites_find(const struct sites *s, uint64_t site);

/*
 * Hashes of what frames and their callers are, the same in every recording of a program, by number of
 * the frame, from 0 (none) on: of each place the function, file and line if the line is known, so that
 * a rebuilt program can be compared; else all of it but the build id and the path. For free(); NULL:
 * no memory. O(places + frames).
 */
uint64_t *sites_identities(const struct sites *s);

/* ---- the table of a trace ---- */

/* To be added to; lives as long as the writer. */
struct sites *trace_writer_sites(struct trace_writer *w);
/*
 * All that the file says, read when it is first asked for; empty if it says nothing. It lives as long
 * as the reader. NULL: the file is damaged, err says file, offset and what.
 */
const struct sites *trace_reader_sites(struct trace_reader *r, struct error *err);
/* True if the file has such a table; nothing is read for it. */
bool trace_has_site_table(const struct trace_reader *r);

/* All of a trace's table into another trace that has none yet. 0, or -1. */
int trace_copy_sites(struct trace_reader *in, struct trace_writer *w, struct error *err);

/* A table of one's own. NULL: no memory. */
struct sites *sites_new(void);
void sites_free(struct sites *s); /* also NULL */

#endif
