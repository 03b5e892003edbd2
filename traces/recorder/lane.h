/*
 * lane.h - how an event gets into the capture: each thread writes words into a lane of its own,
 * whose room is a piece of the capture that is mapped. A record is in the file as soon as its words
 * are stored and counted, so that a killed process loses nothing; capture.h has the bytes.
 *
 * A put takes the lane away from the guard first, and gives it back last. Who comes meanwhile, a
 * signal handler in the same thread, finds the lane shut and takes the slow way, to an inner lane.
 * In a forked child all are shut too, because guards lie on pages that the kernel wipes: so the
 * child's first put of any thread takes the slow way, which opens a capture of its own. A put is
 * thus ready for everything at the price of one comparison.
 *
 * The short way is for records of one word with the last one's stamp that find nothing else to do:
 * the same comparison says that the room is not full and the clock not due, since both are places in
 * the room. It calls nothing, so that who takes it saves few registers; all the rest is
 * lane_put_rest()'s.
 *
 * Stamps are read from one word that all threads share, and that whoever has made a few records
 * sets to the time. So a stamp costs a load: reading a processor's time stamp counter stops many
 * processors from running ahead, which costs a program that waits for memory far more than the
 * instruction seems to. Loads are in order: a thread that learned from another one what to release
 * reads a stamp that is at least the other's. Equal stamps say nothing about the order, and there
 * are few of them, for each thread moves the clock on after CAPTURE_GROUP records at the latest.
 */
#ifndef ALLOCLAB_LANE_H
#define ALLOCLAB_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traces/recorder/capture.h"
#include "traces/recorder/site.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct guard {
    _Alignas(64) _Atomic uint32_t open; /* UINT32_MAX, or 0: not now */
};

/* Of a lane whose rooms another process writes: one is filled while others wait. */
enum {
    LANE_ROOMS = 6,
    LANE_SPARES_AFTER = 4, /* rooms that it has filled alone */
};

struct lane {
    _Alignas(64) struct guard *guard;
    struct capture_chunk *chunk; /* the room that is filled; NULL: none yet */
    uint64_t stamp, address[2];  /* of the last record */
    uint32_t used;               /* words */
    uint32_t stop; /* short records begin before it: of `due` and LANE_LIMIT the least */
    uint32_t due;  /* the record that begins here moves the clock on */
    uint32_t id, thread, sequence;
    uint32_t group; /* records between two moves of the clock */
    uint64_t moved; /* to where, last */
    _Atomic bool claimed;
    _Atomic int ending;  /* the thread's id for the kernel: when that is gone, the lane is free */
    struct lane *inner;  /* for who interrupts a put into this one */
    struct sites *sites; /* NULL: none yet */
    struct capture_chunk *rooms[LANE_ROOMS];
    struct flush_entry *entries; /* theirs; NULL: it writes its room itself */
    uint32_t room;               /* which one is filled */
    bool alone;                  /* for good */
};

struct self { /* what a thread knows of itself: what each call needs of it lies on one cache line */
    _Alignas(64) struct lane *lane;
    const void *noted; /* the last block noted as given out */
    const void *sized_address;
    size_t sized_bytes;        /* the hint of a sized delete for the free of that address */
    bool inside;               /* in the next allocator: further calls are its own */
    bool resolving;            /* in the dynamic linker: further allocations come from the arena */
    uint16_t destructor_round; /* how often the key's destructor has run in this thread */
    uint32_t number;           /* 0: no event yet */
    uintptr_t outer,
        outer_sp; /* of a C++ operator under way: its caller, and where its stack begins */
    void *caller; /* in the library that called the last operator that was looked up */
};

struct hot { /* what each call needs of what all threads share, on another cache line */
    _Alignas(64) _Atomic uint64_t clock;
    _Atomic uint8_t aside, aside_frees; /* why calls, and those that release, go aside: sink.h */
    void *(*malloc)(size_t);            /* the next definitions */
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
};

struct record {
    uint64_t address, size;
    enum capture_kind kind;
    uint8_t flags, align_log2;
};

enum {
    LANE_MOST_WORDS = 1 + CAPTURE_LONG_WORDS, /* of one put: a site, and the record */
    LANE_LIMIT = (int)CAPTURE_CHUNK_WORDS - LANE_MOST_WORDS + 1,
};

extern _Thread_local struct self self;
extern struct hot hot;

static inline uint64_t stamp_read(void)
{
    atomic_thread_fence(memory_order_acquire); /* after what the call has read; free on x86-64 */
    return atomic_load_explicit(&hot.clock, memory_order_acquire);
}

