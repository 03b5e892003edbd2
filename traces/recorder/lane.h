/*
 * lane.h - how an event gets into the capture: each thread writes words into a lane of its own,
 * whose room is a piece of the capture that is mapped. A record is in the file as soon as its words
 * are stored and counted, so that a killed process loses nothing; capture.h has the bytes.
 *
 * A put takes the lane away from the guard first, and gives it back last. Who comes meanwhile, a
 * signal handler in the same thread, finds a limit of 0 and takes the slow way, to an inner lane.
 * In a forked child all limits are 0 too, because guards lie on pages that the kernel wipes: so the
 * child's first put of any thread takes the slow way, which opens a capture of its own. A put is
 * thus ready for everything at the price of one comparison.
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
#include <stdint.h>

#include "traces/recorder/capture.h"
#include "traces/recorder/site.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct guard {
    _Alignas(64) _Atomic uint32_t limit; /* words; 0: not now */
};

struct lane {
    struct guard *guard;
    struct capture_chunk *chunk; /* its room; NULL: none yet */
    uint64_t stamp, address[2];  /* of the last record */
    uint32_t used;               /* words */
    uint32_t left;               /* records until it moves the clock on */
    uint32_t id, thread, sequence;
    uint32_t group; /* records between two moves of the clock */
    uint64_t moved; /* to where, last */
    _Atomic bool claimed;
    _Atomic int ending;  /* the thread's id for the kernel: when that is gone, the lane is free */
    struct lane *inner;  /* for who interrupts a put into this one */
    uint32_t records;    /* counted where stamps are no clock */
    struct sites *sites; /* NULL: none yet */
};

struct self { /* what a thread knows of itself */
    struct lane *lane;
    uint32_t number;           /* 0: no event yet */
    unsigned destructor_round; /* how often the key's destructor has run in this thread */
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
extern _Atomic uint64_t lane_clock;

/* Sets the clock to the time; the stamp is that. */
__attribute__((noinline)) uint64_t lane_clock_move(struct lane *lane);

/* The put could not have the lane, or found `limit` words used. Keeps errno. */
__attribute__((noinline, cold)) void lane_put_slow(uint32_t limit, struct record r,
                                                   const struct frame *frame);
/* The record in its long form. */
__attribute__((noinline, cold)) void lane_write_long(struct lane *l, const struct record *r,
                                                     uint64_t stamp, uint32_t at);

static inline uint64_t stamp_now(struct lane *lane)
{
    if (UNLIKELY(--lane->left == 0))
        return lane_clock_move(lane);
    atomic_thread_fence(memory_order_acquire); /* after what the call has read; free on x86-64 */
    return atomic_load_explicit(&lane_clock, memory_order_acquire);
}

/* Stores one word and what it leaves behind, and counts it: the compiler keeps this order. */
static inline void lane_commit(struct lane *l, uint32_t at, uint64_t word, uint64_t stamp)
{
    uint64_t *words = (uint64_t *)(l->chunk + 1);
    words[at] = word;
    l->stamp = stamp;
    l->used = at + 1;
    atomic_signal_fence(memory_order_release);
    __atomic_store_n(&l->chunk->words, at + 1, __ATOMIC_RELAXED);
}

/* Makes room for so many words before a put, which finds its own too. False: there is none. */
__attribute__((noinline, cold)) bool lane_reserve(struct lane *l, uint32_t words);

/* Counts words that were stored, of records that are no events. */
static inline void lane_count(struct lane *l, uint32_t used)
{
    l->used = used;
    __atomic_store_n(&l->chunk->words, used, __ATOMIC_RELEASE);
}

/* One record into a lane that is ours and has room. Inlined, so that a kind that is known leaves
 * only its own form. */
static inline __attribute__((always_inline)) void lane_write(struct lane *l, const struct record r,
                                                             const struct frame *frame)
{
    uint32_t site_words = frame ? site_put(l, frame) : 0, at = l->used + site_words;
    uint64_t stamp = stamp_now(l), since = stamp - l->stamp;
    unsigned region = r.address >> 45 & 1;
    uint64_t apart = r.address - l->address[region];
    uint64_t word = r.kind | since << CAPTURE_KIND_BITS | (uint64_t)region << CAPTURE_REGION_AT;
    uint64_t over = since >> CAPTURE_STAMP_BITS | (r.address & 15) | r.flags;
    if (r.kind == CAPTURE_FREE || r.kind == CAPTURE_REALLOC_END) {
        over |= (apart + (UINT64_C(1) << 45)) >> 46;
        word |= apart << (CAPTURE_FAR_AT - CAPTURE_GRAIN);
    } else if (r.kind <= CAPTURE_FREE_SIZED) {
        over |= (apart + (UINT64_C(1) << 29)) >> 30 | r.size >> CAPTURE_SIZE_BITS;
        word |= apart << (CAPTURE_NEAR_AT - CAPTURE_GRAIN) | r.size << CAPTURE_SIZE_AT;
    } else {
        over = 1;
    }
    if (UNLIKELY(over || !r.address)) {
        const struct record rare = r; /* in memory only here */
        lane_write_long(l, &rare, stamp, at);
        return;
    }
    l->address[region] = r.address;
    lane_commit(l, at, word, stamp);
}

static inline __attribute__((always_inline)) void lane_put(const struct record r,
                                                           const struct frame *frame)
{
    struct lane *l = self.lane;
    struct guard *guard = l->guard;
    uint32_t limit = atomic_load_explicit(&guard->limit, memory_order_relaxed);
    atomic_store_explicit(&guard->limit, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (UNLIKELY(l->used >= limit)) {
        lane_put_slow(limit, r, frame);
        return;
    }
    lane_write(l, r, frame);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&guard->limit, limit, memory_order_relaxed);
}

/* ---- for the sink ---- */

/* A lane for the calling thread, or NULL: the capture is full. */
struct lane *lane_acquire(void);

/* In a forked child: tells `cut` of each lane of the parent, and forgets them all. */
void lanes_forget(void);
void lanes_cut(void (*cut)(const struct lane *lane));
uint32_t lanes_begun(void);

/* Makes lanes for some threads to come. */
void lanes_prepare(void);

/* The thread is in its last destructors. */
void lane_ends(void);

/* What a record costs, in ps: measured on a lane that is nobody's. */
uint64_t lane_cost(void);

#endif
