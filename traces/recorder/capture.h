/*
 * capture.h - the bytes of a capture: what the recorder leaves while the program runs, and the
 * `capture` format turns into a trace. A capture is private and short-lived: it holds addresses and
 * the command line. All integers are in the machine's own byte order.
 *
 * File: a header of CAPTURE_HEADER_BYTES, then chunks, each at a multiple of CAPTURE_CELL_BYTES.
 * What is between them is zero, or torn. A chunk holds words of one *lane*: a thread writes into
 * one lane, and into another one while a signal handler has interrupted it there. A lane's room is
 * a chunk that is mapped (CAPTURE_ROOM); when it is full, its words are written to a chunk of
 * their own, and the room, or another one of the lane, begins anew with the next sequence number. So
 * the words of a lane are those of its chunks in the order of their sequence numbers; where a room and
 * a chunk have the same one, the room counts, because the chunk may be torn, or not written yet.
 *
 * Words of a room count up to `words`, which is stored after them: a process that is killed at any
 * moment leaves whole records.
 *
 * A record is one word, or four if a value is out of reach of the short form:
 *
 *     short, with a size     kind 4 | stamp 17 | region 1 | size 16 | address 26 bits (from bit 0)
 *     short, without         kind 4 | stamp 17 | region 1 | address 42
 *     short, of NULL         kind 4 | stamp 17 | size 43
 *     long                   kind 4 | its kind 8 | flags 8 | log2 of the alignment 8; then three
 *                            words: stamp, address, size
 *
 * Where sites are recorded, a word may stand before a record and say which site its call has, and
 * others what that is. They are no events and have no stamp; each lane counts its own:
 *
 *     site                   kind 4 | number of a node 32: of the record that follows
 *     node                   kind 4 | number of the node that called it, 0: none 32 | module 16; then
 *                            a word: the place as an ELF file's addresses count, of the call, that is
 *                            the return address less 1. Nodes are numbered in their order from 1
 *     module                 kind 4 | bytes of the build id 8 | of the name 16; then both, each as
 *                            whole words. Modules are numbered in their order from 1; 0: a place that
 *                            is in none, and has no address then
 *     forget                 kind 4: nodes and modules are counted from 1 again
 *
 * Stamps are differences to the stamp before. Addresses are differences / 16, signed, to the last
 * one of the same region, rounded down to 16; bit 45 of an address is its region, because a heap
 * that grows from the program's end and those that are mapped differ in it. A long record holds
 * both as they are. The values before a chunk's first record are in the chunk.
 *
 * Stamps are readings of one clock that all lanes share and that stands still between two moves. A
 * lane moves it on after CAPTURE_GROUP records at the latest, and with each record where they are
 * rare.
 *
 * Order: what releases an address (free, the begin of a realloc) is stamped before the call, what
 * yields one (alloc, the end of a realloc) after it. So whatever happened before another event has
 * at most its stamp. Records of different lanes with the same stamp are in no order; the records of
 * one address alternate in a correct program, and that leaves few possible ones.
 */
#ifndef ALLOCLAB_CAPTURE_H
#define ALLOCLAB_CAPTURE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum capture_kind {
    CAPTURE_NONE,
    /* short forms exist of these, and their kinds fit into 4 bits */
    CAPTURE_ALLOC,         /* address = the result, size = as asked for */
    CAPTURE_CALLOC,        /* size = the product, UINT64_MAX if it overflows */
    CAPTURE_FREE,          /* address, 0 for NULL */
    CAPTURE_REALLOC_BEGIN, /* address = the old block, 0 for NULL; size = as asked for */
    CAPTURE_REALLOC_END,   /* of the same thread's last open begin: address = the new block */
    CAPTURE_FREE_SIZED,    /* size = as the program gave it */
    CAPTURE_FREE_NULL,     /* short form of free(NULL) */
    CAPTURE_REALLOC_NULL,  /* short form of the begin of realloc(NULL, size) */
    CAPTURE_SITE,          /* this and the next three are no events: see above */
    CAPTURE_NODE,
    CAPTURE_MODULE,
    CAPTURE_FORGET,
    CAPTURE_LONG = 15,
    /* these are long */
    CAPTURE_ALIGNED,     /* with the alignment */
    CAPTURE_SCOPE_BEGIN, /* address = the scope's id, from 1 */
    CAPTURE_SCOPE_END,
    CAPTURE_SCOPE_SWITCH, /* address = the id, 0 for none */
    CAPTURE_THREAD_END,   /* the thread is ending; a few of its ops may follow */
    CAPTURE_THREAD_NAME,  /* up to 16 bytes, not terminated if 16, in address and size */
    CAPTURE_CUT,          /* of a forked child: how far lane `address` of its parent had got: size =
                             sequence << 32 | words */
    CAPTURE_START, /* recording begins, or goes on; what happened since the stop is unknown */
    CAPTURE_STOP,
    CAPTURE_KINDS
};

