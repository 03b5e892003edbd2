/*
 * results.h - the files that come out: results.csv (a row per cell, pass and repeat), timeline.csv,
 * heapmap.csv and classes.csv (from the memory pass), drain.csv (from the drain pass), threads.csv
 * (from parallel replays), latency.csv and latency_tail.csv (from the latency pass), counters.csv
 * (from the counters pass), open.csv (from the open pass), comparisons.csv (at the end), run.json. Rows are written and flushed as
 * they become known, a file is made with its first row, and a folder that holds results is never
 * written over.
 */
#ifndef ALLOCLAB_RESULTS_H
#define ALLOCLAB_RESULTS_H

#include <stdio.h>

#include "allocators/lib/error.h"
#include "harness/counter_group.h"
#include "harness/outcome.h"

struct row_ids { /* the id columns of a row; strings are the caller's */
    unsigned block, order, threads, copies, repeat;
    const char *allocator, *options, *workload, *release, *replay, *affinity, *via, *touch, *door,
        *pass, *rank_group, *thp;
};

/* A file each; its name, columns and source are rows of the table in results.c. */
enum results_table {
    RESULTS_ROWS,
    RESULTS_TIMELINE,
    RESULTS_HEAPMAP,
    RESULTS_CLASSES,
    RESULTS_DRAIN,
    RESULTS_THREADS,
    RESULTS_LATENCY,
    RESULTS_TAIL,
    RESULTS_COMPARISONS,
    RESULTS_COUNTERS,
    RESULTS_LOCALITY,
    RESULTS_OPEN,
    RESULTS_TABLES
};

struct results {
    FILE *file[RESULTS_TABLES]; /* NULL until there is a row for it */
    char directory[1024];
    char run_id[64];
    const struct counter_list *counters; /* what the counters of an outcome are */
    const struct counter_place *place;
};

/* Makes the folder if need be, and results.csv with its header. 0, or -1: it holds results
   already, or cannot be written. */
int results_open(struct results *r, const char *directory, struct error *err);
/* One row, and what else the cell left for the other files. -1: the disk is full or the like. */
int results_put(struct results *r, const struct row_ids *ids, const struct outcome *outcome,
                struct error *err);
/* One row of comparisons.csv: the cells that are compared, and those they are compared with. */
struct comparison;
int results_put_comparison(struct results *r, const struct row_ids *ids, const struct row_ids *base,
                           const struct comparison *comparison, struct error *err);
void results_list(const struct results *r, FILE *stream); /* names of the files so far */
int results_close(struct results *r, struct error *err);

#endif
