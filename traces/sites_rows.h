/*
 * sites_rows.h - the rows of a table of sites as they lie in memory, and what its writer and reader
 * need to know of them; private to traces/. Strings are rows too, numbered like the others from 1.
 */
#ifndef ALLOCLAB_SITES_ROWS_H
#define ALLOCLAB_SITES_ROWS_H

#include "traces/sites.h"

/* No padding: rows are compared and hashed as bytes. */
struct string_row {
    uint32_t at, bytes; /* in the text; a zero byte follows */
};

struct module_row {
    uint32_t name, build, path; /* strings */
};

struct place_row {
    uint64_t offset_and_one; /* 0: unknown */
    uint32_t module, function, file, line;
};

struct frame_row {
    uint32_t caller, place;
};

struct site_row {
    uint64_t number;
    uint32_t frame, zero;
};

union sites_row {
    struct module_row module;
    struct place_row place;
    struct frame_row frame;
    struct site_row site;
};

struct sites_table {
    void *rows;
    uint32_t count;
    size_t room;
    uint32_t *slots;  /* numbers of rows, by hash of what they are; 0: empty */
    size_t slot_room; /* a power of two, more than twice the count */
};

struct sites {
    struct sites_table tables[SITES_KINDS];
    char *text;
    size_t text_bytes, text_room;
    uint64_t *of_frame; /* the site of each frame that has one by sites_of_frame */
    size_t of_frame_room;
    uint64_t given; /* sites by sites_of_frame */
};

/* Row number n, from 1. */
const void *sites_row_at(const struct sites *s, enum sites_kind kind, uint32_t n);

/* Adds a row or finds it: its number; 0 with what is wrong with it. */
uint32_t sites_row_add(struct sites *s, enum sites_kind kind, const union sites_row *row,
                       struct error *err);
/* The same for a string, cut and cleaned; "" is 0. -1 on error. */
int sites_string_add(struct sites *s, const char *text, size_t bytes, uint32_t *number,
                     struct error *err);

/* ---- in the file: a column a field, a varint a row ---- */

enum sites_coding {
    CODING_PLAIN,
    CODING_BACK, /* how much less than the row's own number; a root: that number */
    CODING_STEP, /* zigzag difference to the row before in the block, 0 before the first */
};

struct sites_field {
    uint16_t tag;
    uint8_t kind, coding, offset, bytes; /* offset, bytes: in the row */
};

enum { SITES_FIELDS = 12, SITES_COLUMNS = SITES_FIELDS + 2 };
extern const struct sites_field sites_fields[SITES_FIELDS];

struct sites_column { /* raw; used 0: it says nothing, and is not written */
    uint8_t *data;
    size_t used;
    unsigned tag;
};

/* What is new since `written`, as much as a block may hold: how many rows, -1: no memory. The columns
 * are for sites_block_free in any case. */
int64_t sites_block_fill(const struct sites *s, uint32_t written[SITES_KINDS],
                         struct sites_column columns[SITES_COLUMNS], struct error *err);
void sites_block_free(struct sites_column columns[SITES_COLUMNS]);

#endif
