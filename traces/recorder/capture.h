/*
 * capture.h - the bytes of a capture: what the recorder leaves while the program runs, and the
 * `capture` format turns into a trace. A capture is private and short-lived: it holds addresses and
 * the command line.
 *
 * File: one header of CAPTURE_HEADER_BYTES, then records of 32 bytes in the machine's own byte
 * order. Record n is the n-th event of the process: a position is taken by one atomic addition, and
 * that is the total order. The file grows by whole segments of CAPTURE_SEGMENT_BYTES; an untouched
 * record reads as kind CAPTURE_NONE, so that the end needs no marker and a killed process loses
 * nothing that was written.
 *
 * Order: what releases an address (free, the begin of a realloc) is stamped before the call, what
 * yields one (alloc, the end of a realloc) after it. So an address is stamped as released before
 * anybody else can be given it, and the records of one address alternate in a correct program.
 */
#ifndef ALLOCLAB_CAPTURE_H
#define ALLOCLAB_CAPTURE_H

#include <assert.h>
#include <stdint.h>

enum capture_kind {
    CAPTURE_NONE,          /* reserved but never filled */
    CAPTURE_ALLOC,         /* address = the result, size = as asked for */
    CAPTURE_CALLOC,        /* size = the product, UINT64_MAX if it overflows */
    CAPTURE_ALIGNED,       /* align_log2 */
    CAPTURE_FREE,          /* address, 0 for NULL; size with CAPTURE_SIZED */
    CAPTURE_REALLOC_BEGIN, /* address = the old block, 0 for NULL; size = as asked for */
    CAPTURE_REALLOC_END,   /* of the same thread's last begin: address = the new block */
    CAPTURE_SCOPE_BEGIN,   /* address = the scope's id, from 1 */
    CAPTURE_SCOPE_END,
    CAPTURE_SCOPE_SWITCH, /* address = the id, 0 for none */
    CAPTURE_THREAD_END,   /* the thread is ending; a few of its ops may follow */
    CAPTURE_THREAD_NAME,  /* up to 16 bytes, not terminated if 16, in address and size */
    CAPTURE_KINDS
};

enum capture_flag {
    CAPTURE_FAILED = 1, /* the call returned no memory */
    CAPTURE_SIZED = 2,  /* a free whose size the program gave */
};

struct capture_record {
    uint64_t address;
    uint64_t size;
    uint64_t clock_ns; /* CLOCK_MONOTONIC; 0 if the clock is off */
    uint32_t thread;   /* of this process, from 1 */
    uint8_t flags;     /* enum capture_flag */
    uint8_t align_log2;
    uint8_t reserved;
    uint8_t kind; /* enum capture_kind; written last */
};

#define CAPTURE_MAGIC           UINT64_C(0x3130504143424c41) /* "ALBCAP01" */
#define CAPTURE_HEADER_BYTES    ((uint64_t)64 << 10)
#define CAPTURE_SEGMENT_BYTES   ((uint64_t)4 << 20)
#define CAPTURE_RECORD_BYTES    sizeof(struct capture_record)
#define CAPTURE_SEGMENT_RECORDS (CAPTURE_SEGMENT_BYTES / CAPTURE_RECORD_BYTES)
#define CAPTURE_NAME_BYTES      64
#define CAPTURE_COMMAND_BYTES   32768
#define CAPTURE_RECORDER        "alloclab-record 1"

struct capture_header {
    uint64_t magic;
    uint32_t header_bytes, record_bytes;
    int64_t started_s;     /* CLOCK_REALTIME at the start of the capture */
    uint64_t lost_records; /* events that found no room, or came before the recorder could start */
    uint64_t
        nested_calls; /* calls made by the allocator itself inside another call: not recorded */
    uint64_t parent_records; /* the parent's records at the fork; meaningful if parent[0] */
    uint32_t fork_thread;    /* the thread that forked, by the parent's number */
    uint32_t pid;
    uint32_t clock;                  /* 0: clock_ns is not filled */
    uint32_t command_bytes;          /* NUL-separated arguments */
    char recorder[32];               /* CAPTURE_RECORDER */
    char parent[CAPTURE_NAME_BYTES]; /* file name of the capture this process was forked from, or ""
                                      */
    char program[256];               /* name of the executable, without its folder */
    char command[CAPTURE_COMMAND_BYTES]; /* may be cut short */
};

static_assert(sizeof(struct capture_record) == 32, "a record is half a cache line");
static_assert(sizeof(struct capture_header) <= CAPTURE_HEADER_BYTES, "the header has a fixed room");

/* The environment that tells the recorder what to do. */
#define CAPTURE_ENV_DIR                                                                            \
    "ALLOCLAB_RECORD_DIR" /* absolute path of an existing folder; unset: record nothing */
#define CAPTURE_ENV_CLOCK "ALLOCLAB_RECORD_CLOCK" /* "no": leave clock_ns 0 */
#define CAPTURE_ENV_ONLY                                                                           \
    "ALLOCLAB_RECORD_ONLY" /* a pid: record that process only, in each of its images */

#endif
