/*
 * capture.h - turns the recorder's captures into traces, with what `alloclab record` wants to know
 * besides.
 */
#ifndef ALLOCLAB_FORMATS_CAPTURE_H
#define ALLOCLAB_FORMATS_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "traces/formats/format.h"

struct capture_options {
    bool whole_command; /* the command line with its arguments goes into the trace, not only its
                           name */
    bool clock;         /* keep the clock */
    bool paths;         /* of modules that sites are in go into the trace, not only their names */
    bool running; /* its process, or its parent's, may still write: read as far as it is whole */
};

struct capture_report {
    struct import_report odd;
    uint64_t repaired;     /* events that equal stamps left in an order that cannot be, put right */
    uint64_t lost_records; /* the recorder found no room for them, or they came after one such */
    uint64_t lost_at_ns;   /* after the start: the first of them; 0: none */
    uint64_t unseen_frees; /* of recorded objects, while the recording was stopped */
    uint64_t stops;        /* how often it was */
    uint64_t nested_calls; /* the allocator's own: not part of the program */
    uint64_t siteless_calls;  /* whose site could not be noted: the recorder had no memory for it */
    uint64_t unseen_children; /* forked where no file could be made */
    uint64_t skipped_calls;   /* of objects that are not in the sample */
    uint64_t odd_marks;       /* ends of, or switches to, a scope that is not open: dropped */
    uint64_t clamped_sizes;   /* larger than a trace can say */
    uint64_t inherited_objects;
    uint32_t pid;
    bool forked; /* a child of a recorded process, in the same image */
    char program[256];
};

/*
 * Reads the capture at `path`, and those of the processes it was forked from, which must lie beside
 * it, and writes its trace to `out`. 0, or -1: not a capture, or damaged; err says where. Memory
 * follows what is live at a time (heap_map.h, and live_table.h in the writer), whatever the length of the capture; and
 * the captures are mapped, some MiB of them at a time.
 */
int capture_convert(const char *path, struct trace_writer *out,
                    const struct capture_options *options, struct capture_report *report,
                    struct error *err);

#endif
