/*
 * span_share.h - spans of objects of one size that have one owner, or none, and that any thread may
 * free into without a lock.
 *
 *     span              | obj | obj | obj | ... | not carved yet | rest |
 *     its struct span   free    free objects that the owner has; live, carved     owner only
 *                       remote  state | count | first of those others freed       one atomic word
 *
 *                 left, all in use                      its share was freed by others
 *       OWNED  ----------------------->  FULL  ---------------------------------------->  LISTED
 *         ^ ^------- taken back -----------'     left with room (OWNED -> LISTED too)        |
 *         '------------------------------ adopted from the class's stack -------------------'
 *
 * Three kinds of changes of the word, each one atomic operation: a push (any thread; from FULL it
 * may make LISTED), the owner's exchange that takes the whole list, and leaving or taking over. A
 * free object is sealed as in central.h. A class's listed spans are in a shared_stack; popping one
 * is the way to become its owner, but the caller must retire it (shared_stack.h) and keep it from
 * being left, `held`, until it was reclaimed.
 *
 * No ABA: a push that succeeds has linked its object to the word's first and replaces exactly that
 * word; if it went away and came back, the link is still right. A state is changed only by a
 * compare-and-swap that names the state, and exactly one of them succeeds.
 *
 * Memory order. A push is a release, so who takes the list sees objects as they were freed. Leaving
 * is a release and taking over an acquire, so the plain fields pass from owner to owner; the pushes
 * in between are read-modify-writes and continue the release. owner and home are relaxed: a thread
 * reads its own number in `owner` only if it wrote it and has not left since; `home` is a hint.
 *
 * Invariants (span_share_check)
 *   1. carved = live + free; remote holds at most the live ones; the sealed objects are exactly
 *      those in the two lists.
 *   2. A full span is carved to its end, has nothing free, and less than its share in remote.
 *   3. Only an owned span has an owner or is held.
 */
#ifndef ALLOCLAB_SPAN_SHARE_H
#define ALLOCLAB_SPAN_SHARE_H

#include "allocators/lib/central.h"
#include "allocators/lib/shared_stack.h"

enum span_state { SPAN_OWNED, SPAN_FULL, SPAN_LISTED };
enum span_held { HELD_NO, HELD_LIMBO, HELD_OWED }; /* in limbo: retired; owed: still to be */

struct span_class {
    _Alignas(64) struct shared_stack listed;
    /* What follows does not change. */
    _Alignas(64) struct pages *pages;
    const char *design; /* for misuse */
    uintptr_t secret;
    uint32_t bytes, objects, units; /* of an object; in a span; of a span */
    uint32_t share; /* so many freed by others list a full span: an eighth of its objects */
    uint32_t carve; /* so many are carved at once */
    unsigned tag;
};

/* The caller has set pages, design, secret, bytes and tag in zeroed memory. */
void span_class_open(struct span_class *c);

/* A new one, owned by `id`; NULL = no memory. */
struct span *span_share_new(struct span_class *c, uint16_t id);
/* Owner: whether there is a free object, after looking at remote and carving. */
bool span_share_fill(const struct span_class *c, struct span *span);
/* Owner: nobody's from now on: listed, full, or given back to the pages if nothing is in use. It is
 * not held. What became of it: LISTED, FULL, or OWNED for given back. */
enum span_state span_share_leave(struct span_class *c, struct span *span);
/* From the class's stack, HELD_OWED; NULL = it was empty. */
struct span *span_share_adopt(struct span_class *c, uint16_t id, struct reclaim *reclaim,
                              struct reclaimer *r);
/* An owner without number, while the span waits, gets it back. */
void span_share_resume(struct span *span, uint16_t id);
/* Whether a full span that was last the caller's is its own again. */
bool span_share_take_back(const struct span_class *c, struct span *span, uint16_t id);
/* Not the owner: frees an object. Whether that listed the span. */
bool span_share_push(struct span_class *c, struct span *span, struct block *b);

/* Observation. `lossy`: threads may have gone for good anywhere, so what they were at is not told
 * of: spans with owners, and free objects that did not come into a list. */
const char *span_share_check(const struct span_class *c, const struct span *span, bool lossy);

static inline uint16_t span_owner(const struct span *span)
{
    return atomic_load_explicit(&span->share.owner, memory_order_relaxed);
}

static inline void span_owner_set(struct span *span, uint16_t id)
{
    atomic_store_explicit(&span->share.owner, id, memory_order_relaxed);
}

/* remote: the first object's place in granules of 16 bytes, plus 1 | count (16 bits) | state (16).
 */
static inline enum span_state word_state(uint64_t word)
{
    return (enum span_state)(word & 0xffff);
}

static inline uint32_t word_count(uint64_t word)
{
    return word >> 16 & 0xffff;
}

static inline uint64_t span_remote(struct span *span)
{
    return step_load(&span->share.remote, memory_order_relaxed);
}

#endif
