/*
 * central.h - the central list of one size class: spans cut into objects, and a depot of whole
 * batches in front of them. Caches take batches from it and give them back; nothing else touches
 * its spans.
 *
 *     chains      |batch|batch| ...    at most CHAINS, as they were given; none of objects
 *                                   that are larger than BATCH_BYTES
 *     partial[s][3]  span -> span ...  those with a free object, or not carved to their end, by side
 *               [0]  span -> ...       and quarters: at most 1/4 of a span in [0] is in use
 *
 *     span         | object | object | ... | object | not carved yet | rest |
 *     free object  | next 8 | seal 8 | ............ |     seal = next ^ address ^ secret
 *
 * The seal tells free objects from live ones: an object in use looks sealed with probability 2^-64,
 * as long as who takes an object out of a list breaks the seal. It also tells when a free object
 * was written over. A span is carved from its start, a batch at a time, so that what was never
 * handed out is never touched. Objects are taken from the fullest quarter that has a span, so that
 * the emptier ones have time to become empty; an empty span goes back to the pages.
 *
 * Sides. Every cache is of one of SIDES sides, every span of the side that took it last, and a batch
 * in the depot of the side of its first object's span. A cache takes batches and objects of its own
 * side first, so threads of different sides seldom have objects in the same cache line. Through one
 * list for all, each batch that two threads trade would put objects of one between those of the
 * other, and every write to an object would take its line from the other CPU. Batches and spans
 * change sides where a side has nothing left and new spans would be a waste: when more than
 * 1/ROOM_PART of the class's objects, and ROOM_BYTES, are free in spans and depot, which is what
 * sides cost in memory; and batches when the depot is full, as own ones need the room.
 *
 * Invariants (central_span_check): a span's free, live and not carved objects sum to its objects;
 * all free ones are sealed; it is in a list exactly if it has room; none is without live objects,
 * where objects in chains and caches count as live.
 *
 * Threads: the class's lock guards the list, its spans and the free objects in them; it is taken by
 * the functions that say nothing else, and the pages' lock within. Empty spans go to the pages, and
 * may go on to the kernel, after it was given back; on that way they are nobody's (TAG_META). The
 * fields that do not change are read by anyone.
 */
#ifndef ALLOCLAB_CENTRAL_H
#define ALLOCLAB_CENTRAL_H

#include "allocators/lib/misuse.h"
#include "allocators/lib/pages.h"

struct block { /* a free object */
    struct block *next;
    uintptr_t seal;
};

struct chain {
    struct block *head; /* the last one's next is NULL */
    uint32_t count;
    uint32_t side; /* in the depot: of the first one's span */
};

enum {
    CHAINS = 8,
    BATCH_BYTES = 8192,
    QUARTERS = 4,
    SIDES = 4,
    ROOM_PART = 4,
    ROOM_BYTES = 16 * 1024
};

struct central {
    struct lock lock;
    bool used, stirred; /* since the last central_tick(); central_sweep() */
    uint64_t used_ns;
    struct list partial[SIDES][QUARTERS];
    uint32_t chain_count;
    struct chain chains[CHAINS];
    uint64_t room; /* objects that spans have free or not carved */
    uint64_t refills, flushes, swept, spans_taken, spans_given;
    /* What follows does not change. */
    struct pages *pages;
    const char *design; /* for misuse */
    uintptr_t secret;
    uint32_t bytes, batch, objects, span_units; /* bytes of an object; objects of a span */
    uint32_t chains_max;
    unsigned tag; /* of its spans */
};

/* The caller has set pages, design, secret, bytes, batch, tag and used_ns in zeroed memory. */
void central_open(struct central *c);

/* So many, at most a batch, or what there is; a batch of the depot as a whole, however many are
 * wanted. `side` is the caller's, below SIDES. An empty chain = no memory. */
struct chain central_take(struct central *c, uint32_t count, unsigned side);
/* `sort`: into the spans, even if the depot has room. */
void central_give(struct central *c, struct chain chain, bool sort);
/* Sorts the depot into the spans if it was not used for age_ns; 0 = in any case. */
void central_tick(struct central *c, uint64_t now_ns, uint64_t age_ns);

/* Sorts the depot if nobody took or gave since the last sweep; whether it did. */
bool central_sweep(struct central *c);

/* The span's next `count` objects, never handed out before, become findable and free blocks before
 * `list`: the new list. No lock: the owner's business. O(count). */
struct block *span_carve(struct span *span, size_t bytes, uintptr_t secret, uint32_t count,
                         struct block *list);

/* Observation, no lock; a span of this class. */
void central_span_walk(const struct central *c, const struct span *span, walk_fn *fn, void *arg);
/* Adds the sealed objects that are not in the span's own list, so in chains or caches. */
const char *central_span_check(const struct central *c, const struct span *span, size_t *sealed);

static inline uintptr_t block_seal(uintptr_t secret, const struct block *b,
                                   const struct block *next)
{
    return secret ^ (uintptr_t)b ^ (uintptr_t)next;
}

static inline void block_link(uintptr_t secret, struct block *b, struct block *next)
{
    b->next = next;
    b->seal = block_seal(secret, b, next);
}

static inline bool block_is_sealed(uintptr_t secret, const struct block *b)
{
    return b->seal == block_seal(secret, b, b->next);
}

/* The next of a block that must be free; ends the program if it was written over. */
static inline struct block *block_next(const char *design, uintptr_t secret, const struct block *b)
{
    if (__builtin_expect(!block_is_sealed(secret, b), 0))
        misuse_abort(design, "corrupted free block", b);
    return b->next;
}

#endif
