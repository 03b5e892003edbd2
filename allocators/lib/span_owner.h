/*
 * span_owner.h - the spans (span_share.h) that one thread owns, by class, and how it gets and
 * leaves them.
 *
 *     bins[class]   current -> span -> span      with room: objects are taken from the first
 *     waiting       span -> span                 exhausted, but not to be left yet
 *     limbo         at most `limit` nodes        retired, until no other thread looks at them
 *
 * A span that was adopted from a stack is `held` until reclamation says that no slow popper looks
 * at it any more: it can be used, but not left, since who leaves a span lets it be pushed again.
 * If it is exhausted before, it waits; own frees into it are pushed to `remote` like others', and
 * when no stack has a span the owner looks whether an eighth of it was freed meanwhile. At most
 * `limit` spans are in limbo; what is adopted beyond, because a reader stands still, is owed: held
 * in the same way, and retired when there is room. So adopting never fails and nobody waits for a
 * reader, and a thread that gets no spans back uses those that it holds again and again.
 *
 * An own span that becomes empty is kept where it is, while it is its bin's current one or within
 * `keep` bytes of such spans; else it goes back to the pages.
 *
 * Invariants (span_owner_check)
 *   1. Spans in bins name their owner; those that wait name none, and are held.
 *   2. Those in limbo are in a bin or wait, and are no more than `limit`.
 *   3. Kept spans are in bins, empty, not current, and sum to no more than `keep`.
 *
 * Threads: one, the owner; the lists are plain. A record passes from thread to thread (record.h).
 */
#ifndef ALLOCLAB_SPAN_OWNER_H
#define ALLOCLAB_SPAN_OWNER_H

#include "allocators/lib/span_share.h"

enum { SPAN_TAGS = 81 }; /* a span's tag is its class + 1; 0 is TAG_NONE */

struct bin {
    struct span *current; /* the first of `spans`, or the domain's `none` */
    struct list spans;    /* all with room, as far as the owner knows */
    uint32_t magic, bytes;
};
_Static_assert(sizeof(struct bin) == 32, "two bins a cache line");

struct span_domain { /* what all owners share */
    struct reclaim reclaim;
    size_t keep;                          /* bytes of empty spans that an owner may keep */
    struct span none;                     /* has no room, and never changes */
    struct span_class classes[SPAN_TAGS]; /* by tag */
};

struct span_owner {
    struct reclaimer reclaimer; /* first: the record, by which an owner is found */
    struct span_domain *domain;
    uint16_t id; /* not 0 */
    struct list waiting;
    size_t kept; /* bytes of the spans that say so */
    uint64_t adopted, listed, taken_back, taken, given;
    struct bin bins[SPAN_TAGS]; /* by tag */
};

/* The classes are open, and `keep` is set. `limit` is the limbo's. */
void span_domain_open(struct span_domain *domain, enum reclaim_method method, uint32_t limit);
/* In zeroed memory; adds the record, used by the caller. */
void span_owner_open(struct span_owner *o, struct span_domain *domain, uint16_t id);

/* A span with a free object, now `current` of its bin: an own one, one of the stack, one that
 * waits, NULL if none of these. */
struct span *span_owner_find(struct span_owner *o, unsigned tag);
/* From the pages; NULL = no memory. */
struct span *span_owner_grow(struct span_owner *o, unsigned tag);
/* Into the bin; false = the stack was empty. */
bool span_owner_adopt(struct span_owner *o, unsigned tag);
/* Nothing in an own span is in use: it goes, unless it is current, held, or within `keep`. */
void span_owner_emptied(struct span_owner *o, struct span *span);
/* Frees an object of another owner's span, or of nobody's; true = the span is now the own one, and
 * the caller frees the object as such. */
bool span_owner_push(struct span_owner *o, struct span *span, struct block *b);
/* Leaves all spans that are not held; those stay with the record, whoever uses it next. */
void span_owner_leave(struct span_owner *o);

/* Observation. Counts the spans that it owns and those in its limbo. */
const char *span_owner_check(const struct span_owner *o, size_t *owned, size_t *retired);

/* Whether an object of the class begins at the offset in a span: a multiplication in place of a
 * division. With g granules of 16 bytes a class and magic = ceil(2^32 / g), n is a multiple of g
 * exactly if n * magic modulo 2^32 is below magic, for all n below 2^32 / g (Lemire, Kaser, Kurz,
 * Faster remainder by direct computation, 2019). 0 stands for 2^32: every granule will do. */
static inline bool bin_offset_ok(const struct bin *bin, uint32_t offset)
{
    return !(offset & 15) & ((offset >> 4) * bin->magic <= bin->magic - 1);
}

static inline struct span_class *span_owner_class(const struct span_owner *o,
                                                  const struct span *span)
{
    return &o->domain->classes[span->tag];
}

#endif