enum capture_flag {
    CAPTURE_FAILED = 1, /* the call returned no memory */
    CAPTURE_LEFT = 2,   /* the end of a realloc whose result is not in the sample */
};

enum {
    CAPTURE_KIND_BITS = 4,
    CAPTURE_STAMP_BITS = 17,
    CAPTURE_REGION_AT = 21,
    CAPTURE_SIZE_AT = 22,
    CAPTURE_SIZE_BITS = 16,
    CAPTURE_NEAR_AT = 38, /* the address beside a size */
    CAPTURE_FAR_AT = 22,  /* the address alone */
    CAPTURE_NULL_AT = 21, /* the size of NULL */
    CAPTURE_GRAIN = 4,    /* log2 of the unit of address differences */
    CAPTURE_LONG_WORDS = 4,
    CAPTURE_CALLER_AT = 4, /* and a site's number */
    CAPTURE_CALLER_BITS = 32,
    CAPTURE_MODULE_AT = 36,
    CAPTURE_MODULE_BITS = 16,
    CAPTURE_BUILD_AT = 4, /* bytes of a module's build id */
    CAPTURE_BUILD_BITS = 8,
    CAPTURE_NAME_AT = 12, /* bytes of its name */
    CAPTURE_NAME_BITS = 16,
    CAPTURE_DEPTH = 256, /* most frames of a stack */
};

#define CAPTURE_MAGIC         UINT64_C(0x3330504143424c41) /* "ALBCAP03" */
#define CAPTURE_CHUNK_MAGIC   UINT64_C(0x6b6e756863424c41) /* "ALBchunk"; plus the chunk's offset */
#define CAPTURE_HEADER_BYTES  ((uint64_t)64 << 10)
#define CAPTURE_CELL_BYTES    ((uint64_t)4 << 10)
#define CAPTURE_ROOM_BYTES    ((uint64_t)64 << 10)
#define CAPTURE_CHUNK_WORDS   ((CAPTURE_ROOM_BYTES - sizeof(struct capture_chunk)) / sizeof(uint64_t))
#define CAPTURE_NAME_BYTES    64
#define CAPTURE_COMMAND_BYTES 32768
#define CAPTURE_RECORDER      "alloclab-record 3"
#define CAPTURE_GROUP         32      /* most records of a lane between two moves of the clock */
#define CAPTURE_SLOW_PER_S    1000000 /* records that are rarer than that are timed one by one */

enum capture_sites { CAPTURE_SITES_NO, CAPTURE_SITES_CALLER, CAPTURE_SITES_STACK };

struct capture_time {
    uint64_t stamp, ns; /* at the same moment; CLOCK_MONOTONIC */
};

enum { CAPTURE_FULL_CHUNK, CAPTURE_ROOM };

struct capture_chunk { /* followed by its words */
    uint64_t magic;
    uint32_t lane, thread; /* of this process, from 1 */
    uint32_t sequence;     /* in its lane, from 0 */
    uint32_t type;         /* CAPTURE_ROOM: CAPTURE_ROOM_BYTES belong to it */
    uint64_t words;
    uint64_t stamp, address[2];  /* those before the first record */
    struct capture_time written; /* a time at which all of it was there; of a room perhaps 0 */
    uint64_t reserved[7];
};