/* Stores one word and what it leaves behind, and counts it: the compiler keeps this order. */
static inline void lane_commit(struct lane *l, uint32_t at, uint64_t word)
{
    struct capture_chunk *chunk = l->chunk;
    ((uint64_t *)(chunk + 1))[at] = word;
    l->used = at + 1;
    atomic_signal_fence(memory_order_release);
    __atomic_store_n(&chunk->words, at + 1, __ATOMIC_RELAXED);
}

/* Makes room for so many words before a put, which finds its own too. False: there is none. */
__attribute__((noinline, cold)) bool lane_reserve(struct lane *l, uint32_t words);

/* Counts words that were stored, of records that are no events. */
static inline void lane_count(struct lane *l, uint32_t used)
{
    l->used = used;
    __atomic_store_n(&l->chunk->words, used, __ATOMIC_RELEASE);
}

/* A distance in the unit of addresses; what is no multiple of that is out of reach. */
static inline uint64_t grains(uint64_t bytes)
{
    return bytes >> CAPTURE_GRAIN | bytes << (64 - CAPTURE_GRAIN);
}

/* The word of a record in its short form, if its stamp is the last one; false: it has none. Inlined,
 * so that a kind that is known leaves only its own form. */
static inline __attribute__((always_inline)) bool lane_short(const struct lane *l,
                                                             const struct record r, uint64_t *word)
{
    unsigned region = r.address >> 45 & 1;
    uint64_t apart = r.address - l->address[region], over;
    *word = r.kind | (uint64_t)region << CAPTURE_REGION_AT;
    if (r.kind == CAPTURE_FREE || r.kind == CAPTURE_REALLOC_END) {
        over = grains(apart + (UINT64_C(1) << 45)) >> 42;
        *word |= apart << (CAPTURE_FAR_AT - CAPTURE_GRAIN);
    } else if (r.kind <= CAPTURE_FREE_SIZED) {
        over = grains(apart + (UINT64_C(1) << 29)) >> 26 | r.size >> CAPTURE_SIZE_BITS;
        *word |= apart << (CAPTURE_NEAR_AT - CAPTURE_GRAIN) | r.size << CAPTURE_SIZE_AT;
    } else {
        over = 1;
    }
    return !(over | r.flags) && r.address;
}

/* The short way: false, and nothing happened, if the record has to take another one. */
static inline __attribute__((always_inline)) bool lane_put_short(struct lane *l,
                                                                 const struct record r)
{
    struct guard *guard = l->guard;
    uint32_t open = atomic_load_explicit(&guard->open, memory_order_relaxed);
    atomic_store_explicit(&guard->open, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    uint32_t used = l->used;
    if (UNLIKELY(used >= (l->stop & open))) {
        atomic_store_explicit(&guard->open, open, memory_order_relaxed);
        return false;
    }
    uint64_t word;
    bool put = stamp_read() == l->stamp && lane_short(l, r, &word);
    if (LIKELY(put)) {
        l->address[r.address >> 45 & 1] = r.address;
        lane_commit(l, used, word);
    }
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&guard->open, UINT32_MAX, memory_order_relaxed);
    return put;
}

/* What a record is, in one register. */
static inline uint32_t lane_pack(const struct record r)
{
    return (uint32_t)r.kind | (uint32_t)r.flags << 8 | (uint32_t)r.align_log2 << 16;
}

/* Puts it in whatever way; the address once more, so that who yields it can end with this. */
__attribute__((noinline)) uint64_t lane_put_rest(uint32_t packed, uint64_t address, uint64_t size,
                                                 const struct frame *frame);

static inline __attribute__((always_inline)) void lane_put(const struct record r,
                                                           const struct frame *frame)
{
    if (frame || UNLIKELY(!lane_put_short(self.lane, r)))
        lane_put_rest(lane_pack(r), r.address, r.size, frame);
}

/* ---- for the sink ---- */

/* A lane for the calling thread, or NULL: the capture is full. */
struct lane *lane_acquire(void);

/* In a forked child: takes the rooms that its thread may be writing in out of reach; forgets all lanes of
 * the parent, and tells `cut` of each. */
void lanes_leave(void);
void lanes_forget(void);
void lanes_cut(void (*cut)(const struct lane *lane));
uint32_t lanes_begun(void);

/* Makes lanes for some threads to come. */
void lanes_prepare(void);

/* The thread is in its last destructors. */
void lane_ends(void);

/* CLOCK_MONOTONIC. Stopped, neither that nor the counter is read, and both give the time of the stop. */
uint64_t lane_ns(void);
void lane_time_stop(bool stop);

/* What a record costs, in ps: measured on a lane that is nobody's. */
uint64_t lane_cost(void);

#endif
