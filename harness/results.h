/*
 * results.h - the files that come out: results.csv (a row per cell, pass and repeat), timeline.csv
 * and heapmap.csv (from the memory pass), threads.csv (from parallel replays), latency.csv and
 * latency_tail.csv (from the latency pass), run.json. Rows are written and flushed as they become
 * known, and a folder that holds results is never written over.
 */
#ifndef ALLOCLAB_RESULTS_H
#define ALLOCLAB_RESULTS_H

#include <stdio.h>

#include "allocators/lib/error.h"
#include "harness/outcome.h"

struct row_ids { /* the id columns of a row; strings are the caller's */
    unsigned block, order, threads, copies, repeat;
    const char *allocator, *options, *workload, *release, *replay, *affinity, *via, *touch, *door,
        *pass, *rank_group;
};

struct results {
    FILE *rows, *timeline, *heapmap, *threads, *latency, *tail;
    char directory[1024];
    char run_id[64];
};

/* Makes the folder if need be, and the files with their headers. 0, or -1: it holds results
   already, or cannot be written. */
int results_open(struct results *r, const char *directory, struct error *err);
/* One row; and of a memory pass its samples. -1: the disk is full or the like. */
int results_put(struct results *r, const struct row_ids *ids, const struct outcome *outcome,
                struct error *err);
int results_close(struct results *r, struct error *err);

#endif
