/*
 * csv.h - reads a CSV file with a header (RFC 4180): every row has as many fields as the header, and
 * what is wrong is said with file and line. The file is read whole; fields are its own text.
 */
#ifndef ALLOCLAB_CSV_H
#define ALLOCLAB_CSV_H

#include <stddef.h>
#include <stdio.h>

#include "allocators/lib/error.h"

struct csv {
    const char *path; /* the caller's */
    char *text, *at, *end;
    char **header, **field; /* of the file, of the row read last */
    unsigned columns;
    unsigned line, next_line; /* where the last row begins, and the next one */
};

/* Reads the file and its header. 0, or -1 with a message and nothing to close. */
int csv_open(struct csv *csv, const char *path, struct error *err);
/* The next row into csv->field: 1; 0 after the last; -1 with a message. */
int csv_next(struct csv *csv, struct error *err);
void csv_close(struct csv *csv);

/* Writes a text as a field, in quotes where it needs them. */
void csv_put_text(FILE *f, const char *text);
void csv_put_quoted(FILE *f, const char *text); /* in any case */

/* The column of that name, or -1. */
int csv_column(const struct csv *csv, const char *name);

#endif