struct capture_header {
    uint64_t magic; /* written last */
    uint32_t header_bytes, room_bytes;
    int64_t started_s; /* CLOCK_REALTIME at the start of the capture */
    struct capture_time started;
    uint64_t ticks_per_s; /* of the stamps, as measured before the start */
    uint64_t
        lost_records; /* of calls: they found no room, or came before the recorder could start */
    struct capture_time lost; /* the last stamp before the first loss, and when that was; or 0 */
    uint64_t nested_calls;    /* made by the allocator itself inside another call: not recorded */
    uint64_t skipped_calls;   /* not in the sample */
    uint64_t siteless_calls;  /* whose site is not known: no memory, or no room, for its table */
    uint64_t record_ps;       /* what a record costs, measured at the start */
    uint32_t by_counter;      /* stamps are the time stamp counter's; else CLOCK_MONOTONIC in ns */
    uint32_t lanes_at_fork;   /* of the parent; meaningful if parent[0] */
    uint32_t fork_thread;     /* the thread that forked, by the parent's number */
    uint32_t pid;
    uint32_t each;            /* each record is timed */
    uint32_t sample;          /* one object in so many is recorded */
    uint32_t command_bytes;   /* NUL-separated arguments */
    uint32_t sites;           /* enum capture_sites */
    uint32_t unseen_children; /* forked where no file could be made, and their own ones */
    uint32_t reserved;
    char recorder[32];               /* CAPTURE_RECORDER */
    char parent[CAPTURE_NAME_BYTES]; /* file name of the capture this process was forked from, or ""
                                      */
    char program[256];               /* name of the executable, without its folder */
    char command[CAPTURE_COMMAND_BYTES]; /* may be cut short */
};

static_assert(sizeof(struct capture_chunk) == 128, "a chunk's head is two cache lines");
static_assert(sizeof(struct capture_header) <= CAPTURE_HEADER_BYTES, "the header has a fixed room");
static_assert(offsetof(struct capture_header, recorder) % sizeof(uint64_t) == 0,
              "what is read as words stays whole words");

/* True if the kind's address is one of memory. */
static inline int capture_is_memory(unsigned kind)
{
    return kind <= CAPTURE_FREE_SIZED || kind == CAPTURE_ALIGNED;
}

/* True if it is what is counted of a call: a realloc is counted by its end. */
static inline int capture_is_call(unsigned kind)
{
    return capture_is_memory(kind) && kind != CAPTURE_REALLOC_BEGIN;
}

/* True if an object at this address is in a sample of one in n. */
static inline int capture_sampled(uint64_t address, uint32_t n)
{
    uint64_t hash = (address >> CAPTURE_GRAIN) * UINT64_C(0x9e3779b97f4a7c15);
    return (hash >> 32) * n >> 32 == 0;
}

/*
 * Beside the captures: what the processes started, if `record` made the file. A line is written before each
 * exec: PID NS WORD PATH, where NS is CLOCK_MONOTONIC. A process whose exec has no later capture was not recorded.
 * What a process in a seccomp sandbox writes is in a file of another name that begins so, and ends at the first 0.
 */
#define CAPTURE_LIBRARY      "liballoclab-record.so"
#define CAPTURE_EXECS        "execs"
#define CAPTURE_EXEC_WITH    "with"    /* the recorder is in the LD_PRELOAD of the new image */
#define CAPTURE_EXEC_WITHOUT "without" /* it is not */
#define CAPTURE_EXEC_CLOSED  "closed"  /* it is, but the new image begins in a seccomp sandbox */
#define CAPTURE_EXEC_FAILED  "failed"  /* after the call: nothing was started */

/* The environment that tells the recorder what to do. */
#define CAPTURE_ENV_DIR                                                                            \
    "ALLOCLAB_RECORD_DIR" /* absolute path of an existing folder; unset: record nothing */
#define CAPTURE_ENV_CLOCK "ALLOCLAB_RECORD_CLOCK" /* "each": time each record */
#define CAPTURE_ENV_ONLY                                                                           \
    "ALLOCLAB_RECORD_ONLY" /* a pid: that process only, in each of its images; or a program's name */
#define CAPTURE_ENV_START  "ALLOCLAB_RECORD_START"  /* "off": not before a start */
#define CAPTURE_ENV_SIGNAL "ALLOCLAB_RECORD_SIGNAL" /* its number: starts and stops */
#define CAPTURE_ENV_SAMPLE "ALLOCLAB_RECORD_SAMPLE" /* N: one object in N */
#define CAPTURE_ENV_SITES                                                                          \
    "ALLOCLAB_RECORD_SITES" /* "caller", or how many frames of the stack; unset: no sites */
#define CAPTURE_ENV_TICKS                                                                          \
    "ALLOCLAB_RECORD_TICKS" /* of the time stamp counter a second; 0 or unset: it is no clock */

#endif
