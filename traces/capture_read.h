/*
 * capture_read.h - reads a capture (traces/recorder/capture.h) as one sequence of events, in the
 * order of their stamps, and of lanes where those are equal. Memory: 32 bytes a chunk, 200 a lane and
 * 4 a node of its sites; the file is mapped, and what has been read is let go.
 */
#ifndef ALLOCLAB_CAPTURE_READ_H
#define ALLOCLAB_CAPTURE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/lib/error.h"
#include "traces/recorder/capture.h"

struct capture_event {
    uint64_t stamp, address, size;
    uint64_t clock;        /* ticks: between two stamps of a lane its events are spread evenly */
    uint32_t thread, lane; /* thread: from 1, as capture_thread() numbers them */
    uint32_t site;         /* its frame in the table of sites; 0: not known */
    uint8_t kind;          /* enum capture_kind: one that is not a short form of another */
    uint8_t flags, align_log2;
};

struct capture_cut { /* how far a lane is to be read */
    uint64_t lane, words;
    uint32_t sequence;
};

struct sites;

enum {
    CAPTURE_RUN = 512,      /* most events of a run: few, so that they stay in the nearest cache */
    CAPTURE_TIED = 1 << 16, /* events of one stamp that come together, more or less */
};

struct capture_reader { /* the caller reads only what comes before `pieces` */
    const struct capture_header *header;
    const char *path;
    uint64_t *lanes_left;         /* by thread: lanes that still have events */
    uint32_t threads;             /* how many have events */
    uint32_t *numbers;            /* theirs in the file, sorted */
    uint64_t cut_records;         /* of calls, left out because they came after the first loss */
    struct capture_event *events; /* what was read last */
    size_t event_count;
    bool running;
    bool tied; /* they are of several lanes, or may be, and of one stamp: see capture_order.h */
    struct capture_piece *pieces;
    struct capture_lane *lanes;
    struct capture_lane **heap;
    size_t event_room, bytes, piece_count, pieces_read, lane_count, heap_count;
    uint64_t leave_from, leave_end; /* of what has been read since pages were let go */
    struct capture_time latest;     /* the last chunk's */
    double ns_per_tick;
    struct sites *sites; /* the caller may set it before the first event: sites go there */
    bool site_paths;     /* with the paths of modules */
};

/* `running`: its process may still write. 0, or -1: not a capture, or damaged. The path must outlive the
 * reader. */
int capture_open(struct capture_reader *r, const char *path, bool running, struct error *err);

/*
 * Before the first event: reads only what the lanes of `cuts`, and all other lanes up to
 * `lanes_begun`, held when a child was forked. Sorts the cuts.
 */
int capture_limit(struct capture_reader *r, struct capture_cut *cuts, size_t count,
                  uint32_t lanes_begun, struct error *err);

/*
 * Reads the next events: a run of one lane's before any other lane's, or all of one stamp that several
 * lanes have, grouped by lanes. 1, 0: there are no more, -1: damaged.
 */
int capture_read(struct capture_reader *r, struct error *err);

/* The number of the thread that has this one in the file; 0: it has no events. */
uint32_t capture_thread(const struct capture_reader *r, uint32_t number);

/* How much of it has been read, 0 to 1. */
double capture_share(const struct capture_reader *r);

void capture_close(struct capture_reader *r);

/* A stamp's, or a clock's, time in ns after the capture's start. */
static inline uint64_t capture_ns(const struct capture_reader *r, uint64_t stamp)
{
    uint64_t start = r->header->started.stamp;
    int64_t ticks = (int64_t)(stamp - start); /* signed: that is what processors convert */
    if (stamp <= start)
        return 0;
    double ns =
        ticks < 0 ? (double)(stamp - start) * r->ns_per_tick : (double)ticks * r->ns_per_tick;
    return ns < (double)INT64_MAX ? (uint64_t)(int64_t)ns : INT64_MAX;
}

#endif
