/*
 * stored.h - a results folder read back: the cells of its results.csv, each with the values of all
 * its rows, found by what the cell is (the id columns of metrics.h).
 */
#ifndef ALLOCLAB_STORED_H
#define ALLOCLAB_STORED_H

#include <stdint.h>

#include "allocators/lib/error.h"
#include "harness/outcome.h"

struct stored_values { /* of one metric, in the rows' order, of rows that are ok */
    double *list;
    unsigned count;
    uint64_t room;
};

struct stored_cell {
    char *key;       /* the id columns */
    char *loose_key; /* these without what a new option of a design or of the door changes */
    char *label;     /* for people: what tells it from other cells */
    char *options;
    unsigned rows, ok, not_applicable, disturbed;
    char *detail; /* of the first row that failed: "status: detail"; NULL = none did */
    struct stored_values value[METRIC_COUNT];
};

struct stored {
    const char *directory; /* the caller's */
    struct stored_cell *cells;
    unsigned count;
    uint64_t room;
    bool has[METRIC_COUNT]; /* columns that the file has */
};

/* 0, or -1 with a message (file and line) and nothing to close. */
int stored_open(struct stored *s, const char *directory, struct error *err);
void stored_close(struct stored *s);

/* The cell of that key, or NULL. */
struct stored_cell *stored_find(const struct stored *s, const char *key);

#endif
