/*
 * locality.h - what a replay executes, and where its memory accesses miss, on a simulated machine:
 * the cell's process runs under valgrind's callgrind, once with a model of the caches and once with
 * one of the TLBs (their lines are pages), and callgrind counts only while locality_counted() runs.
 *
 *     session                          process of the cell, under callgrind
 *     locality_run() --- cell_run() -> locality_pass(): the plan once, not counted (the heap has
 *       once for each model              its pages then, and the models are warm), and once counted
 *     totals <------- memfd ---------- callgrind's output: the counts of the second replay
 *
 * The counts repeat to the digit: the clock and the CPU are virtual, valgrind lays out the address
 * space in the same way each time, and the pass puts its stack where the environment's size does
 * not show.
 */
#ifndef ALLOCLAB_LOCALITY_H
#define ALLOCLAB_LOCALITY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "allocators/lib/error.h"

/* What callgrind counts, by its own names: instructions, data reads and writes, misses of the first
   level (instructions, reads, writes) and of the last. */
#define LOCALITY_EVENTS(X) X(Ir) X(Dr) X(Dw) X(I1mr) X(D1mr) X(D1mw) X(ILmr) X(DLmr) X(DLmw)

enum locality_event {
#define LOCALITY_ENUM(name) LOCALITY_##name,
    LOCALITY_EVENTS(LOCALITY_ENUM)
#undef LOCALITY_ENUM
        LOCALITY_EVENT_COUNT
};

enum locality_model { LOCALITY_CACHE, LOCALITY_TLB, LOCALITY_MODELS };

struct locality_geometry {
    const char *name;         /* of the model */
    const char *first, *last; /* levels: bytes, ways, bytes of a line */
    const char *options[3];   /* the same for callgrind, instructions and data apart */
};

extern const struct locality_geometry locality_geometries[]; /* by enum locality_model */
extern const char *const locality_event_names[];             /* by enum locality_event */

struct locality { /* of a cell; all zero: not measured */
    bool known;
    char source[32]; /* who simulated, with its version */
    uint64_t count[LOCALITY_MODELS][LOCALITY_EVENT_COUNT];
};

struct cell;
struct outcome;
struct replay;

/* Runs the cell under each model and fills the outcome, as cell_run() does without. */
void locality_run(const struct cell *cell, struct outcome *outcome, void (*idle)(void *),
                  void *arg);

/* Reads callgrind's output: its totals by the events' names (zeros at the end of the line are left
 * out there), and who wrote it. 0, or -1 with a message. */
int locality_totals(FILE *file, uint64_t count[LOCALITY_EVENT_COUNT], char *source, size_t bytes,
                    struct error *err);

/* Replays runs [from, to): what is counted. False if memory ran out. */
bool locality_counted(struct replay *r, uint64_t from, uint64_t to);

#endif
